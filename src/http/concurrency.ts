/** Limits how many expensive requests run at once in this server. */
import pLimit from "p-limit";
import { concurrencyLimits } from "../../generated/contract.ts";
import type { Operation } from "../contract/handlers.ts";
import { Problem } from "../contract/problems.ts";

/** Longest queue time in ms. Later the request is refused, because little is left of `answerLimitMs` in `router.ts`. */
const maxQueueMs = 50_000;

/**
 * Returns `run` with the limit of the operation's class, or `run` itself if the operation has no limit. The limited one
 * throws `service_unavailable` when the queue of the class is full, or after {@link maxQueueMs} in it.
 */
export type LimitConcurrency = <Args extends unknown[], Result>(
  operation: Operation,
  run: (...args: Args) => Promise<Result>,
) => (...args: Args) => Promise<Result>;

/** Applies the contract's `x-concurrency-limits`. The operations of one class share its limit. */
export function createConcurrencyLimiter(): LimitConcurrency {
  const classes = new Map(
    Object.entries(concurrencyLimits).map(([name, { running, queued }]) => [name, { limit: pLimit(running), queued }]),
  );
  return ({ concurrencyLimit }, run) => {
    const limited = classes.get(concurrencyLimit);
    if (limited === undefined) return run;
    const { limit, queued } = limited;
    return async (...args) => {
      if (limit.pendingCount >= queued) throw busy();
      const queuedAt = performance.now();
      return await limit(() => {
        if (performance.now() - queuedAt > maxQueueMs) throw busy();
        return run(...args);
      });
    };
  };
}

function busy(): Problem {
  return new Problem("service_unavailable", "Too many of these requests run at the same time. Try again in a moment.");
}
