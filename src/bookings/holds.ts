/** Holds that expire: what is not paid in time is free again. */
import type { Kysely } from "kysely";
import type { Clock } from "../time/clock.ts";
import type { Database } from "../database/connect.ts";
import { retryConflicts } from "../database/failures.ts";
import { listExpiredHolds } from "./queries.ts";
import { expireHolds } from "./writes.ts";

export interface HoldRules {
  db: Kysely<Database>;
  clock: Clock;
  announce: () => void;
}

/** Bookings a statement. */
const chunkSize = 100;

/** Cancels each booking whose hold has expired, and frees its timeslot. */
export async function releaseExpiredHolds({ db, clock, announce }: HoldRules): Promise<void> {
  const now = clock.now();
  for (;;) {
    // Mostly there are none, and reading is cheaper than being ready to write.
    const ids = await listExpiredHolds(db, { now, limit: chunkSize });
    const count = ids.length === 0 ? 0 : await retryConflicts(() => expireHolds(db, { ids, now }));
    if (count === 0) return;
    announce();
  }
}
