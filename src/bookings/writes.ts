/**
 * Statements that create and reschedule bookings. Each one makes a change that is allowed and writes its events, or
 * does nothing.
 *
 * Each one first locks the booking, and its timeslots when one is taken or freed. So a change waits for another one
 * before it has a transaction id. The ids order the feed of events, so the feed follows the order of the changes. An
 * `UPDATE` alone would take its id before it waits. See the guide on decisions.
 */
import { type Kysely, type RawBuilder, sql } from "kysely";
import type { BookingStatus } from "../../generated/contract.ts";
import type { PaymentStatus } from "../../generated/database.d.ts";
import type { CancellationTier } from "../config.ts";
import type { NewKey } from "../contract/handlers.ts";
import type { Database } from "../database/connect.ts";
import { instant } from "../database/instants.ts";
import { prepared } from "../database/prepared.ts";
import { limitsLockWait } from "../database/time_limits.ts";
import { bookingEvent } from "../events/record.ts";
import { keyIsNew } from "../idempotency/queries.ts";
import { closeCheckouts, unlessRefunding } from "../payments/checkout_writes.ts";
import { isFree } from "../timeslots/taken.ts";
import { placeColumns, returningBooking, returningResult, timeslotFreedEvent, timeslotTakenEvent } from "./changes.ts";
import { type BookingRow, priceOf } from "./queries.ts";
import { percentAfterMove } from "./refund_tiers.ts";

/** The status of a new booking: free ones are confirmed at once if the room has `auto_confirm`. */
const firstStatusOf = (price: RawBuilder<string>, autoConfirm: RawBuilder<boolean>) =>
  sql<BookingStatus>`case when ${price} = 0 and ${autoConfirm} then 'confirmed' else 'pending' end::booking_status`;

const paymentStatusOf = (price: RawBuilder<string>) =>
  sql<PaymentStatus>`case when ${price} = 0 then 'not_required' else 'unpaid' end::payment_status`;

export interface NewBooking {
  userId: number;
  roomId: number;
  timeslotId: number;
  notes: string | null;
  bookingType: string | null;
  cancellationTiers: CancellationTier[];
  /** Pending bookings that the user may have, this one included; 0 means no limit. */
  maxPendingBookings: number;
  /**
   * The checkout and the end of the hold, if the booking costs something. The start of the timeslot may end the hold
   * earlier. Null when payments happen elsewhere.
   */
  checkout: { id: string; provider: string; holdExpiresAt: Date } | null;
  now: Date;
}

type Terms = Omit<NewBooking, "checkout">;

/**
 * Inserts a booking if the timeslot is free and the user may have another one, in one statement. The index
 * `bookings_live_timeslot_key` lets one of any number of rivals through; the others get undefined.
 */
export async function insertBooking(db: Kysely<Database>, booking: NewBooking): Promise<BookingRow | undefined> {
  const { checkout, ...terms } = booking;
  const rows = checkout === null
    ? await insertStatement(db, terms)
    : await insertWithCheckoutStatement(db, { ...terms, ...checkout, checkoutId: checkout.id });
  return rows[0]?.result;
}

/** Like {@link insertBooking} without a checkout. It also stores the key, and does nothing if the key is known. */
export async function insertKeyedBooking(
  db: Kysely<Database>,
  booking: Terms & NewKey,
): Promise<BookingRow | undefined> {
  return (await insertKeyedStatement(db, booking))[0]?.result;
}

const noHold = sql<Date | null>`null::timestamptz`;

const insertStatement = prepared((db, terms: Terms) =>
  returningResult(withNewBooking(db, terms, { holdExpiresAt: noHold }), creationEvents(terms.now))
);

const insertKeyedStatement = prepared((db, terms: Terms & NewKey) => {
  const changes = withNewBooking(db, terms, { holdExpiresAt: noHold, key: terms });
  return returningResult(changes, creationEvents(terms.now), { key: terms });
});

type OnlineTerms = Terms & { checkoutId: string; provider: string; holdExpiresAt: Date };

