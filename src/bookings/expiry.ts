/** Cancels bookings that waited too long for a payment or a confirmation. */
import type { Kysely } from "kysely";
import type { Database } from "../database/connect.ts";
import { sweepInChunks } from "../database/sweep.ts";
import { retryConflicts } from "../database/transactions.ts";
import type { Clock } from "../time/clock.ts";
import { listEndedWaits } from "./queries.ts";
import { markExpired } from "./sweep_writes.ts";

export interface ExpiryRules {
  db: Kysely<Database>;
  clock: Clock;
  announce: () => void;
}

/** Bookings per statement. */
const chunkSize = 100;

/** Cancels each pending booking whose hold has expired or whose timeslot has started, and frees its timeslot. */
export async function expirePendingBookings({ db, clock, announce }: ExpiryRules): Promise<void> {
  const now = clock.now();
  await sweepInChunks(chunkSize, async (limit) => {
    // Usually there are none, and a read is cheaper than an empty write.
    const ids = await listEndedWaits(db, { now, limit });
    if (ids.length === 0) return 0;
    const count = await retryConflicts(db, () => markExpired(db, { ids, now }));
    if (count === 0) return 0;
    announce();
    return ids.length;
  });
}
