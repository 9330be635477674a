/** A clock that can be moved, so that nobody has to wait to see what time does. */
import type { SandboxClock as ClockState } from "../../generated/contract.ts";
import { type Clock, systemClock } from "../time/clock.ts";
import { invalidFields, Problem } from "../contract/problems.ts";

/** Beyond it some things that lie ahead have no date that Postgres and the API could write. */
const end = new Date("9999-01-01T00:00:00Z");

/** What the clock will show, and how it gets there. */
export interface ClockPlan {
  state: ClockState;
  go(): void;
}

export class SandboxClock implements Clock {
  private aheadMs = 0;

  constructor(private readonly real: Clock = systemClock) {}

  now(): Date {
    return new Date(this.real.now().getTime() + this.aheadMs);
  }

  /**
   * Works out how to go on from `time`. Nothing changes before `go` is called.
   *
   * @throws {Problem} `clock_goes_forward` when it is later than that, `validation_failed` from the year 9999 on.
   */
  plan(time: Date): ClockPlan {
    if (time >= end) throw invalidFields([{ in: "body", path: "now", message: "must be before the year 9999" }]);
    const now = this.now();
    if (time < now) {
      const detail = `It is ${now.toISOString()} already. Choose a later time, or reset the clock first.`;
      throw new Problem("clock_goes_forward", detail);
    }
    const aheadMs = this.aheadMs + time.getTime() - now.getTime();
    // Somebody else may have gone further meanwhile.
    return { state: this.stateAt(aheadMs), go: () => this.aheadMs = Math.max(this.aheadMs, aheadMs) };
  }

  /** Works out how to go by the real time again. */
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
