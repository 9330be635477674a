/** Changing bookings. Each is one statement that changes what may be changed, or nothing. */
import { type Kysely, type RawBuilder, sql } from "kysely";
import type { BookingStatus } from "../../generated/contract.ts";
import type { Bookings, DB, PaymentStatus } from "../../generated/database.d.ts";
import type { CancellationTier } from "../config.ts";
import type { Database } from "../database/connect.ts";
import { isTaken } from "../timeslots/taken.ts";
import { type BookingRow, priceOf, selectColumns } from "./queries.ts";

const paymentStatusOf = (price: RawBuilder<string>) =>
  sql<PaymentStatus>`case when ${price} = 0 then 'not_required' else 'unpaid' end::payment_status`;
export interface NewBooking {
  userId: number;
  roomId: number;
  timeslotId: number;
  notes: string | null;
  bookingType: string | null;
  cancellationTiers: CancellationTier[];
  now: Date;
}

/**
 * Takes the timeslot if it is free, in one statement: of any number of rivals the index `bookings_live_timeslot_key` lets
 * one through, the others get undefined.
 */
export function insertBooking(db: Kysely<Database>, booking: NewBooking): Promise<BookingRow | undefined> {
  const { userId, roomId, timeslotId, notes, bookingType, cancellationTiers, now } = booking;
  const price = priceOf("t");
  return changed(db.with("b", (cte) =>
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
        "cancellation_tiers",
        "created_at",
        "updated_at",
      ])
      .expression((eb) =>
        eb.selectFrom("timeslots as t").innerJoin("rooms as r", "r.id", "t.room_id")
          .select([
            sql<number>`${userId}::bigint`.as("user_id"),
            "t.room_id",
            "t.id",
            sql<
              BookingStatus
            >`case when ${price} = 0 and r.auto_confirm then 'confirmed' else 'pending' end::booking_status`
              .as("status"),
            sql<string | null>`${bookingType}::text`.as("booking_type"),
            sql<string | null>`${notes}::text`.as("notes"),
            price.as("price"),
            "r.currency",
            paymentStatusOf(price).as("payment_status"),
            sql<string>`0`.as("amount_paid"),
            sql<string>`0`.as("amount_refunded"),
            sql<CancellationTier[]>`${cancellationTiers}::jsonb`.as("cancellation_tiers"),
            sql<Date>`${now}::timestamptz`.as("created_at"),
            sql<Date>`${now}::timestamptz`.as("updated_at"),
          ])
          .where("t.id", "=", timeslotId)
          .where("t.room_id", "=", roomId)
          .where("t.starts_at", ">", now)
          .where("r.is_active", "=", true)
      )
      // Literally, not as a parameter: a statement that is planned once for all parameters could not prove the index.
      .onConflict((conflict) => conflict.column("timeslot_id").where("status", "<>", sql.lit("cancelled")).doNothing())
      .returningAll()));
}

/** Whose cancellation it is decides what is allowed and what is refunded. */
export type Cancellation = { by: "user"; userId: number } | { by: "admin" };

/**
 * Cancels a booking that may be cancelled and writes what is refunded, or returns undefined. A user's own booking before
 * its start, refunded by its tiers; or, for an admin, any live booking, refunded in full.
 */
export function cancelBooking(
  db: Kysely<Database>,
  { id, cancellation, now }: { id: number; cancellation: Cancellation; now: Date },
): Promise<BookingRow | undefined> {
  const refund = cancellation.by === "admin" ? sql<string>`b.amount_paid` : tierRefund(now);
  return changed(
    db.with("b", (cte) => {
      const update = cte.updateTable("bookings as b").from("timeslots as t")
        .whereRef("t.id", "=", "b.timeslot_id")
        .where("b.id", "=", id)
        .where("b.status", "in", ["pending", "confirmed"])
        .set({
          status: "cancelled",
          cancelled_at: now,
          cancellation_reason: cancellation.by === "admin" ? "admin_request" : "user_request",
          amount_refunded: refund,
          payment_status: sql<PaymentStatus>`case
            when ${refund} = 0 then b.payment_status
            when ${refund} = b.amount_paid then 'refunded'
            else 'partially_refunded' end::payment_status`,
          updated_at: now,
        })
        .returningAll("b");
      return cancellation.by === "admin"
        ? update
        : update.where("b.user_id", "=", cancellation.userId).where("t.starts_at", ">", now);
    }),
  );
}

