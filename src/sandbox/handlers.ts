import type { Audit } from "../audit/audit.ts";
import type { Handlers } from "../contract/handlers.ts";
import type { ClockPlan, SandboxClock } from "./clock.ts";

type SandboxOperations = "getSandboxClock" | "setSandboxClock" | "resetSandboxClock";

export interface SandboxClockRules {
  sandboxClock: SandboxClock;
  /** Does what time has made due. */
  sweep: () => Promise<void>;
  audit: Audit;
}

export function sandboxHandlers({ sandboxClock, sweep, audit }: SandboxClockRules): Pick<Handlers, SandboxOperations> {
  /** The clock is no part of the transaction, so it is moved when that is committed. */
  const audited = async ({ state: after, go }: ClockPlan, then = () => Promise.resolve()) => {
    const before = sandboxClock.state();
    if (before.isMoved || after.isMoved) await audit({ resource: "clock", resourceId: null, before, after });
    const finish = async () => {
      go();
      await then();
      return { status: 200 as const, body: sandboxClock.state() };
    };
    return { soFar: undefined, finish };
  };
  return {
    getSandboxClock() {
      return Promise.resolve({ status: 200, body: sandboxClock.state() });
    },

    async setSandboxClock({ body: { now } }) {
      return await audited(sandboxClock.plan(new Date(now)), sweep);
    },

    async resetSandboxClock() {
      return await audited(sandboxClock.planReset());
    },
  };
}
