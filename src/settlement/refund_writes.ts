/** Statements about refunds. See `payment_writes.ts` for how they run. */
import { type RawBuilder, type Selectable, sql, type Transaction } from "kysely";
import type { Bookings, PaymentStatus } from "../../generated/database.d.ts";
import { returningBooking, withBooking, withEvents } from "../bookings/changes.ts";
import type { BookingRow } from "../bookings/queries.ts";
import type { Database } from "../database/connect.ts";
import { prepared } from "../database/prepared.ts";
import { bookingEvent } from "../events/record.ts";
import { enqueue } from "../jobs/enqueue.ts";
import { newRefund, paidStatus } from "../payments/checkout_writes.ts";
import { newPaymentEvent, type PaymentMessage } from "./payment_writes.ts";

type Booking = Selectable<Bookings>;

/** Locks the booking of a pending refund and returns its id. */
export async function lockBookingOfRefund(trx: Transaction<Database>, refundId: string): Promise<number | undefined> {
  const row = await trx.selectFrom("refunds as r").innerJoin("bookings as b", "b.id", "r.booking_id").select("b.id")
    .where("r.id", "=", refundId).where("r.status", "=", "pending").forNoKeyUpdate("b").executeTakeFirst();
  return row?.id;
}

/**
 * Writes the total that the provider reports as refunded of a payment, by us or by the operator. A failed refund of
 * ours has succeeded if the total covers it. The booking must be locked, and keeps its status.
 */
export async function recordReportedRefund(trx: Transaction<Database>, message: PaymentMessage): Promise<void> {
  await reportedRefundStatement(trx, message);
}

const reportedRefundStatement = prepared((db, message: PaymentMessage) => {
  const { bookingId, checkoutId, provider, payment: reference, cents, currency, now } = message;
  const refunded = refundedOf(sql`payment.given_back`);
  const changes = db.with("fresh", () => newPaymentEvent(sql`'refunded'`, message))
    .with("payment", () =>
      sql`(
        insert into payments (provider, reference, checkout_id, booking_id, currency, pays_booking, reported_refunded)
        select ${provider}, ${reference}, ${checkoutId}, id, ${currency}, false, ${cents}::numeric / 100 from fresh
        on conflict (provider, reference) do update set
          reported_refunded = greatest(payments.reported_refunded, excluded.reported_refunded)
        returning id, reported_refunded + settled_elsewhere as given_back
      )`)
    .with("refund", () =>
      sql<{ id: string }>`(
        update refunds r set status = 'succeeded', failure = null, settled_at = ${now}
        from payment where r.payment_id = payment.id and r.status = 'failed' and r.target <= payment.given_back
        returning r.id
      )`)
    .with("b", () =>
      updateRefunded(refunded, {
        condition: sql`b.id = ${bookingId} and (b.amount_refunded < ${refunded} or exists (select from refund))`,
        now,
      }));
  return returningBooking(changes, [
    // A pending refund of ours writes the event when it has succeeded.
    sql`${bookingEvent("refunded", "booking", now)} where booking.payment_status <> 'refund_pending'`,
  ]);
});

/** Updates a booking `b` in a `with` that has `payment`, and `refund` for the refunds that have succeeded. */
function updateRefunded(
  refunded: RawBuilder<unknown>,
  { condition, now }: { condition: RawBuilder<unknown>; now: Date },
): RawBuilder<Booking> {
  return sql<Booking>`(
    update bookings b set
      amount_refunded = ${refunded},
      refund_amount = greatest(b.refund_amount, ${refunded}),
      payment_status = ${statusAfter(sql`select id from refund`, refunded)},
      updated_at = ${now}
    from payment where ${condition}
    returning b.*
  )`;
}

/**
 * The refunded amount of a booking `b` after `givenBack` of `payment` was refunded. Only the booking's own payment
 * counts.
 */
function refundedOf(givenBack: RawBuilder<unknown>): RawBuilder<unknown> {
  return sql`(case
    when b.payment_id = payment.id then greatest(b.amount_refunded, least(${givenBack}, b.amount_paid))
    else b.amount_refunded end)`;
}

/** The payment status of a booking `b` after the refunds that `succeeded` selects. */
function statusAfter(succeeded: RawBuilder<unknown>, refunded: RawBuilder<unknown>): RawBuilder<PaymentStatus> {
  const other = (status: string) =>
    sql`exists (
      select from refunds where booking_id = b.id and status = ${sql.lit(status)} and id not in (${succeeded})
    )`;
  return sql<PaymentStatus>`case
    when ${other("failed")} then 'refund_failed'
    when ${other("pending")} then 'refund_pending'
    when b.amount_paid > 0 then ${paidStatus(sql`b.amount_paid`, refunded)}
    when b.price > 0 then 'unpaid'
    else 'not_required' end`;
}

export interface SucceededRefund {
  id: string;
  /** The provider's id of the refund; null when the provider had refunded the money before. */
  reference: string | null;
  now: Date;
}

/** Writes that the provider has accepted a pending refund. The booking must be locked. */
export async function markRefundSucceeded(trx: Transaction<Database>, refund: SucceededRefund): Promise<void> {
  await succeedStatement(trx, refund);
}

