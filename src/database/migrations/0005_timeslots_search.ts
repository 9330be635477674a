import { type Kysely, sql } from "kysely";

/**
 * Lets the search read timeslots from an index alone. A job may add a day to every room each night. Then the timeslots of
 * a room lie on many pages of the table.
 *
 * - `timeslots_search_idx` replaces `timeslots_room_start_idx`, which 0008 drops. Bookings change no timeslot, so they do
 *   not pay for it. While it is built, only changes of timeslots wait.
 * - Postgres reads an index alone only for pages that were vacuumed. By default that takes new timeslots of a fifth of the
 *   table, so the days to book next would be missing.
 */
export async function up(db: Kysely<unknown>): Promise<void> {
  await sql`create index timeslots_search_idx on timeslots (room_id, starts_at) include (ends_at, id)`.execute(db);
  await sql`alter table timeslots set (autovacuum_vacuum_insert_scale_factor = 0.01)`.execute(db);
}
