/** A clock that an admin can move forward, to try reminders, holds and other effects of time. */
import type { SandboxClock as ClockState } from "../../generated/contract.ts";
import { invalidFields, Problem } from "../contract/problems.ts";
import { type Clock, systemClock } from "../time/clock.ts";

/** From this time on, Postgres and the API cannot format some dates ahead of it. */
const end = new Date("9999-01-01T00:00:00Z");

/** A planned change of the clock. */
export interface ClockPlan {
  /** The state after the change. */
  state: ClockState;
  /** Applies the change. */
  go(): void;
}

export class SandboxClock implements Clock {
  private aheadMs = 0;

  constructor(private readonly real: Clock = systemClock) {}

  now(): Date {
    return new Date(this.real.now().getTime() + this.aheadMs);
  }

  /**
   * Plans a move to `time`.
   *
   * @throws {Problem} `clock_goes_forward` if the clock is later already, `validation_failed` from the year 9999 on.
   */
  plan(time: Date): ClockPlan {
    if (time >= end) throw invalidFields([{ in: "body", path: "now", message: "must be before the year 9999" }]);
    const now = this.now();
    if (time < now) {
      const detail = `It is ${now.toISOString()} already. Choose a later time, or reset the clock first.`;
      throw new Problem("clock_goes_forward", detail);
    }
    const aheadMs = this.aheadMs + time.getTime() - now.getTime();
    // Another request may have moved the clock further meanwhile.
    return { state: this.stateAt(aheadMs), go: () => this.aheadMs = Math.max(this.aheadMs, aheadMs) };
  }

  /** Plans a return to the real time. */
  planReset(): ClockPlan {
    return { state: this.stateAt(0), go: () => this.aheadMs = 0 };
  }

  state(): ClockState {
    return this.stateAt(this.aheadMs);
  }

  private stateAt(aheadMs: number): ClockState {
    return { now: new Date(this.real.now().getTime() + aheadMs).toISOString(), isMoved: aheadMs !== 0 };
  }
}
