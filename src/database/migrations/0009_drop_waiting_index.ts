import { type Kysely, sql } from "kysely";

/** Drops the index that 0006 has replaced. Alone, because the lock for it excludes every request that reads bookings. */
export async function up(db: Kysely<unknown>): Promise<void> {
  await sql`drop index bookings_waiting_idx`.execute(db);
}
