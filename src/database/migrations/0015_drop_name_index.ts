import { type Kysely, sql } from "kysely";

/** Drops the index that 0012 has replaced. Alone, because the lock for it excludes every request that reads rooms. */
export async function up(db: Kysely<unknown>): Promise<void> {
  await sql`drop index rooms_name_idx`.execute(db);
}
