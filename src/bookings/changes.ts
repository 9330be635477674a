/** Parts that the statements which change bookings have in common. */
import { type Compilable, type QueryCreator, type RawBuilder, sql } from "kysely";
import type { Bookings, DB, PaymentStatus } from "../../generated/database.d.ts";
import { insertEvents, timeslotEvent } from "../events/record.ts";
import { enqueue } from "../jobs/enqueue.ts";
import { type BookingRow, selectColumns } from "./queries.ts";

/** `answer` has taken its timeslot. */
export function taken(now: Date): RawBuilder<unknown> {
  return timeslotEvent({
    type: "taken",
    roomId: sql`answer.room_id`,
    timeslotId: sql`answer.timeslot_id`,
    isAvailable: sql`false`,
    startsAt: sql`answer.starts_at`,
    endsAt: sql`answer.ends_at`,
    from: sql`answer`,
  }, now);
}

/** `slots` is a query for the timeslots that are no longer taken. */
export function freed(slots: RawBuilder<unknown>, now: Date): RawBuilder<unknown> {
  return timeslotEvent({
    type: "freed",
    roomId: sql`slot.room_id`,
    timeslotId: sql`slot.timeslot_id`,
    isAvailable: sql`r.is_active and slot.starts_at > ${now}::timestamptz`,
    startsAt: sql`slot.starts_at`,
    endsAt: sql`slot.ends_at`,
    from: sql`(${slots}) slot join rooms r on r.id = slot.room_id`,
  }, now);
}

export type Changes = Pick<QueryCreator<DB & { b: Bookings }>, "with">;

/** `answer` is what a `with b as (…)` has made or changed, as it is answered. */
// deno-lint-ignore explicit-module-boundary-types -- Kysely's type of it is longer than what it says.
export function withAnswer(changes: Changes) {
  return changes.with("answer", (cte) =>
    selectColumns(
      cte.selectFrom("b").innerJoin("rooms as r", "r.id", "b.room_id")
        .innerJoin("timeslots as t", "t.id", "b.timeslot_id"),
    ));
}

/** The same, and `events` are written of it. */
// deno-lint-ignore explicit-module-boundary-types -- as above
export function recorded(changes: Changes, events: RawBuilder<unknown>[]) {
  return withAnswer(changes).with("events", () => insertEvents(events));
}

export function answered(changes: Changes, events: RawBuilder<unknown>[]): Compilable<BookingRow> {
  return recorded(changes, events).selectFrom("answer").selectAll();
}

/**
 * Closes the open checkouts for which `which` holds, for a `with`: nobody shall pay there any more. The provider is told by
 * a job.
 */
export function closeCheckouts(which: RawBuilder<boolean>, now: Date): RawBuilder<{ id: string }> {
  // Locked first: what an update sets it works out before it waits, and would add a job for a checkout that is closed by then.
  return sql<{ id: string }>`(
    update checkouts set closed_at = ${now}::timestamptz, close_job_id = ${enqueue("close_checkout", sql`open.id`)}
    from (select id from checkouts where closed_at is null and ${which} for update skip locked) open
    where checkouts.id = open.id
    returning checkouts.id
  )`;
}

/**
 * `insert into refunds …` of what `due` selects, with the jobs, for a `with`: `payment_id`, `booking_id`, `amount`, and
 * `target`, what shall have been given back of the payment in all.
 */
export function newRefund(due: RawBuilder<unknown>, now: Date): RawBuilder<{ id: string }> {
  return sql<{ id: string }>`(
    insert into refunds (id, payment_id, booking_id, amount, target, status, idempotency_key, requested_at, job_id)
    select new.id, new.payment_id, new.booking_id, new.amount, new.target, 'pending', gen_random_uuid(), ${now}::timestamptz,
      ${enqueue("refund_payment", sql`new.id`)}
    from (select gen_random_uuid() as id, due.* from (${due}) due where due.amount > 0) new
    returning id
  )`;
}

/** What a booking `b` owes or has paid, unless a refund is under way or has failed, which is what has to be seen. */
export function unlessRefunding(status: RawBuilder<PaymentStatus>): RawBuilder<PaymentStatus> {
  return sql<PaymentStatus>`case
    when b.payment_status in ('refund_pending', 'refund_failed') then b.payment_status else ${status} end`;
}

/** How far what was paid has been given back. */
export function paidStatus(paid: RawBuilder<unknown>, refunded: RawBuilder<unknown>): RawBuilder<PaymentStatus> {
  return sql<PaymentStatus>`case
    when ${refunded} = 0 then 'paid' when ${refunded} = ${paid} then 'refunded' else 'partially_refunded'
    end::payment_status`;
}
