/** The pauses between attempts. */
import type { Timing } from "./timing.ts";

const longestPauseMs = 10_000;
const firstPauseMs = 250;
const longestExtraMs = 250;

/**
 * Returns the pause before the next attempt, in milliseconds.
 * It doubles with each failure, up to 10 seconds. Half of it is random, so that many clients do not retry at once.
 */
export function backoffMs(failures: number, { random }: Pick<Timing, "random">): number {
  const pauseMs = Math.min(longestPauseMs, firstPauseMs * 2 ** failures);
  return pauseMs / 2 + random() * pauseMs / 2;
}

/** Adds up to 250 random milliseconds to a `Retry-After`, so that many clients do not retry at once. */
export function withExtraMs(retryAfterMs: number, { random }: Pick<Timing, "random">): number {
  return retryAfterMs + random() * longestExtraMs;
}
