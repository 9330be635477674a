import { type Kysely, sql } from "kysely";

/** Drops the index that 0013 has replaced. Alone, because the lock for it excludes every request that reads timeslots. */
export async function up(db: Kysely<unknown>): Promise<void> {
  await sql`drop index timeslots_search_idx`.execute(db);
}
