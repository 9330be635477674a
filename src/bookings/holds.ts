/** Releases holds that were not paid in time. */
import type { Kysely } from "kysely";
import type { Database } from "../database/connect.ts";
import { sweepInChunks } from "../database/sweep.ts";
import { retryConflicts } from "../database/transactions.ts";
import type { Clock } from "../time/clock.ts";
import { listExpiredHolds } from "./queries.ts";
import { markHoldsExpired } from "./writes.ts";

export interface HoldRules {
  db: Kysely<Database>;
  clock: Clock;
  announce: () => void;
}

/** Bookings per statement. */
const chunkSize = 100;

/** Cancels each booking whose hold has expired, and frees its timeslot. */
export async function releaseExpiredHolds({ db, clock, announce }: HoldRules): Promise<void> {
  const now = clock.now();
  await sweepInChunks(chunkSize, async (limit) => {
    // Usually there are none, and a read is cheaper than an empty write.
    const ids = await listExpiredHolds(db, { now, limit });
    if (ids.length === 0) return 0;
    const count = await retryConflicts(db, () => markHoldsExpired(db, { ids, now }));
    if (count === 0) return 0;
    announce();
    return ids.length;
  });
}
