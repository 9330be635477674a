import { type Kysely, sql } from "kysely";

/**
 * A cheaper `may_hold_another`. Most users have fewer pending bookings than the limit, also with those that have started.
 * Then no timeslot is read. `offset` stops at the limit, so a user with many old pending bookings costs no more.
 */
export async function up(db: Kysely<unknown>): Promise<void> {
  await sql`
    create or replace function may_hold_another(holder bigint, maximum integer, at timestamptz) returns boolean
    language plpgsql volatile as $$
    begin
      -- Until this transaction ends, others of the same user wait here.
      perform pg_advisory_xact_lock(hashtextextended('bookings that wait of user ' || holder, 0));
      perform from bookings where user_id = holder and status = 'pending' offset maximum - 1 limit 1;
      if not found then
        return true;
      end if;
      return maximum > (
        select count(*) from bookings b join timeslots t on t.id = b.timeslot_id
        where b.user_id = holder and b.status = 'pending' and t.starts_at > at
      );
    end $$
  `.execute(db);
}
