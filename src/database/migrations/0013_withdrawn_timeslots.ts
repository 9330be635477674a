import { type Kysely, sql } from "kysely";

/**
 * Timeslots that are withdrawn. Cancelled bookings keep them, but nobody can book them, and others may take their time.
 *
 * - `timeslots_no_overlap` ignores withdrawn timeslots. Its index is built again, and requests about timeslots wait
 *   meanwhile.
 * - `timeslots_offer_idx` replaces `timeslots_search_idx`, which 0014 drops. With `withdrawn_at`, the search still reads an
 *   index alone.
 *
 * Servers of the previous version do not know `withdrawn_at`. They withdraw nothing, but would book a withdrawn timeslot.
 */
export async function up(db: Kysely<unknown>): Promise<void> {
  await sql`alter table timeslots add column withdrawn_at timestamptz`.execute(db);
  await sql`alter table timeslots drop constraint timeslots_no_overlap`.execute(db);
  await sql`
    alter table timeslots add constraint timeslots_no_overlap
      exclude using gist (room_id with =, tstzrange(starts_at, ends_at) with &&) where (withdrawn_at is null)
  `.execute(db);
  await sql`
    create index timeslots_offer_idx on timeslots (room_id, starts_at) include (ends_at, id, withdrawn_at)
  `.execute(db);
}
