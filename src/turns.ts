/** Work that is dear to the database, a little of it at a time. */
import pLimit from "p-limit";
import { Problem } from "./contract/problems.ts";

/** Who waited for so long has been answered already; see `answerLimitMs`. In milliseconds. */
const patienceMs = 50_000;

/** Does `work` when it is its turn. */
export type InTurn = <Result>(work: () => Promise<Result>) => Promise<Result>;

/** Does so much `atOnce`, and lets at most `mostWaiting` wait for it; others are told to come back. */
export function turns({ atOnce, mostWaiting }: { atOnce: number; mostWaiting: number }): InTurn {
  const limit = pLimit(atOnce);
  const busy = () =>
    new Problem("service_unavailable", "Too many ask for this at the same time. Ask again in a moment.");
  return async (work) => {
    if (limit.pendingCount >= mostWaiting) throw busy();
    const askedAt = performance.now();
    return await limit(() => {
      if (performance.now() - askedAt > patienceMs) throw busy();
      return work();
    });
  };
}
