/** Statements that cancel a booking or quote its refund. See `writes.ts` for their form. */
import { type Compilable, type Kysely, type RawBuilder, type Selectable, sql } from "kysely";
import type { Bookings } from "../../generated/database.d.ts";
import type { NewKey } from "../contract/handlers.ts";
import type { Database } from "../database/connect.ts";
import { instant } from "../database/instants.ts";
import { prepared } from "../database/prepared.ts";
import { limitsLockWait } from "../database/time_limits.ts";
import { bookingEvent } from "../events/record.ts";
import { keyIsNew } from "../idempotency/queries.ts";
import { roundMoney } from "../money.ts";
import { newRefund, paidStatus, unlessRefunding } from "../payments/checkout_writes.ts";
import { placeColumns, returningResult, timeslotFreedEvent } from "./changes.ts";
import { type BookingRow, bookingsWithRelations, selectColumns } from "./queries.ts";
import { currentPercent, currentTier, nextChange } from "./refund_tiers.ts";

/** The role of the canceller decides whether it is allowed and how much is refunded. */
export type Cancellation = { by: "user"; userId: number } | { by: "admin" };

/** A cancelled booking, and the amount that this cancellation refunds. */
export type CancelledRow = BookingRow & { refund: number };

/**
 * Cancels a booking and writes its refund. Returns undefined when it may not be cancelled. A user may cancel their own
 * booking before its start, refunded by its tiers. An admin may cancel any live booking, refunded in full. A job
 * refunds an online payment. The operator refunds any other payment, so that one counts as refunded.
 */
export async function markCancelled(
  db: Kysely<Database>,
  { id, cancellation, now }: { id: number; cancellation: Cancellation; now: Date },
): Promise<CancelledRow | undefined> {
  const rows = cancellation.by === "admin"
    ? await adminStatement(db, { id, now })
    : await userStatement(db, { id, now, userId: cancellation.userId });
  return rows[0]?.result;
}

interface ByUser {
  id: number;
  userId: number;
  now: Date;
}

/** Like {@link markCancelled} by the user. It also stores the key, and does nothing if the key is known. */
export async function markKeyedCancelled(
  db: Kysely<Database>,
  cancellation: ByUser & NewKey,
): Promise<CancelledRow | undefined> {
  return (await keyedStatement(db, cancellation))[0]?.result;
}

const adminStatement = prepared((db, { id, now }: { id: number; now: Date }) =>
  cancel(db, { id, now, cancellation: { by: "admin" } })
);
const userStatement = prepared((db, { id, now, userId }: ByUser) =>
  cancel(db, { id, now, cancellation: { by: "user", userId } })
);
const keyedStatement = prepared((db, values: ByUser & NewKey) =>
  cancel(db, { id: values.id, now: values.now, cancellation: { by: "user", userId: values.userId }, key: values })
);

function cancel(
  db: Kysely<Database>,
  { id, cancellation, now, key }: { id: number; cancellation: Cancellation; now: Date; key?: NewKey },
): Compilable<{ result: CancelledRow }> {
  const owed = cancellation.by === "admin" ? sql<string>`b.amount_paid` : tierRefund(now);
  const reason = cancellation.by === "admin" ? "admin_request" : "user_request";
  const refund = sql<string>`(
    case when b.payment_id is null then b.refund_amount else b.refund_amount - b.amount_refunded end)`;
  const changes = db.with("place", (cte) => {
    const live = cte.selectFrom("bookings as b").innerJoin("timeslots as t", "t.id", "b.timeslot_id")
      .innerJoin("rooms as r", "r.id", "t.room_id")
      .select(["b.id", "r.is_active"])
      .select(placeColumns)
      .where("b.id", "=", id)
      .where("b.status", "in", ["pending", "confirmed"])
      .where(keyIsNew(key))
      .where(limitsLockWait)
      .forNoKeyUpdate(["b", "t"]);
    return cancellation.by === "admin"
      ? live
      : live.where("b.user_id", "=", cancellation.userId).where("t.starts_at", ">", instant(now));
  })
    // Reads the updated row `b` only. After a wait for another change, Postgres first checks the constraints on the
    // previous version. There all values must belong to the same version.
    // The operator may have refunded some of it manually at the provider. `offset 0` computes the refund once, not five
    // times.
    .with("b", () =>
      sql<Selectable<Bookings>>`(
        update bookings b set
          status = 'cancelled',
          cancelled_at = ${now},
          cancellation_reason = ${sql.lit(reason)},
          hold_expires_at = null,
          (refund_amount, amount_refunded, payment_status) = (
            select refunded,
              case when b.payment_id is null then refunded else b.amount_refunded end,
              case
                when refunded = b.amount_refunded then b.payment_status
                when b.payment_id is not null then 'refund_pending'
                else ${unlessRefunding(paidStatus(sql`b.amount_paid`, sql`refunded`))} end
            from (select greatest(${owed}, b.amount_refunded) as refunded offset 0) decided
          ),
          updated_at = ${now}
        from place t where b.id = t.id
        returning b.*
      )`)
    .with("refund", () =>
      newRefund(
        sql`select b.payment_id, b.id as booking_id, ${refund} as amount, b.refund_amount as target
          from b where b.payment_id is not null`,
        now,
      ));
  const events = [
    bookingEvent("cancelled", "booking", now),
    sql`${bookingEvent("refunded", "booking", now)}, b where ${refund} > 0 and b.payment_id is null`,
    timeslotFreedEvent(
      sql`select booking.timeslot_id, booking.room_id, booking.starts_at, booking.ends_at, place.is_active
        from booking, place`,
      now,
    ),
  ];
  const columns = [sql<number>`(select ${refund} from b)`.as("refund")];
  return returningResult<{ refund: number }>(changes, events, { columns, key });
}

/** Paid amount x percentage of the tier, rounded half up; no tier means 0. */
function tierRefund(now: Date): RawBuilder<string> {
  return roundMoney(sql`b.amount_paid * ${currentPercent(sql`t.starts_at`, now)} / 100`, sql`b.currency`);
}

/** A booking, and the refund of a cancellation by its user. */
export type RefundQuote = BookingRow & {
  refund: string;
  /** Hours of the current tier; null when no tier applies. */
  hours: string | null;
  /** Percentage of the current tier; null when no tier applies. */
  percent: string | null;
  /** Hours before the start at which the refund changes, and the percentage after it. Null when it does not change. */
  nextHours: string | null;
  nextPercent: string | null;
};

/** Quotes the refund of a cancellation by the user now, as {@link markCancelled} would compute it. */
export async function findRefundQuote(
  db: Kysely<Database>,
  values: { id: number; now: Date },
): Promise<RefundQuote | undefined> {
  return (await refundQuoteStatement(db, values))[0];
}

const refundQuoteStatement = prepared((db, { id, now }: { id: number; now: Date }) => {
  const startsAt = sql`t.starts_at`;
  const tier = sql<{ hours: string | null; percent: string | null }>`${currentTier(startsAt, now)}`.as<"tier">(
    sql`tier`,
  );
  const next = sql<{ hours: string | null; percent: string | null }>`${nextChange}`.as<"next">(sql`next`);
  return selectColumns(bookingsWithRelations(db))
    .leftJoinLateral(tier, (join) => join.onTrue())
    .leftJoinLateral(next, (join) => join.onTrue())
    .select(["tier.hours", "tier.percent", "next.hours as nextHours", "next.percent as nextPercent"])
    .select(sql<string>`greatest(${tierRefund(now)} - b.amount_refunded, 0)`.as("refund"))
    .where("b.id", "=", id);
});
