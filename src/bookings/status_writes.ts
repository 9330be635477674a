/** Statements that set the status of a booking for an admin. See `writes.ts` for their form. */
import { type Kysely, sql } from "kysely";
import type { Database } from "../database/connect.ts";
import { instant } from "../database/instants.ts";
import { prepared } from "../database/prepared.ts";
import { bookingEvent } from "../events/record.ts";
import { unlessRefunding } from "../payments/checkout_writes.ts";
import { returningBooking } from "./changes.ts";
import type { BookingRow } from "./queries.ts";

/**
 * Confirms a pending booking before its start; its price counts as paid. Undefined when that is not allowed. The sweep
 * ends a pending booking at its start, and may be a moment late.
 */
export async function markConfirmed(
  db: Kysely<Database>,
  values: { id: number; now: Date },
): Promise<BookingRow | undefined> {
  return (await confirmStatement(db, values))[0];
}

const confirmStatement = prepared((db, { id, now }: { id: number; now: Date }) => {
  const changes = db.with(
    "locked",
    (cte) =>
      cte.selectFrom("bookings as b").innerJoin("timeslots as t", "t.id", "b.timeslot_id").select("b.id")
        .where("b.id", "=", id)
        .where("b.status", "=", "pending")
        .where("t.starts_at", ">", instant(now))
        .forNoKeyUpdate("b"),
  )
    .with("b", (cte) =>
      cte.updateTable("bookings as b").from("locked")
        .whereRef("b.id", "=", "locked.id")
        .set({
          status: "confirmed",
          amount_paid: sql<string>`b.price`,
          payment_status: unlessRefunding(
            sql`case when b.price = 0 then 'not_required' else 'paid' end::payment_status`,
          ),
          hold_expires_at: null,
          updated_at: now,
        })
        .returningAll("b"));
  return returningBooking(changes, [bookingEvent("confirmed", "booking", now)]);
});

/** A status after the start of a booking. An admin may correct one to another. */
export type ClosedStatus = "completed" | "no_show";

/**
 * Closes a confirmed booking whose timeslot has started, or corrects how it was closed. Undefined for any other booking.
 */
export async function markClosed(
  db: Kysely<Database>,
  { status, ...values }: { id: number; status: ClosedStatus; now: Date },
): Promise<BookingRow | undefined> {
  return (await closeStatements[status](db, values))[0];
}

/** Confirms a closed booking again. Nothing about its payment changes. Undefined for any other booking. */
export async function markReopened(
  db: Kysely<Database>,
  values: { id: number; now: Date },
): Promise<BookingRow | undefined> {
  return (await reopenStatement(db, values))[0];
}

const closeStatements = { completed: correctTo("completed", "no_show"), no_show: correctTo("no_show", "completed") };
const reopenStatement = correctTo("confirmed", "completed", "no_show");

/** Sets the status of a booking that is closed as one of `from`, or that is confirmed and has started. */
function correctTo(status: ClosedStatus | "confirmed", ...from: ClosedStatus[]) {
  return prepared((db, { id, now }: { id: number; now: Date }) => {
    const changes = db.with(
      "locked",
      (cte) =>
        cte.selectFrom("bookings as b").innerJoin("timeslots as t", "t.id", "b.timeslot_id").select("b.id")
          .where("b.id", "=", id)
          .where((eb) => {
            const isClosed = eb("b.status", "in", from);
            if (status === "confirmed") return isClosed;
            return eb.or([isClosed, eb.and([eb("b.status", "=", "confirmed"), eb("t.starts_at", "<=", instant(now))])]);
          })
          .forNoKeyUpdate("b"),
    )
      .with("b", (cte) =>
        cte.updateTable("bookings as b").from("locked")
          .whereRef("b.id", "=", "locked.id")
          .set({ status, updated_at: now })
          .returningAll("b"));
    return returningBooking(changes, [bookingEvent(status, "booking", now)]);
  });
}
