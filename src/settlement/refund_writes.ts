/** Statements about money that goes back; see `writes.ts` for how they run. */
import { type RawBuilder, type Selectable, sql, type Transaction } from "kysely";
import type { Bookings, PaymentStatus } from "../../generated/database.d.ts";
import { returningBooking, withBooking } from "../bookings/changes.ts";
import type { BookingRow } from "../bookings/queries.ts";
import type { Database } from "../database/connect.ts";
import { prepared } from "../database/prepared.ts";
import { bookingEvent } from "../events/record.ts";
import { paidStatus } from "../payments/checkout_writes.ts";
import { enqueue } from "../jobs/enqueue.ts";
import { newEvent, type PaymentMessage } from "./payment_writes.ts";

type Booking = Selectable<Bookings>;

/** The id of the booking of a refund that is pending. The booking is locked by then. */
export async function lockBookingOfRefund(trx: Transaction<Database>, refundId: string): Promise<number | undefined> {
  const row = await trx.selectFrom("refunds as r").innerJoin("bookings as b", "b.id", "r.booking_id").select("b.id")
    .where("r.id", "=", refundId).where("r.status", "=", "pending").forNoKeyUpdate("b").executeTakeFirst();
  return row?.id;
}

/**
 * Writes how much of a payment the provider says has been given back in all, by us or by the operator's own hand. A refund of
 * ours that has failed is done when that is enough. The booking has to be locked; its status stays.
 */
export async function recordReportedRefund(trx: Transaction<Database>, message: PaymentMessage): Promise<void> {
  await reportedRefundStatement(trx, message);
}

const reportedRefundStatement = prepared((db, message: PaymentMessage) => {
  const { bookingId, checkoutId, provider, payment: reference, cents, currency, now } = message;
  const refunded = refundedOf(sql`payment.reported_refunded`);
  const changes = db.with("fresh", () => newEvent(sql`'refunded'`, message))
    .with("payment", () =>
      sql`(
        insert into payments (provider, reference, checkout_id, booking_id, currency, pays_booking, reported_refunded)
        select ${provider}, ${reference}, ${checkoutId}, id, ${currency}, false, ${cents}::numeric / 100 from fresh
        on conflict (provider, reference) do update set
          reported_refunded = greatest(payments.reported_refunded, excluded.reported_refunded)
        returning id, reported_refunded
      )`)
    .with("refund", () =>
      sql<{ id: string }>`(
        update refunds r set status = 'succeeded', failure = null, settled_at = ${now}
        from payment where r.payment_id = payment.id and r.status = 'failed' and r.target <= payment.reported_refunded
        returning r.id
      )`)
    .with("b", () =>
      sql<Booking>`(
        update bookings b set
          amount_refunded = ${refunded},
          refund_amount = greatest(b.refund_amount, ${refunded}),
          payment_status = ${statusWithout(sql`select id from refund`, refunded)},
          updated_at = ${now}
        from payment
        where b.id = ${bookingId} and (b.amount_refunded < ${refunded} or exists (select from refund))
        returning b.*
      )`);
  return returningBooking(changes, [
    // While a refund of ours is under way, it will tell.
    sql`${bookingEvent("refunded", "booking", now)} where booking.payment_status <> 'refund_pending'`,
  ]);
});

/** How much of what a booking `b` paid has been given back, when that is so much of a `payment`, which may not be its own. */
function refundedOf(givenBack: RawBuilder<unknown>): RawBuilder<unknown> {
  return sql`(case
    when b.payment_id = payment.id then greatest(b.amount_refunded, least(${givenBack}, b.amount_paid))
    else b.amount_refunded end)`;
}

/** The payment status of a booking `b` when the refunds that `settled` selects are done. */
function statusWithout(settled: RawBuilder<unknown>, refunded: RawBuilder<unknown>): RawBuilder<PaymentStatus> {
  const other = (status: string) =>
    sql`exists (
      select from refunds where booking_id = b.id and status = ${sql.lit(status)} and id not in (${settled})
    )`;
  return sql<PaymentStatus>`case
    when ${other("failed")} then 'refund_failed'
    when ${other("pending")} then 'refund_pending'
    when b.amount_paid > 0 then ${paidStatus(sql`b.amount_paid`, refunded)}
    when b.price > 0 then 'unpaid'
    else 'not_required' end`;
}

export interface SettledRefund {
  id: string;
  /** The provider's name for it; null when the provider had given the money back already. */
  reference: string | null;
  now: Date;
}

/** Writes that the provider has taken a pending refund on. The booking has to be locked. */
export async function settleRefund(trx: Transaction<Database>, refund: SettledRefund): Promise<void> {
  await settleStatement(trx, refund);
}

const settleStatement = prepared((db, { id, reference, now }: SettledRefund) => {
  const refunded = refundedOf(sql`greatest(payment.reported_refunded, payment.target)`);
  const changes = db.with("refund", () =>
    sql`(
      update refunds set status = 'succeeded', reference = ${reference}, failure = null, settled_at = ${now}
      where id = ${id} and status = 'pending'
      returning id, payment_id, booking_id, target
    )`)
    .with("payment", () =>
      sql`(
        select p.id, p.reported_refunded, refund.booking_id, refund.target
        from refund join payments p on p.id = refund.payment_id
      )`)
    .with("b", () =>
      sql<Booking>`(
        update bookings b set
          amount_refunded = ${refunded},
          refund_amount = greatest(b.refund_amount, ${refunded}),
          payment_status = ${statusWithout(sql`select id from refund`, refunded)},
          updated_at = ${now}
        from payment where b.id = payment.booking_id
        returning b.*
      )`);
  return returningBooking(changes, [bookingEvent("refunded", "booking", now)]);
});

/** Writes that a pending refund, for which this is still the job, has failed for good. The booking has to be locked. */
export async function failRefund(
  trx: Transaction<Database>,
  { id, jobId, failure, now }: { id: string; jobId: number; failure: string; now: Date },
): Promise<void> {
  await sql`
    with refund as (
      update refunds set status = 'failed', failure = ${failure}::text, settled_at = ${now}
      where id = ${id} and job_id = ${jobId} and status = 'pending' returning booking_id
    )
    update bookings set payment_status = ${"refund_failed" satisfies PaymentStatus}, updated_at = ${now}
    from refund where bookings.id = refund.booking_id
  `.execute(trx);
}

/** A booking with failed refunds, and what is asked for again. */
export type RetriedRow = BookingRow & { refund: string };

/** Has the failed refunds of a booking tried again. Undefined when there is none. The booking has to be locked. */
export async function retryFailedRefunds(
  trx: Transaction<Database>,
  { bookingId, now }: { bookingId: number; now: Date },
): Promise<RetriedRow | undefined> {
  return (await retryStatement(trx, { bookingId, now }))[0];
}

const retryStatement = prepared((db, { bookingId, now }: { bookingId: number; now: Date }) => {
  const changes = db.with("refund", () =>
    sql<{ amount: string }>`(
      update refunds set status = 'pending', settled_at = null, failure = null,
        idempotency_key = gen_random_uuid(), job_id = ${enqueue("refund_payment", sql`id`)}
      where booking_id = ${bookingId} and status = 'failed'
      returning amount
    )`)
    .with("b", () =>
      sql<Booking>`(
        update bookings set payment_status = 'refund_pending', updated_at = ${now}
        where id = ${bookingId} and exists (select from refund)
        returning *
      )`);
  return withBooking(changes).selectFrom("booking").selectAll().select(
    sql<string>`(select sum(amount) from refund)`.as("refund"),
  );
});
