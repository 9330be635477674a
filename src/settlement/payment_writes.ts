/**
 * Statements about payments. Each one writes the payment, its consequences for the booking, and their events.
 *
 * A statement for a provider's message or a refund runs in a transaction that has locked the booking. So it sees every
 * earlier decision about the booking, also in other tables. No other statement decides at the same time.
 */
import { type RawBuilder, type Selectable, sql, type Transaction } from "kysely";
import type { Bookings, BookingStatus } from "../../generated/database.d.ts";
import { returningBooking, timeslotTakenEvent, withBooking, withEvents } from "../bookings/changes.ts";
import type { BookingRow } from "../bookings/queries.ts";
import type { Database } from "../database/connect.ts";
import { instant } from "../database/instants.ts";
import { prepared } from "../database/prepared.ts";
import { bookingEvent } from "../events/record.ts";
import { closeCheckouts, newRefund, paidStatus, unlessRefunding } from "../payments/checkout_writes.ts";
import { isFree } from "../timeslots/taken.ts";

type Booking = Selectable<Bookings>;

export interface NewCheckout {
  id: string;
  bookingId: number;
  userId: number;
  provider: string;
  now: Date;
}

/**
 * Replaces the checkouts of a user's booking that waits for its payment. Undefined for any other booking. The booking
 * must be locked.
 */
export async function insertCheckout(
  trx: Transaction<Database>,
  checkout: NewCheckout,
): Promise<BookingRow | undefined> {
  return (await insertCheckoutStatement(trx, checkout))[0];
}

const insertCheckoutStatement = prepared((db, { id, bookingId, userId, provider, now }: NewCheckout) => {
  const changes = db.with(
    "b",
    (cte) =>
      cte.selectFrom("bookings as b").innerJoin("timeslots as t", "t.id", "b.timeslot_id").selectAll("b")
        .where("b.id", "=", bookingId)
        .where("b.user_id", "=", userId)
        .where("b.status", "=", "pending")
        .where("b.price", ">", "0")
        .where("t.starts_at", ">", instant(now))
        .where((eb) => eb.or([eb("b.hold_expires_at", "is", null), eb("b.hold_expires_at", ">", instant(now))])),
  )
    .with("closed", () => closeCheckouts(sql`booking_id in (select id from b)`, now))
    .with("checkout", () =>
      sql<{ id: string }>`(
        insert into checkouts (id, booking_id, provider, created_at)
        select ${id}::uuid, b.id, ${provider}::text, ${now}::timestamptz from b
        returning id
      )`);
  return withBooking(changes).selectFrom("booking").selectAll();
});

/** Locks the booking of a checkout and returns it. */
export function lockBookingOfCheckout(
  trx: Transaction<Database>,
  { checkoutId, provider }: { checkoutId: string; provider: string },
): Promise<{ id: number; status: BookingStatus } | undefined> {
  return trx.selectFrom("checkouts as c").innerJoin("bookings as b", "b.id", "c.booking_id").select([
    "b.id",
    "b.status",
  ])
    .where("c.id", "=", checkoutId).where("c.provider", "=", provider).forNoKeyUpdate("b").executeTakeFirst();
}

/**
 * Locks the timeslot of a locked booking and returns its start. It follows the lock of the booking, which may be
 * rescheduled until then.
 */
export async function lockTimeslotOf(trx: Transaction<Database>, bookingId: number): Promise<string> {
  const { starts_at: startsAt } = await trx.selectFrom("timeslots").select("starts_at")
    .where("id", "=", (eb) => eb.selectFrom("bookings").select("timeslot_id").where("id", "=", bookingId))
    .forNoKeyUpdate().executeTakeFirstOrThrow();
  return startsAt;
}

/**
 * Whether a younger transaction has taken or freed the timeslot of the booking. Both must be locked. An event of this
 * transaction would precede that change in the feed, although it happens later.
 */
export async function wasOvertaken(trx: Transaction<Database>, bookingId: number): Promise<boolean> {
  const { rows } = await sql<{ overtaken: boolean }>`
    select exists (
      select from booking_events e join bookings b on b.room_id = e.room_id
      where b.id = ${bookingId} and e.transaction_id > pg_current_xact_id() and e.type in ('taken', 'freed')
        and (e.data ->> 'timeslot_id')::bigint = b.timeslot_id
    ) as overtaken
  `.execute(trx);
  return rows[0]?.overtaken ?? false;
}

/** A message of the provider about a booking. */
export interface ProviderMessage {
  bookingId: number;
  checkoutId: string;
  provider: string;
  eventId: string;
  now: Date;
}

/** `insert into payment_events …` for a `with`. Returns a row if the message is new. */
export function newPaymentEvent(
  kind: RawBuilder<unknown>,
  { provider, eventId, bookingId, now }: ProviderMessage,
): RawBuilder<{ id: number }> {
  return sql<{ id: number }>`(
    insert into payment_events (provider, event_id, kind, booking_id, received_at)
    values (${provider}, ${eventId}, ${kind}, ${bookingId}, ${now}) on conflict do nothing
    returning booking_id as id
  )`;
}

export type PaymentMessage = ProviderMessage & { payment: string; cents: number; currency: string };

/** The consequence of a payment for its booking. */
export interface PaymentOutcome {
  /** Whether it confirmed the booking. */
  confirms: boolean;
  /** The amount to refund because it did not. */
  due: string;
}

