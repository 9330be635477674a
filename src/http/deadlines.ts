/**
 * Time limits of requests. One timer checks all of them twice a second. A timer per request was measured to add 50 % to
 * the cost of a small request.
 */
import type { Problem } from "../contract/problems.ts";
import { InFlight } from "./in_flight.ts";

const intervalMs = 500;

interface Deadline {
  /** Milliseconds of a monotonic clock. */
  at: number;
  expire(): void;
}

export class Deadlines {
  private readonly waiting = new InFlight<Deadline>();
  private timer: ReturnType<typeof setInterval> | undefined;

  /** @param now milliseconds of a monotonic clock. */
  constructor(private readonly now: () => number = () => performance.now()) {}

  /** The number of promises that are waited for. */
  get count(): number {
    return this.waiting.size;
  }

  /** Waits for `promise`. Throws the problem of `late` after `limitMs`, or up to half a second later. */
  within<T>(promise: Promise<T>, { limitMs, late }: { limitMs: number; late: () => Problem }): Promise<T> {
    return new Promise((resolve, reject) => {
      const deadline = this.waiting.add({ at: this.now() + limitMs, expire: () => reject(late()) });
      this.timer ??= setInterval(() => this.expire(), intervalMs);
      promise.then((value) => {
        this.waiting.delete(deadline);
        resolve(value);
      }, (failure: unknown) => {
        this.waiting.delete(deadline);
        reject(failure);
      });
    });
  }

  /** Ends the wait for each promise that is over its limit. A timer calls it twice a second. */
  expire(): void {
    const now = this.now();
    for (const deadline of this.waiting.all()) {
      if (deadline.item.at > now) continue;
      this.waiting.delete(deadline);
      deadline.item.expire();
    }
    if (this.waiting.size > 0) return;
    clearInterval(this.timer);
    this.timer = undefined;
  }
}