/** Paid amount x percentage of the first tier whose hours still lie ahead, half up to two places; no tier means 0. */
function tierRefund(now: Date): RawBuilder<string> {
  return sql<string>`round(b.amount_paid * coalesce((
    select tier.percent from jsonb_to_recordset(b.cancellation_tiers) as tier(hours numeric, percent numeric)
    where extract(epoch from t.starts_at - ${now}::timestamptz) >= tier.hours * 3600
    order by tier.hours desc limit 1
  ), 0) / 100, 2)`;
}

export interface Move {
  id: number;
  userId: number;
  newTimeslotId: number;
  now: Date;
}

/**
 * Moves a user's live booking, before its start, to a free timeslot of the same room, or returns undefined. A pending
 * booking is priced again, a confirmed one must cost the same.
 *
 * A timeslot that is taken is seen here before the index has to refuse it: two users who swap would otherwise wait for
 * each other until Postgres ends the deadlock. A rival in the same instant is still refused by
 * `bookings_live_timeslot_key`.
 */
export function moveBooking(
  db: Kysely<Database>,
  { id, userId, newTimeslotId, now }: Move,
): Promise<BookingRow | undefined> {
  const price = priceOf("n");
  return changed(
    db.with("b", (cte) =>
      cte.updateTable("bookings as b").from(["timeslots as t", "timeslots as n", "rooms as r"])
        .whereRef("t.id", "=", "b.timeslot_id")
        .whereRef("n.room_id", "=", "b.room_id")
        .whereRef("r.id", "=", "b.room_id")
        .where("b.id", "=", id)
        .where("b.user_id", "=", userId)
        .where("b.status", "in", ["pending", "confirmed"])
        .where("t.starts_at", ">", now)
        .where("n.id", "=", newTimeslotId)
        .where("n.starts_at", ">", now)
        .where("r.is_active", "=", true)
        .where(sql<boolean>`not ${isTaken("n.id")}`)
        .where((eb) =>
          eb.or([
            eb("b.status", "=", "pending"),
            eb.and([eb(price, "=", eb.ref("b.price")), eb("r.currency", "=", eb.ref("b.currency"))]),
          ])
        )
        .set({
          timeslot_id: newTimeslotId,
          price: sql<string>`case when b.status = 'pending' then ${price} else b.price end`,
          currency: sql<string>`case when b.status = 'pending' then r.currency else b.currency end`,
          payment_status: sql<
            PaymentStatus
          >`case when b.status = 'pending' then ${paymentStatusOf(price)} else b.payment_status end`,
          updated_at: now,
        })
        .returningAll("b")),
  );
}

/** Confirms a pending booking; its price counts as paid. Undefined when it is not pending. */
export function confirmBooking(
  db: Kysely<Database>,
  { id, now }: { id: number; now: Date },
): Promise<BookingRow | undefined> {
  return changed(
    db.with("b", (cte) =>
      cte.updateTable("bookings as b")
        .where("b.id", "=", id)
        .where("b.status", "=", "pending")
        .set({
          status: "confirmed",
          amount_paid: sql<string>`b.price`,
          payment_status: sql<PaymentStatus>`case when b.price = 0 then 'not_required' else 'paid' end::payment_status`,
          updated_at: now,
        })
        .returningAll("b")),
  );
}

/** Closes a confirmed booking whose timeslot has started. Undefined when it is another. */
export function closeBooking(
  db: Kysely<Database>,
  { id, status, now }: { id: number; status: "completed" | "no_show"; now: Date },
): Promise<BookingRow | undefined> {
  return changed(
    db.with("b", (cte) =>
      cte.updateTable("bookings as b").from("timeslots as t")
        .whereRef("t.id", "=", "b.timeslot_id")
        .where("b.id", "=", id)
        .where("b.status", "=", "confirmed")
        .where("t.starts_at", "<=", now)
        .set({ status, updated_at: now })
        .returningAll("b")),
  );
}

/** The booking that a `with b as (…)` has made or changed, as it is answered. */
function changed(update: Pick<Kysely<DB & { b: Bookings }>, "selectFrom">): Promise<BookingRow | undefined> {
  return selectColumns(
    update.selectFrom("b").innerJoin("rooms as r", "r.id", "b.room_id").innerJoin(
      "timeslots as t",
      "t.id",
      "b.timeslot_id",
    ),
  ).executeTakeFirst();
}