/**
 * Writes a payment. It pays its booking if it has the booking's price and nothing was paid before. It then confirms a
 * pending booking. A booking whose hold has expired takes its timeslot again if that is still free. A payment that does
 * not confirm the booking is refunded at once. Returns undefined for a known payment or message.
 *
 * The booking and its timeslot must be locked.
 */
export async function recordPayment(
  trx: Transaction<Database>,
  message: PaymentMessage,
): Promise<PaymentOutcome | undefined> {
  return (await paymentStatement(trx, message))[0];
}

const paymentStatement = prepared((db, message: PaymentMessage) => {
  const { checkoutId, provider, payment: reference, cents, currency, now } = message;
  const changes = db.with("fresh", () => newPaymentEvent(sql`'paid'`, message))
    .with("target", () =>
      sql`(
        select b.id, b.status, b.price = ${cents}::numeric / 100 and b.price > 0 and b.currency = ${currency}::text
            and b.amount_paid = 0 as is_price,
          b.status = 'cancelled' and b.cancellation_reason = 'hold_expired' and t.starts_at > ${now}::timestamptz
            and r.is_active and ${isFree("t")} as can_return
        from fresh join bookings b on b.id = fresh.id
          join timeslots t on t.id = b.timeslot_id join rooms r on r.id = b.room_id
      )`)
    .with("payment", () =>
      sql`(
        insert into payments
          (provider, reference, checkout_id, booking_id, currency, amount, pays_booking, reported_refunded, paid_at)
        select ${provider}, ${reference}, ${checkoutId}, id, ${currency}, ${cents}::numeric / 100, is_price, 0, ${now}
        from target
        on conflict (provider, reference) do update set
          amount = excluded.amount, currency = excluded.currency, pays_booking = excluded.pays_booking,
          paid_at = excluded.paid_at
        where payments.amount is null
        returning id, amount, pays_booking, least(reported_refunded, amount) as given_back
      )`)
    .with("decision", () =>
      sql<{ confirms: boolean; due: string }>`(
        select target.id, target.status, payment.id as payment_id, amount, pays_booking, given_back, confirms,
          case when confirms then 0 else amount - given_back end as due
        from target, payment, lateral (select pays_booking and (status = 'pending' or can_return) as confirms) s
      )`)
    .with("b", () =>
      sql<Booking>`(
        update bookings b set
          status = case when confirms then 'confirmed' else b.status end,
          cancelled_at = case when confirms then null else b.cancelled_at end,
          cancellation_reason = case when confirms then null else b.cancellation_reason end,
          hold_expires_at = case when confirms then null else b.hold_expires_at end,
          payment_id = case when pays_booking then decision.payment_id else b.payment_id end,
          amount_paid = case when pays_booking then amount else b.amount_paid end,
          amount_refunded = case when pays_booking then given_back else b.amount_refunded end,
          refund_amount = case when pays_booking then given_back + due else b.refund_amount end,
          payment_status = case
            when due > 0 then 'refund_pending'
            when pays_booking then ${unlessRefunding(paidStatus(sql`amount`, sql`given_back`))}
            else b.payment_status end,
          updated_at = ${now}
        from decision where b.id = decision.id
        returning b.*
      )`)
    .with(
      "refund",
      () => newRefund(sql`select payment_id, id as booking_id, due as amount, amount as target from decision`, now),
    )
    .with(
      "closed",
      () => sql`(update checkouts set closed_at = ${now} where id = ${checkoutId} and closed_at is null)`,
    );
  return withEvents(changes, [
    sql`${bookingEvent("confirmed", "booking", now)}, decision where confirms`,
    sql`${bookingEvent("refunded", "booking", now)}, decision where pays_booking and given_back > 0 and due = 0`,
    sql`${bookingEvent("payment_failed", "booking", now)}, decision
      where not pays_booking and decision.status = 'pending'`,
    sql`${timeslotTakenEvent(now)}, decision where confirms and decision.status = 'cancelled'`,
  ]).selectFrom(sql<PaymentOutcome>`decision`.as("decision")).select(["confirms", "due"]);
});

/** Writes a failed attempt to pay, or an expired checkout. The booking must be locked, and stays pending. */
export async function recordFailure(
  trx: Transaction<Database>,
  message: ProviderMessage & { kind: "failed" | "expired" },
): Promise<void> {
  await failureStatement(trx, message);
}

const failureStatement = prepared((db, message: ProviderMessage & { kind: "failed" | "expired" }) => {
  const { kind, checkoutId, now } = message;
  const changes = db.with("fresh", () => newPaymentEvent(sql`${kind}::payment_event_kind`, message))
    .with("closed", () =>
      sql`(
        update checkouts set closed_at = ${now}
        where id = ${checkoutId} and closed_at is null and ${kind}::text = 'expired' and exists (select from fresh)
      )`)
    .with("b", (cte) =>
      cte.selectFrom("bookings").selectAll()
        .where("status", "=", "pending")
        .where(sql<boolean>`id in (select id from fresh)`)
        // Ignores closed checkouts.
        .where(sql<boolean>`exists (select from checkouts where id = ${checkoutId} and closed_at is null)`));
  return returningBooking(changes, [bookingEvent("payment_failed", "booking", now)]);
});