const insertWithCheckoutStatement = prepared((db, terms: OnlineTerms) => {
  const { checkoutId, provider, now } = terms;
  const holdExpiresAt = sql<Date | null>`case
    when place.price > 0 then least(${terms.holdExpiresAt}::timestamptz, place.starts_at) end`;
  const changes = withNewBooking(db, terms, { holdExpiresAt })
    .with("checkout", () =>
      sql<{ id: string }>`(
        insert into checkouts (id, booking_id, provider, created_at)
        select ${checkoutId}::uuid, b.id, ${provider}::text, ${now}::timestamptz from b where b.price > 0
        returning id
      )`);
  return returningResult(changes, creationEvents(now));
});

const creationEvents = (now: Date) => [
  bookingEvent("created", "booking", now),
  sql`${bookingEvent("confirmed", "booking", now)} where booking.status = 'confirmed'`,
  timeslotTakenEvent(now),
];

/** Adds `place`, the timeslot and its room, and `b`, the booking. `holdExpiresAt` is an expression over `place`. */
function withNewBooking(
  db: Kysely<Database>,
  terms: Terms,
  { holdExpiresAt, key }: { holdExpiresAt: RawBuilder<Date | null>; key?: NewKey },
) {
  const { userId, roomId, timeslotId, notes, bookingType, cancellationTiers, maxPendingBookings, now } = terms;
  const price = sql<string>`place.price`;
  return db.with("place", (cte) =>
    cte.selectFrom("timeslots as t").innerJoin("rooms as r", "r.id", "t.room_id")
      .select(["t.id", "t.room_id", "r.currency", "r.auto_confirm", priceOf("t").as("price")])
      .select(placeColumns)
      .where("t.id", "=", timeslotId)
      .where("t.room_id", "=", roomId)
      .where("t.starts_at", ">", instant(now))
      .where("r.is_active", "=", true)
      .where(keyIsNew(key))
      .where(limitsLockWait)
      // Refuses late rivals without a lock.
      .where(isFree("t"))
      // A booking that is confirmed at once is never pending.
      .where(
        sql<boolean>`case when ${maxPendingBookings}::integer = 0 or (r.auto_confirm and ${priceOf("t")} = 0) then true
        else may_hold_another(${userId}::bigint, ${maxPendingBookings}::integer, ${now}::timestamptz) end`,
      )
      .forNoKeyUpdate("t"))
    .with("b", (cte) =>
      cte.insertInto("bookings")
        .columns([
          "user_id",
          "room_id",
          "timeslot_id",
          "status",
          "booking_type",
          "notes",
          "price",
          "currency",
          "payment_status",
          "amount_paid",
          "amount_refunded",
          "refund_amount",
          "hold_expires_at",
          "cancellation_tiers",
          "created_at",
          "updated_at",
        ])
        .expression((eb) =>
          eb.selectFrom("place")
            .select([
              sql<number>`${userId}::bigint`.as("user_id"),
              "place.room_id",
              "place.id",
              firstStatusOf(price, sql`place.auto_confirm`).as("status"),
              sql<string | null>`${bookingType}::text`.as("booking_type"),
              sql<string | null>`${notes}::text`.as("notes"),
              price.as("price"),
              "place.currency",
              paymentStatusOf(price).as("payment_status"),
              sql<string>`0`.as("amount_paid"),
              sql<string>`0`.as("amount_refunded"),
              sql<string>`0`.as("refund_amount"),
              holdExpiresAt.as("hold_expires_at"),
              sql<CancellationTier[]>`${cancellationTiers}::jsonb`.as("cancellation_tiers"),
              sql<Date>`${now}::timestamptz`.as("created_at"),
              sql<Date>`${now}::timestamptz`.as("updated_at"),
            ])
        )
        // Inlined as a literal: a plan for all parameters cannot prove that the partial index applies.
        .onConflict((conflict) =>
          conflict.column("timeslot_id").where("status", "<>", sql.lit("cancelled")).doNothing()
        )
        .returningAll());
}

export interface Reschedule {
  id: number;
  userId: number;
  newTimeslotId: number;
  /** Earliest start of a timeslot that a booking may still leave. */
  leavesFrom: Date;
  /** The end of the hold, if the booking has none and now costs something. Null when payments happen elsewhere. */
  holdExpiresAt: Date | null;
  now: Date;
}

