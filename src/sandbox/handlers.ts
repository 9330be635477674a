import type { Audit, Handlers } from "../contract/handlers.ts";
import type { ClockPlan, SandboxClock } from "./clock.ts";

type SandboxOperations = "getSandboxClock" | "setSandboxClock" | "resetSandboxClock";

export interface SandboxOptions {
  sandboxClock: SandboxClock;
  /** Does the due work. */
  sweep: () => Promise<void>;
}

export function sandboxHandlers({ sandboxClock, sweep }: SandboxOptions): Pick<Handlers, SandboxOperations> {
  /** The clock is not part of the transaction, so it moves after the commit. */
  const changeClock = async (audit: Audit, { state: after, go }: ClockPlan, afterwards = () => Promise.resolve()) => {
    const before = sandboxClock.state();
    if (before.isMoved || after.isMoved) await audit({ resource: "clock", resourceId: null, before, after });
    const finish = async () => {
      go();
      await afterwards();
      return { status: 200 as const, body: sandboxClock.state() };
    };
    return { soFar: undefined, finish };
  };
  return {
    getSandboxClock() {
      return Promise.resolve({ status: 200, body: sandboxClock.state() });
    },

    async setSandboxClock({ body: { now } }, { audit }) {
      return await changeClock(audit, sandboxClock.plan(new Date(now)), sweep);
    },

    async resetSandboxClock(_input, { audit }) {
      return await changeClock(audit, sandboxClock.planReset());
    },
  };
}
