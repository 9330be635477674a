/** Queries for bookings. Statements that change them are in `writes.ts`. */
import { type Kysely, type RawBuilder, type Selection, type SelectQueryBuilder, sql } from "kysely";
import type { Bookings, DB, Rooms, Timeslots } from "../../generated/database.d.ts";
import type { Database } from "../database/connect.ts";
import { instant } from "../database/instants.ts";
import { prepared } from "../database/prepared.ts";
import { roundMoney } from "../money.ts";

type Relations = DB & { b: Bookings; r: Rooms; t: Timeslots };

/** The columns of a booking as the API returns it: its own, and those of its room and timeslot. */
const columns = [
  "b.id",
  "b.user_id",
  "b.room_id",
  "b.timeslot_id",
  "b.status",
  "b.booking_type",
  "b.notes",
  "b.price",
  "b.currency",
  "b.payment_status",
  "b.amount_paid",
  "b.amount_refunded",
  "b.refund_amount",
  "b.hold_expires_at",
  "b.cancellation_tiers",
  "b.max_refund_percent",
  "b.cancellation_reason",
  "b.cancelled_at",
  "b.created_at",
  "b.updated_at",
  "r.name as room_name",
  "r.room_type",
  "r.time_zone",
  "t.starts_at",
  "t.ends_at",
] as const;

type WithRelations = SelectQueryBuilder<Relations, "b" | "r" | "t", object>;

type Selected = SelectQueryBuilder<
  Relations,
  "b" | "r" | "t",
  Selection<Relations, "b" | "r" | "t", typeof columns[number]>
>;

/** {@link columns} of a query over bookings `b`, their rooms `r` and timeslots `t`. */
export function selectColumns(query: WithRelations): Selected {
  return query.select(columns);
}

type SelectedRow = Awaited<ReturnType<Selected["executeTakeFirstOrThrow"]>>;
type Amount = "price" | "amount_paid" | "amount_refunded" | "refund_amount";

/** A row of {@link selectColumns}, or of JSON, in which decimals are numbers. */
export type BookingRow =
  & Omit<SelectedRow, Amount | "max_refund_percent">
  & Record<Amount, string | number>
  & { max_refund_percent: string | number | null };

/** Bookings `b` with their rooms `r` and timeslots `t`. */
export function bookingsWithRelations(db: Kysely<Database>): WithRelations {
  return db.selectFrom("bookings as b")
    .innerJoin("rooms as r", "r.id", "b.room_id")
    .innerJoin("timeslots as t", "t.id", "b.timeslot_id");
}

export async function findBooking(db: Kysely<Database>, id: number): Promise<BookingRow | undefined> {
  return (await findBookingStatement(db, { id }))[0];
}

const findBookingStatement = prepared(
  (db, { id }: { id: number }) => selectColumns(bookingsWithRelations(db)).where("b.id", "=", id),
  { isBrief: true },
);

/** Locks a booking until the transaction ends. */
export async function lockBooking(db: Kysely<Database>, id: number): Promise<void> {
  await db.selectFrom("bookings").select("id").where("id", "=", id).forNoKeyUpdate().execute();
}

interface PendingFilter {
  userId: number;
  now: Date;
}

/** A query for the number of a user's pending bookings of timeslots that have not started. */
// deno-lint-ignore explicit-module-boundary-types -- Kysely's type is longer than the function.
export function pendingCount(db: Kysely<Database>, { userId, now }: PendingFilter) {
  return db.selectFrom("bookings as b").innerJoin("timeslots as t", "t.id", "b.timeslot_id")
    // The condition of `bookings_pending_idx`, which no other index serves.
    .where("b.user_id", "=", userId).where(sql<boolean>`(b.status = 'pending') is true`)
    .where("t.starts_at", ">", instant(now))
    .select((eb) => eb.fn.countAll<number>().as("count"));
}

export async function countPending(db: Kysely<Database>, filter: PendingFilter): Promise<number> {
  return (await countPendingStatement(db, filter))[0]?.count ?? 0;
}

const countPendingStatement = prepared(pendingCount);

/**
 * Ids of pending bookings whose wait is over by `now`: their hold has expired, or their timeslot has started. The first
 * that ended come first.
 */
export async function listEndedWaits(
  db: Kysely<Database>,
  { now, limit }: { now: Date; limit: number },
): Promise<number[]> {
  const expired = db.selectFrom("bookings as b").select(["b.id", "b.hold_expires_at as ended_at"])
    .where("b.hold_expires_at", "<=", instant(now));
  const started = db.selectFrom("bookings as b")
    .innerJoinLateral(
      // Without the limit, Postgres would read all timeslots.
      (eb) => eb.selectFrom("timeslots").select("starts_at").whereRef("id", "=", "b.timeslot_id").limit(1).as("t"),
      (join) => join.onTrue(),
    )
    .select(["b.id", "t.starts_at as ended_at"])
    // The condition of `bookings_pending_idx`. Few bookings are pending, so all of them are read.
    .where(sql<boolean>`(b.status = 'pending') is true`)
    .where("t.starts_at", "<=", instant(now));
  const rows = await db.selectFrom(expired.union(started).as("ended"))
    .select("ended.id").groupBy("ended.id").orderBy((eb) => eb.fn.min("ended.ended_at")).limit(limit).execute();
  return rows.map(({ id }) => id);
}

/** The time zones of all rooms. */
export async function listTimeZones(db: Kysely<Database>): Promise<string[]> {
  const rows = await listTimeZonesStatement(db, {});
  return rows.map((row) => row.time_zone);
}

const listTimeZonesStatement = prepared((db, _: object) => db.selectFrom("rooms").select("time_zone").distinct());

/** hourlyRate x length, rounded half up; no rate means 0. `slot` and `room` are aliases in the query. */
export function priceOf(slot: "t" | "n" | "a", room: "r" | "o" = "r"): RawBuilder<string> {
  const length = sql`extract(epoch from ${sql.ref(`${slot}.ends_at`)} - ${sql.ref(`${slot}.starts_at`)})`;
  const rate = sql.ref(`${room}.hourly_rate`);
  return roundMoney(sql`coalesce(${rate}, 0) * ${length} / 3600`, sql`${sql.ref(`${room}.currency`)}`);
}
