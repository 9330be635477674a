import type { Scope } from "../contract/handlers.ts";
import type { Log } from "../log.ts";
import type { PaymentProvider } from "../payments/provider.ts";
import type { Clock } from "../time/clock.ts";

export interface SettlementOptions {
  clock: Clock;
  log: Log;
  /** Undefined when payments happen elsewhere. */
  payments: PaymentProvider | undefined;
}

/** Dependencies of jobs, sweeps and webhooks. An admin's operation also needs `audit`. */
export type SettlementRules = SettlementOptions & Pick<Scope, "db" | "announce">;
