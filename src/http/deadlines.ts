/**
 * Time limits for what many requests wait for. A timer of its own for each was measured to cost half as much again as all the
 * rest of a small request, so one looks after them all, twice a second.
 */
import type { Problem } from "../contract/problems.ts";

const intervalMs = 500;

interface Deadline {
  /** By a clock that is never set back. */
  at: number;
  expire(): void;
}

export class Deadlines {
  private readonly waiting = new Set<Deadline>();
  private timer: ReturnType<typeof setInterval> | undefined;

  /** Waits for `promise`, for `limitMs` and up to half a second more; then throws what `late` makes. */
  async within<T>(promise: Promise<T>, { limitMs, late }: { limitMs: number; late: () => Problem }): Promise<T> {
    const { promise: expired, reject } = Promise.withResolvers<never>();
    const deadline = { at: performance.now() + limitMs, expire: () => reject(late()) };
    this.waiting.add(deadline);
    this.timer ??= setInterval(() => this.look(), intervalMs);
    try {
      return await Promise.race([promise, expired]);
    } finally {
      this.waiting.delete(deadline);
    }
  }

  private look(): void {
    const now = performance.now();
    for (const deadline of this.waiting) if (deadline.at <= now) deadline.expire();
    if (this.waiting.size > 0) return;
    clearInterval(this.timer);
    this.timer = undefined;
  }
}
