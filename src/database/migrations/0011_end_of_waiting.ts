import { type Kysely, sql } from "kysely";

/**
 * An end for each booking that waits, and a limit for the refund of a moved booking.
 *
 * - `not_confirmed` is the reason of a booking that was still pending at its start.
 * - `max_refund_percent` is the percentage that the booking's tier had at a move. Null if no move has limited it.
 *   Servers of the previous version do not write it.
 * - `payments.settled_elsewhere` is the part of the payment that was given back in another way, because the provider did
 *   not accept a refund. The reports of the provider do not have it.
 * - A hold ends at the start of its timeslot at the latest. Servers of the previous version may still write a later end, so
 *   the sweep and the payments also compare the start.
 */
export async function up(db: Kysely<unknown>): Promise<void> {
  await sql`alter type cancellation_reason add value 'not_confirmed'`.execute(db);
  await sql`alter table bookings add column max_refund_percent numeric`.execute(db);
  await sql`alter table payments add column settled_elsewhere numeric(12, 2) not null default 0`.execute(db);
  await sql`
    update bookings b set hold_expires_at = t.starts_at from timeslots t
    where t.id = b.timeslot_id and b.hold_expires_at > t.starts_at
  `.execute(db);
}
