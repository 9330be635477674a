/** Statements of sweeps over bookings. See `writes.ts` for their form. */
import { type Kysely, sql } from "kysely";
import type { CancellationReason } from "../../generated/database.d.ts";
import type { Database } from "../database/connect.ts";
import { instant } from "../database/instants.ts";
import { bookingEvent } from "../events/record.ts";
import { timeslotFreedEvent, withEvents } from "./changes.ts";

/**
 * Writes reminders of confirmed bookings that start after `now` and until `until`: one per booking, at most `limit`.
 * Returns their number. Skips bookings that another server has locked.
 */
export async function insertReminders(
  db: Kysely<Database>,
  { now, until, limit }: { now: Date; until: Date; limit: number },
): Promise<number> {
  const changes = db.with(
    "locked",
    (cte) =>
      cte.selectFrom("timeslots as t").innerJoin("bookings as b", "b.timeslot_id", "t.id").select("b.id")
        .where("t.starts_at", ">", instant(now))
        .where("t.starts_at", "<=", instant(until))
        .where("b.status", "=", "confirmed")
        .where("b.reminded_at", "is", null)
        .orderBy("t.starts_at")
        .limit(limit)
        .forNoKeyUpdate("b")
        .skipLocked(),
  )
    .with("b", (cte) =>
      cte.updateTable("bookings as b").from("locked")
        .whereRef("b.id", "=", "locked.id")
        .set({ reminded_at: now })
        .returningAll("b"));
  const { count } = await withEvents(changes, [bookingEvent("reminder", "booking", now)])
    .selectFrom("booking").select((eb) => eb.fn.countAll<number>().as("count")).executeTakeFirstOrThrow();
  return count;
}

/**
 * Cancels the bookings of `ids` that are pending after their hold or their start, and frees their timeslots. Returns
 * their number. Skips bookings that another server has locked.
 */
export async function markExpired(
  db: Kysely<Database>,
  { ids, now }: { ids: number[]; now: Date },
): Promise<number> {
  const changes = db.with(
    "locked",
    (cte) =>
      cte.selectFrom("bookings as b").innerJoin("timeslots as t", "t.id", "b.timeslot_id").select("b.id")
        .where(sql<boolean>`b.id = any(${`{${ids.join(",")}}`}::text::bigint[])`)
        .where("b.status", "=", "pending")
        .where((eb) => eb.or([eb("b.hold_expires_at", "<=", instant(now)), eb("t.starts_at", "<=", instant(now))]))
        .forNoKeyUpdate()
        .skipLocked(),
  )
    .with("b", (cte) =>
      cte.updateTable("bookings as b").from("locked")
        .whereRef("b.id", "=", "locked.id")
        .set({
          status: "cancelled",
          cancelled_at: now,
          cancellation_reason: sql<CancellationReason>`case
            when b.hold_expires_at is null then 'not_confirmed' else 'hold_expired' end::cancellation_reason`,
          hold_expires_at: null,
          updated_at: now,
        })
        .returningAll("b"));
  const { count } = await withEvents(changes, [
    bookingEvent("cancelled", "booking", now),
    timeslotFreedEvent(
      sql`select booking.timeslot_id, booking.room_id, booking.starts_at, booking.ends_at, r.is_active
        from booking join rooms r on r.id = booking.room_id`,
      now,
    ),
  ]).selectFrom("booking").select((eb) => eb.fn.countAll<number>().as("count")).executeTakeFirstOrThrow();
  return count;
}
