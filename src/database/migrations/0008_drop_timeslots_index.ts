import { type Kysely, sql } from "kysely";

/** Drops the index that 0005 has replaced. Alone, because the lock for it excludes every request that reads timeslots. */
export async function up(db: Kysely<unknown>): Promise<void> {
  await sql`drop index timeslots_room_start_idx`.execute(db);
}
