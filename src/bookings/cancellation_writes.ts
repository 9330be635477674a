/** Statements that cancel a booking, or tell what that would give back. See `writes.ts` for how such statements are made. */
import { type Compilable, type Kysely, type RawBuilder, sql } from "kysely";
import type { PaymentStatus } from "../../generated/database.d.ts";
import type { Database } from "../database/connect.ts";
import { prepared } from "../database/prepared.ts";
import { bookingEvent } from "../events/record.ts";
import { roundMoney } from "../money.ts";
import { newRefund, paidStatus, unlessRefunding } from "../payments/checkout_writes.ts";
import { recorded, timeslotFreed } from "./changes.ts";
import type { BookingRow } from "./queries.ts";

/** Whose cancellation it is decides what is allowed and what is refunded. */
export type Cancellation = { by: "user"; userId: number } | { by: "admin" };

/** A booking, and what this cancellation gives back. */
export type CancelledRow = BookingRow & { refund: string };

/**
 * Cancels a booking that may be cancelled and writes what is refunded, or returns undefined. A user's own booking before
 * its start, refunded by its tiers; or, for an admin, any live booking, refunded in full. What was paid online goes back by
 * a job; what was paid elsewhere is the operator's to pay back and counts as refunded.
 */
export async function markCancelled(
  db: Kysely<Database>,
  { id, cancellation, now }: { id: number; cancellation: Cancellation; now: Date },
): Promise<CancelledRow | undefined> {
  const rows = cancellation.by === "admin"
    ? await adminStatement(db, { id, now })
    : await userStatement(db, { id, now, userId: cancellation.userId });
  return rows[0];
}

const adminStatement = prepared((db, values: { id: number; now: Date }) =>
  cancel(db, { id: values.id, now: values.now, cancellation: { by: "admin" } })
);
const userStatement = prepared((db, values: { id: number; now: Date; userId: number }) =>
  cancel(db, { id: values.id, now: values.now, cancellation: { by: "user", userId: values.userId } })
);

function cancel(
  db: Kysely<Database>,
  { id, cancellation, now }: { id: number; cancellation: Cancellation; now: Date },
): Compilable<CancelledRow> {
  // Of `b` alone, which is what is updated: where a change had to be waited for, Postgres tries its constraints on the
  // version of before first, in which all values have to be of one time.
  const owed = cancellation.by === "admin" ? sql<string>`b.amount_paid` : tierRefund(now);
  // The operator may have refunded some of it at the provider by hand.
  const refunded = sql<string>`greatest(${owed}, b.amount_refunded)`;
  const refund = sql<string>`(
    case when b.payment_id is null then b.refund_amount else b.refund_amount - b.amount_refunded end)`;
  const changes = db.with("locked", (cte) => {
    const live = cte.selectFrom("bookings as b").innerJoin("timeslots as t", "t.id", "b.timeslot_id")
      .select(["b.id", "t.starts_at"])
      .where("b.id", "=", id)
      .where("b.status", "in", ["pending", "confirmed"])
      .forNoKeyUpdate();
    return cancellation.by === "admin"
      ? live
      : live.where("b.user_id", "=", cancellation.userId).where("t.starts_at", ">", now);
  })
    .with("b", (cte) =>
      cte.updateTable("bookings as b").from("locked as t")
        .whereRef("b.id", "=", "t.id")
        .set({
          status: "cancelled",
          cancelled_at: now,
          cancellation_reason: cancellation.by === "admin" ? "admin_request" : "user_request",
          hold_expires_at: null,
          refund_amount: refunded,
          amount_refunded: sql<string>`case when b.payment_id is null then ${refunded} else b.amount_refunded end`,
          payment_status: sql<PaymentStatus>`case
            when ${refunded} = b.amount_refunded then b.payment_status
            when b.payment_id is not null then 'refund_pending'
            else ${unlessRefunding(paidStatus(sql`b.amount_paid`, refunded))} end`,
          updated_at: now,
        })
        .returningAll("b"))
    .with("refund", () =>
      newRefund(
        sql`select b.payment_id, b.id as booking_id, ${refund} as amount, b.refund_amount as target
          from b where b.payment_id is not null`,
        now,
      ));
  return recorded(changes, [
    bookingEvent("cancelled", "answer", now),
    sql`${bookingEvent("refunded", "answer", now)}, b where ${refund} > 0 and b.payment_id is null`,
    timeslotFreed(sql`select timeslot_id, room_id, starts_at, ends_at from answer`, now),
  ]).selectFrom("answer").selectAll().select(sql<string>`(select ${refund} from b)`.as("refund"));
}

/**
 * The first tier of a booking `b` in timeslot `t` whose hours still lie ahead, in elapsed hours: a relation with `hours` and
 * `percent`, empty when no tier applies.
 */
const tierNow = (now: Date) =>
  sql`(
    select tier.hours, tier.percent from jsonb_to_recordset(b.cancellation_tiers) as tier(hours numeric, percent numeric)
    where extract(epoch from t.starts_at - ${now}::timestamptz) >= tier.hours * 3600
    order by tier.hours desc limit 1
  )`;

/** Paid amount x percentage of the tier, rounded half up; no tier means 0. */
function tierRefund(now: Date): RawBuilder<string> {
  const percent = sql`coalesce((select tier.percent from ${tierNow(now)} tier), 0)`;
  return roundMoney(sql`b.amount_paid * ${percent} / 100`, sql`b.currency`);
}

export interface RefundQuote {
  refund: string;
  /** Of the tier that applies; null when none does. */
  hours: string | null;
  percent: string | null;
  /** Of the tier that follows; null when none does. */
  nextPercent: string | null;
}

/** What a cancellation by its user would refund now, as {@link markCancelled} would decide it. */
export async function findRefundQuote(
  db: Kysely<Database>,
  { id, now }: { id: number; now: Date },
): Promise<RefundQuote | undefined> {
  const { rows } = await sql<RefundQuote>`
    select greatest(${tierRefund(now)} - b.amount_refunded, 0) as refund, current.hours, current.percent, (
      select next.percent from jsonb_to_recordset(b.cancellation_tiers) as next(hours numeric, percent numeric)
      where next.hours < current.hours order by next.hours desc limit 1
    ) as "nextPercent"
    from bookings b join timeslots t on t.id = b.timeslot_id left join lateral ${tierNow(now)} current on true
    where b.id = ${id}
  `.execute(db);
  return rows[0];
}
