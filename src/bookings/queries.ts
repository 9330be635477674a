/** Queries for bookings. Statements that change them are in `writes.ts`. */
import {
  type Expression,
  type ExpressionBuilder,
  type Kysely,
  type RawBuilder,
  type Selection,
  type SelectQueryBuilder,
  sql,
  type SqlBool,
} from "kysely";
import type { BookingStatus } from "../../generated/contract.ts";
import type { Bookings, DB, Rooms, Timeslots } from "../../generated/database.d.ts";
import type { Database } from "../database/connect.ts";
import { totalFromPage } from "../database/paging.ts";
import { roundMoney } from "../money.ts";
import type { Bound } from "../time/calendar.ts";
import { endsOf, type InstantByZone, instantSql, type Range } from "../time/ranges.ts";

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

export type BookingRow = Awaited<ReturnType<Selected["executeTakeFirstOrThrow"]>>;

/** Reads a booking of an event: a `BookingRow` as JSON, in which times are texts. Old events lack newer columns. */
export function bookingRowFromJson(json: Record<string, unknown>): BookingRow {
  const times = ["hold_expires_at", "cancelled_at", "created_at", "updated_at", "starts_at", "ends_at"].map((name) => {
    const time = json[name];
    return [name, typeof time === "string" ? new Date(time) : null];
  });
  // The event was written from a row. The rendered event is checked against the contract.
  return { refund_amount: 0, ...json, ...Object.fromEntries(times) } as unknown as BookingRow;
}

/** Bookings `b` with their rooms `r` and timeslots `t`. */
export function bookingsWithRelations(db: Kysely<Database>): WithRelations {
  return db.selectFrom("bookings as b")
    .innerJoin("rooms as r", "r.id", "b.room_id")
    .innerJoin("timeslots as t", "t.id", "b.timeslot_id");
}

export function findBooking(db: Kysely<Database>, id: number): Promise<BookingRow | undefined> {
  return selectColumns(bookingsWithRelations(db)).where("b.id", "=", id).executeTakeFirst();
}

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
    .where("b.user_id", "=", userId).where("b.status", "=", sql.lit("pending")).where("t.starts_at", ">", now)
    .select((eb) => eb.fn.countAll<number>().as("count"));
}

export async function countPending(db: Kysely<Database>, filter: PendingFilter): Promise<number> {
  return (await pendingCount(db, filter).executeTakeFirstOrThrow()).count;
}

/** Ids of bookings whose hold has expired by `now`, the longest expired first. */
export async function listExpiredHolds(
  db: Kysely<Database>,
  { now, limit }: { now: Date; limit: number },
): Promise<number[]> {
  const rows = await db.selectFrom("bookings").select("id").where("hold_expires_at", "<=", now)
    .orderBy("hold_expires_at").limit(limit).execute();
  return rows.map(({ id }) => id);
}

/** The time zones of all rooms. */
export async function listTimeZones(db: Kysely<Database>): Promise<string[]> {
  const rows = await db.selectFrom("rooms").select("time_zone").distinct().execute();
  return rows.map((row) => row.time_zone);
}

export interface BookingFilter {
  status: BookingStatus | undefined;
  userId: number | undefined;
  roomId: number | undefined;
  /** Range of the timeslot's start. */
  startRange: Range<Temporal.Instant | InstantByZone>;
  /** Range of the booking's creation. */
  createdRange: Range;
  limit: number;
  offset: number;
}

/** One page of bookings, newest first, and the number on all pages. */
export async function listBookings(
  db: Kysely<Database>,
  filter: BookingFilter,
): Promise<{ rows: BookingRow[]; total: number }> {
  const { limit, offset } = filter;
  const rows = await selectColumns(bookingsWithRelations(db)).where((eb) => matches(eb, filter))
    .orderBy("b.created_at", "desc").orderBy("b.id", "desc").limit(limit).offset(offset).execute();
  const total = totalFromPage(rows.length, { limit, offset }) ??
    (await db.selectFrom("bookings as b").where((eb) => matches(eb, filter))
      .select((eb) => eb.fn.countAll<number>().as("total")).executeTakeFirstOrThrow()).total;
  return { rows, total };
}

function matches(eb: ExpressionBuilder<DB & { b: Bookings }, "b">, filter: BookingFilter): Expression<SqlBool> {
  const { status, userId, roomId, startRange, createdRange } = filter;
  const conditions = endsOf(createdRange).map((bound) => eb("b.created_at", bound.operator, instantSql(bound.at)));
  if (status !== undefined) conditions.push(eb("b.status", "=", status));
  if (userId !== undefined) conditions.push(eb("b.user_id", "=", userId));
  if (roomId !== undefined) conditions.push(eb("b.room_id", "=", roomId));
  const starts = endsOf(startRange);
  if (starts.length === 0) return eb.and(conditions);
  const slot = eb.selectFrom("timeslots as t").innerJoin("rooms as r", "r.id", "t.room_id").select(sql`1`.as("one"))
    .whereRef("t.id", "=", "b.timeslot_id")
    .where((inner) => inner.and(starts.map(startsWithin)));
  return eb.and([...conditions, eb.exists(slot)]);
}

function startsWithin({ operator, at }: Bound<Temporal.Instant | InstantByZone>): Expression<SqlBool> {
  const compared = sql.raw(operator);
  return at instanceof Temporal.Instant
    ? sql<SqlBool>`t.starts_at ${compared} ${instantSql(at)}`
    : sql<SqlBool>`t.starts_at ${compared} (${at}::jsonb ->> r.time_zone)::timestamptz`;
}

/** hourlyRate x length, rounded half up; no rate means 0. `slot` and `room` are aliases in the query. */
export function priceOf(slot: "t" | "n" | "a", room: "r" | "o" = "r"): RawBuilder<string> {
  const length = sql`extract(epoch from ${sql.ref(`${slot}.ends_at`)} - ${sql.ref(`${slot}.starts_at`)})`;
  const rate = sql.ref(`${room}.hourly_rate`);
  return roundMoney(sql`coalesce(${rate}, 0) * ${length} / 3600`, sql`${sql.ref(`${room}.currency`)}`);
}
