import type { Handlers } from "../http/handlers.ts";
import type { SandboxClock } from "./clock.ts";

type SandboxOperations = "getSandboxClock" | "setSandboxClock" | "resetSandboxClock";

export interface SandboxClockRules {
  sandboxClock: SandboxClock;
  /** Does what time has made due. */
  sweep: () => Promise<void>;
}

export function sandboxHandlers({ sandboxClock, sweep }: SandboxClockRules): Pick<Handlers, SandboxOperations> {
  return {
    getSandboxClock() {
      return Promise.resolve({ status: 200, body: sandboxClock.state() });
    },

    async setSandboxClock({ body: { now } }) {
      sandboxClock.moveTo(new Date(now));
      await sweep();
      return { status: 200, body: sandboxClock.state() };
    },

    resetSandboxClock() {
      sandboxClock.reset();
      return Promise.resolve({ status: 200, body: sandboxClock.state() });
    },
  };
}