const succeedStatement = prepared((db, { id, reference, now }: SucceededRefund) => {
  const refunded = refundedOf(sql`greatest(payment.given_back, payment.target)`);
  const changes = db.with("refund", () =>
    sql`(
      update refunds set status = 'succeeded', reference = ${reference}, failure = null, settled_at = ${now}
      where id = ${id} and status = 'pending'
      returning id, payment_id, booking_id, target
    )`)
    .with("payment", () =>
      sql`(
        select p.id, p.reported_refunded + p.settled_elsewhere as given_back, refund.booking_id, refund.target
        from refund join payments p on p.id = refund.payment_id
      )`)
    .with("b", () => updateRefunded(refunded, { condition: sql`b.id = payment.booking_id`, now }));
  return returningBooking(changes, [bookingEvent("refunded", "booking", now)]);
});

/** Writes that a pending refund has failed for good, if `jobId` is still its job. The booking must be locked. */
export async function markRefundFailed(
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

/** A booking whose refunds had failed, and their amount. */
export type FailedRefundsRow = BookingRow & { refund: string };

/** Queues the failed refunds of a booking again. Undefined when there is none. The booking must be locked. */
export async function retryFailedRefunds(
  trx: Transaction<Database>,
  { bookingId, now }: { bookingId: number; now: Date },
): Promise<FailedRefundsRow | undefined> {
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

/**
 * Records the failed refunds of a booking as made elsewhere. Undefined when there is none. The booking must be locked.
 */
export async function settleFailedRefunds(
  trx: Transaction<Database>,
  values: { bookingId: number; now: Date },
): Promise<FailedRefundsRow | undefined> {
  return (await settleStatement(trx, values))[0];
}

const settleStatement = prepared((db, { bookingId, now }: { bookingId: number; now: Date }) => {
  const refunded = sql`greatest(
    b.amount_refunded,
    (select max(least(refund.target, b.amount_paid)) from refund where refund.payment_id = b.payment_id)
  )`;
  const changes = db.with("refund", () =>
    sql<{ amount: string }>`(
      update refunds set status = 'succeeded', settled_at = ${now}
      where booking_id = ${bookingId} and status = 'failed'
      returning id, payment_id, amount, target
    )`)
    .with("settled", () =>
      sql<{ id: number }>`(
        update payments p set settled_elsewhere = p.settled_elsewhere + due.amount
        from (
          select r.payment_id,
            sum(greatest(least(r.amount, r.target - p.reported_refunded - p.settled_elsewhere), 0)) as amount
          from refund r join payments p on p.id = r.payment_id group by 1
        ) due
        where p.id = due.payment_id
        returning p.id
      )`)
    .with("b", () =>
      sql<Booking>`(
        update bookings b set
          amount_refunded = ${refunded},
          refund_amount = greatest(b.refund_amount, ${refunded}),
          payment_status = ${statusAfter(sql`select id from refund`, refunded)},
          updated_at = ${now}
        where b.id = ${bookingId} and exists (select from refund)
        returning b.*
      )`);
  return withEvents(changes, [bookingEvent("refunded", "booking", now)]).selectFrom("booking").selectAll().select(
    sql<string>`(select sum(amount) from refund)`.as("refund"),
  );
});

/**
 * Refunds more of a cancelled booking whose earlier refunds are finished. A job refunds an online payment. The operator
 * refunds any other payment, so that one counts as refunded. Undefined when that is not allowed, or when less than
 * `cents` is left of the payment. The booking must be locked.
 */
export async function insertGoodwillRefund(
  trx: Transaction<Database>,
  refund: { bookingId: number; cents: number; now: Date },
): Promise<BookingRow | undefined> {
  return (await goodwillStatement(trx, refund))[0];
}

const goodwillStatement = prepared(
  (db, { bookingId, cents, now }: { bookingId: number; cents: number; now: Date }) => {
    const changes = db.with("b", () =>
      sql<Booking>`(
        update bookings b set
          refund_amount = refunded,
          amount_refunded = case when b.payment_id is null then refunded else b.amount_refunded end,
          payment_status = case
            when b.payment_id is not null then 'refund_pending'
            else ${paidStatus(sql`b.amount_paid`, sql`refunded`)} end,
          updated_at = ${now}
        from (
          -- A server of the previous version does not write refund_amount.
          select id, greatest(refund_amount, amount_refunded) + ${cents}::numeric / 100 as refunded
          from bookings where id = ${bookingId}
        ) decided
        where b.id = decided.id and b.status = 'cancelled' and b.payment_status in ('paid', 'partially_refunded')
          and refunded <= b.amount_paid
        returning b.*
      )`)
      .with("refund", () =>
        newRefund(
          sql`select b.payment_id, b.id as booking_id, ${cents}::numeric / 100 as amount, b.refund_amount as target
            from b where b.payment_id is not null`,
          now,
        ));
    return returningBooking(changes, [
      sql`${bookingEvent("refunded", "booking", now)} where booking.payment_status <> 'refund_pending'`,
    ]);
  },
);