/**
 * Reschedules a user's live booking, before its start, to a free timeslot of the same room. Returns undefined when that
 * is not allowed. The reminder becomes due again.
 *
 * A pending booking becomes what a new booking of the timeslot would be. Only its hold keeps its end. A confirmed one
 * must cost the same, and the percentage of its tier now limits its refund from then on.
 *
 * Checks for a taken timeslot before the index does. Otherwise two users who swap timeslots would wait for each other
 * until Postgres ends the deadlock. The index `bookings_live_timeslot_key` still refuses a rival in the same instant.
 */
export async function markRescheduled(db: Kysely<Database>, reschedule: Reschedule): Promise<BookingRow | undefined> {
  return (await rescheduleStatement(db, reschedule))[0];
}

const rescheduleStatement = prepared((db, reschedule: Reschedule) => {
  const { id, userId, newTimeslotId, leavesFrom, holdExpiresAt, now } = reschedule;
  const price = priceOf("n");
  const isPending = sql<boolean>`b.status = 'pending'`;
  const isLive = sql<boolean>`(
    b.status = 'confirmed' or b.status = 'pending' and (b.hold_expires_at is null or b.hold_expires_at > ${now})
  )`;
  const changes = db.with(
    "locked",
    (cte) =>
      cte.selectFrom("bookings as b").innerJoin("timeslots as t", "t.id", "b.timeslot_id")
        .innerJoin("timeslots as n", "n.room_id", "b.room_id").innerJoin("rooms as r", "r.id", "b.room_id")
        .select([
          "b.id",
          "b.status",
          "t.id as timeslot_id",
          "t.room_id",
          "t.starts_at",
          "t.ends_at",
          "n.starts_at as new_starts_at",
          price.as("price"),
          "r.currency",
          "r.auto_confirm",
        ])
        .where("b.id", "=", id)
        .where("b.user_id", "=", userId)
        .where(isLive)
        .where("t.starts_at", ">", instant(now))
        .where("t.starts_at", ">=", instant(leavesFrom))
        .where("n.id", "=", newTimeslotId)
        .where("n.starts_at", ">", instant(now))
        .where("r.is_active", "=", true)
        .where(isFree("n"))
        .where(limitsLockWait)
        .where((eb) =>
          eb.or([
            eb("b.status", "=", "pending"),
            eb.and([eb(price, "=", eb.ref("b.price")), eb("r.currency", "=", eb.ref("b.currency"))]),
          ])
        )
        .forNoKeyUpdate(["b", "t", "n"]),
  )
    .with("b", (cte) =>
      cte.updateTable("bookings as b").from("locked")
        .whereRef("b.id", "=", "locked.id")
        .set({
          timeslot_id: newTimeslotId,
          status: sql<BookingStatus>`case
            when ${isPending} then ${firstStatusOf(sql`locked.price`, sql`locked.auto_confirm`)} else b.status end`,
          price: sql<string>`case when ${isPending} then locked.price else b.price end`,
          currency: sql<string>`case when ${isPending} then locked.currency else b.currency end`,
          payment_status: sql<PaymentStatus>`case
            when ${isPending} then ${unlessRefunding(paymentStatusOf(sql`locked.price`))} else b.payment_status end`,
          // `least` ignores null. Without a provider or a price there is no hold.
          hold_expires_at: sql<Date | null>`case
            when ${isPending} and locked.price > 0 and ${holdExpiresAt}::timestamptz is not null
            then least(coalesce(b.hold_expires_at, ${holdExpiresAt}::timestamptz), locked.new_starts_at) end`,
          max_refund_percent: sql<string | null>`case
            when ${isPending} then b.max_refund_percent else ${percentAfterMove(sql`locked.starts_at`, now)} end`,
          reminded_at: null,
          updated_at: now,
        })
        .returningAll("b"))
    // Open checkouts are for the previous price or time.
    .with("closed", () => closeCheckouts(sql`booking_id in (select id from b)`, now));
  return returningBooking(changes, [
    bookingEvent("rescheduled", "booking", now),
    sql`${bookingEvent("confirmed", "booking", now)}, locked
      where booking.status = 'confirmed' and locked.status = 'pending'`,
    timeslotFreedEvent(
      sql`select locked.timeslot_id, locked.room_id, locked.starts_at, locked.ends_at, true as is_active
        from locked join booking on booking.id = locked.id`,
      now,
    ),
    timeslotTakenEvent(now),
  ]);
});
