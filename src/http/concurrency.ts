/** Limits how many expensive requests run at once in this server. */
import pLimit from "p-limit";
import { concurrencyLimits } from "../../generated/contract.ts";
import type { Operation } from "../contract/handlers.ts";
import { Problem } from "../contract/problems.ts";

/** Longest queue time in ms; by then the request was answered 503. See `answerLimitMs` in `router.ts`. */
const maxQueueMs = 50_000;

/** Runs `work` as soon as the limit of the operation allows it. */
export type RunLimited = <Result>(operation: Operation, work: () => Promise<Result>) => Promise<Result>;

/**
 * Applies the contract's `x-concurrency-limits`. The operations of one class share its limit. `RunLimited` throws `service_unavailable`
 * when the queue of the class is full.
 */
export function createConcurrencyLimiter(): RunLimited {
  const classes = new Map(
    Object.entries(concurrencyLimits).map(([name, { running, queued }]) => [name, { limit: pLimit(running), queued }]),
  );
  return async ({ concurrencyLimit }, work) => {
    const limited = classes.get(concurrencyLimit);
    if (limited === undefined) return await work();
    const { limit, queued } = limited;
    if (limit.pendingCount >= queued) throw busy();
    const queuedAt = performance.now();
    return await limit(() => {
      if (performance.now() - queuedAt > maxQueueMs) throw busy();
      return work();
    });
  };
}

function busy(): Problem {
  return new Problem("service_unavailable", "Too many of these requests run at the same time. Try again in a moment.");
}
