/** Lists of bookings, of a user or of all. */
import { type Expression, type ExpressionBuilder, type Kysely, type RawBuilder, sql, type SqlBool } from "kysely";
import type { BookingStatus } from "../../generated/contract.ts";
import type { Bookings, DB } from "../../generated/database.d.ts";
import type { Database } from "../database/connect.ts";
import { follows, type FoundPage, type PageRange, preparedPage } from "../database/paging.ts";
import { toPostgres } from "../time/calendar.ts";
import { endsByOperator, type InstantByZone, isWithin, type Range } from "../time/ranges.ts";
import { type BookingRow, bookingsWithRelations, selectColumns } from "./queries.ts";

/** The bookings to list. Undefined filters nothing. */
export interface BookingFilter extends PageRange {
  status?: BookingStatus | undefined;
  userId?: number | undefined;
  roomId?: number | undefined;
  /** Range of the booking's creation. */
  createdRange?: Range;
  /** Range of the timeslot's start. */
  startRange: Range<Temporal.Instant | InstantByZone>;
  /** The time to sort by. */
  sort: "created" | "start";
  /** Undefined means the latest creation first, or the earliest start. */
  order?: "asc" | "desc" | undefined;
}

/** One page of bookings, and the number on all pages. */
export function listBookings(
  db: Kysely<Database>,
  { createdRange = { from: undefined, to: undefined }, startRange, sort, order, ...filter }: BookingFilter,
): Promise<FoundPage<BookingRow>> {
  const created = endsByOperator(createdRange, toPostgres);
  const start = endsByOperator(startRange, (at) => at instanceof Temporal.Instant ? toPostgres(at) : undefined);
  const byZone = endsByOperator(startRange, (at) => at instanceof Temporal.Instant ? undefined : at);
  const isEarliestFirst = (order ?? (sort === "start" ? "asc" : "desc")) === "asc";
  return listStatement(db, {
    ...filter,
    createdFrom: created.from,
    createdBefore: created.before,
    createdUntil: created.until,
    startFrom: start.from,
    startBefore: start.before,
    startUntil: start.until,
    startFromByZone: byZone.from,
    startBeforeByZone: byZone.before,
    startUntilByZone: byZone.until,
    // The index finds the starts that are in the range in any time zone.
    earliest: byZone.from && sortedTimes(byZone.from).at(0),
    latest: sortedTimes({ ...byZone.before, ...byZone.until }).at(-1),
    byStart: sort === "start" ? true : undefined,
    isEarliestFirst: isEarliestFirst ? true : undefined,
  });
}

/** The instants in their order. */
function sortedTimes(byZone: InstantByZone): string[] {
  return Object.values(byZone).sort((a, b) => Date.parse(a) - Date.parse(b));
}

/** The form of the statement depends on which values are undefined. */
interface ListValues extends PageRange {
  status?: BookingStatus | undefined;
  userId?: number | undefined;
  roomId?: number | undefined;
  createdFrom: string | undefined;
  createdBefore: string | undefined;
  createdUntil: string | undefined;
  startFrom: string | undefined;
  startBefore: string | undefined;
  startUntil: string | undefined;
  startFromByZone: InstantByZone | undefined;
  startBeforeByZone: InstantByZone | undefined;
  startUntilByZone: InstantByZone | undefined;
  earliest: string | undefined;
  latest: string | undefined;
  byStart: true | undefined;
  isEarliestFirst: true | undefined;
}

const listStatement = preparedPage((db, values: ListValues) => {
  const { limit, offset, byStart, isEarliestFirst } = values;
  const direction = isEarliestFirst === undefined ? "desc" : "asc";
  const starts = startConditions(values);
  // The booking is in this room too. This condition lets an index find the room's timeslots in their order.
  const ofRoom = values.roomId === undefined ? [] : [sql<SqlBool>`t.room_id = ${values.roomId}`];
  const matches = (eb: ExpressionBuilder<DB & { b: Bookings }, "b">) => {
    const conditions: Expression<SqlBool>[] = ownConditions(values);
    if (starts.length > 0) {
      const slot = eb.selectFrom("timeslots as t").innerJoin("rooms as r", "r.id", "t.room_id").select(sql`1`.as("one"))
        .whereRef("t.id", "=", "b.timeslot_id").where((inner) => inner.and([...ofRoom, ...starts]));
      conditions.push(eb.exists(slot));
    }
    return eb.and(conditions);
  };
  const page = selectColumns(bookingsWithRelations(db));
  const time = byStart === undefined ? sql`b.created_at` : sql`t.starts_at`;
  const following = follows(values, { value: time, id: sql`b.id`, direction });
  const matching = byStart === undefined
    ? page.where(matches)
    : page.where((eb) => eb.and([...ownConditions(values), ...ofRoom, ...starts]));
  const byTime = matching.where((eb) => eb.and(following)).orderBy(time, direction);
  return {
    page: byTime.orderBy("b.id", direction).limit(limit).offset(offset),
    order: sql.raw(`${byStart === undefined ? "created_at" : "starts_at"} ${direction}, id ${direction}`),
    count: db.selectFrom("bookings as b").where(matches).select((eb) => eb.fn.countAll<number>().as("total")),
  };
});

/** Conditions of a booking `b` alone. */
function ownConditions(
  { status, userId, roomId, createdFrom: from, createdBefore: before, createdUntil: until }: ListValues,
): RawBuilder<SqlBool>[] {
  const conditions = isWithin(sql`b.created_at`, { from, before, until });
  if (status !== undefined) conditions.push(sql<SqlBool>`b.status = ${status}`);
  if (userId !== undefined) conditions.push(sql<SqlBool>`b.user_id = ${userId}`);
  if (roomId !== undefined) conditions.push(sql<SqlBool>`b.room_id = ${roomId}`);
  return conditions;
}

/** Conditions of a timeslot `t` and its room `r`. */
function startConditions(values: ListValues): RawBuilder<SqlBool>[] {
  const start = sql`t.starts_at`;
  const { startFrom: from, startBefore: before, startUntil: until, earliest, latest } = values;
  const { startFromByZone, startBeforeByZone, startUntilByZone } = values;
  const byZone = { from: startFromByZone, before: startBeforeByZone, until: startUntilByZone };
  return [
    ...isWithin(start, { from, before, until }),
    ...isWithin(start, { from: earliest, before: undefined, until: latest }),
    ...isWithin(start, byZone, (at) => sql`(${at}::jsonb ->> r.time_zone)::timestamptz`),
  ];
}
