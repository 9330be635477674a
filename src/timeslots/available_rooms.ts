/** The rules of searching all rooms for free timeslots. */
import type { Kysely } from "kysely";
import type { AvailableRoom, RoomType } from "../../generated/contract.ts";
import { Problem } from "../contract/problems.ts";
import type { Database } from "../database/connect.ts";
import { type FoundPage, type PageRange, splitPage } from "../database/paging.ts";
import { toRoom } from "../rooms/rooms.ts";
import { boundIn, dayIn, instantIn, type Moment, parseMoment, shortestLength } from "../time/calendar.ts";
import type { Clock } from "../time/clock.ts";
import { findAvailableRooms, type FoundRoomRow, type ZoneBounds } from "./available_room_queries.ts";
import { unpackTimeslots } from "./packed_timeslots.ts";

export interface SearchRules {
  db: Kysely<Database>;
  clock: Clock;
  /** Time zones of rooms that are known so far. The search adds new ones. */
  timeZones: Set<string>;
}

/** Both ends as the caller sent them. A wall clock is that of each room. */
export interface SearchRange {
  from: Moment;
  to: Moment;
}

/** Longest range of a search, in days. */
const maxDays = 7;
/** Largest offset of a time zone from UTC, in hours. */
const maxOffsetHours = 14;
/** Largest change of the clocks, in hours. */
const maxClockChange = 3;

/** Whether both ends are wall clocks, or both are instants. Other ends are further apart in some zones than in UTC. */
function isOneKind({ from, to }: SearchRange): boolean {
  return from instanceof Temporal.Instant === to instanceof Temporal.Instant;
}

function startIn(zone: string, from: Moment): Temporal.Instant {
  return from instanceof Temporal.PlainDate ? instantIn(zone, from) : boundIn(zone, { operator: ">=", at: from });
}

/** The end of `to`, which for a day is the end of that day. */
function endIn(zone: string, to: Moment): Temporal.Instant {
  if (to instanceof Temporal.PlainDate) return instantIn(zone, to.add({ days: 1 }));
  // The second time if it comes twice. The change itself if the clocks skip it, because a timeslot may end there.
  const [first, last] = [boundIn(zone, { operator: ">=", at: to }), boundIn(zone, { operator: "<=", at: to })];
  return Temporal.Instant.compare(first, last) > 0 ? first : last;
}

/** The time on the wall clock of the caller, without the offset that they wrote. */
function wallTime(text: string, moment: Moment): Temporal.PlainDateTime {
  if (moment instanceof Temporal.Instant) return Temporal.PlainDateTime.from(text.replace(/(Z|[+-]\d{2}:\d{2})$/, ""));
  return wallTimeIn("UTC", moment);
}

function wallTimeIn(zone: string, moment: Moment): Temporal.PlainDateTime {
  if (moment instanceof Temporal.Instant) return moment.toZonedDateTimeISO(zone).toPlainDateTime();
  return moment instanceof Temporal.PlainDate ? moment.toPlainDateTime() : moment;
}

/**
 * Whether the range is longer than {@link maxDays}. Calendar days are longer in a week when the clocks are set back. Then the
 * wall clock counts: that of the caller, or that of `zone` for callers who write instants in UTC.
 */
function isTooLong(range: SearchRange, { from, to, zone }: { from: string; to: string; zone: string }): boolean {
  const excess = instantIn("UTC", range.from).until(endIn("UTC", range.to)).total("hours") - maxDays * 24;
  if (excess <= 0) return false;
  if (excess > (isOneKind(range) ? maxClockChange : maxOffsetHours)) return true;
  const walls = [
    { first: wallTime(from, range.from), last: wallTime(to, range.to) },
    { first: wallTimeIn(zone, range.from), last: wallTimeIn(zone, range.to) },
  ];
  // A day counts to its end.
  const days = range.to instanceof Temporal.PlainDate ? maxDays - 1 : maxDays;
  return walls.every(({ first, last }) => Temporal.PlainDateTime.compare(last, first.add({ days })) > 0);
}

/**
 * Reads the range of a search. `zone` is the default time zone, see {@link isTooLong}.
 *
 * @throws {Problem} `validation_failed` for an invalid date, `invalid_date_range` when it is too long or ends before it
 * starts.
 */
export function parseSearchRange({ from, to, zone }: { from: string; to: string; zone: string }): SearchRange {
  const range = {
    from: parseMoment(from, { in: "query", path: "from" }),
    to: parseMoment(to, { in: "query", path: "to" }),
  };
  const hours = instantIn("UTC", range.from).until(endIn("UTC", range.to)).total("hours");
  const minHours = isOneKind(range) ? 0 : -maxOffsetHours;
  if (hours < minHours || range.to instanceof Temporal.PlainDate && hours === minHours) {
    throw new Problem("invalid_date_range", "The range ends before it starts.");
  }
  if (isTooLong(range, { from, to, zone })) {
    throw new Problem("invalid_date_range", `Ask for at most ${maxDays} days at once.`);
  }
  return range;
}

/** Both ends as texts of instants for Postgres, where wall clocks are those of `zone`. */
function boundsIn(zone: string, { from, to }: SearchRange, minimumMinutes: number): ZoneBounds {
  try {
    const [first, last] = [dayIn(zone, from), dayIn(zone, to)];
    const minutes = shortestLength(zone, { minimumMinutes, first, last });
    return { from: `${startIn(zone, from)}`, to: `${endIn(zone, to)}`, minutes };
  } catch (failure) {
    if (!(failure instanceof RangeError)) throw failure;
    // This server does not know the zone. A server with newer data has created a room in it.
    return { from: "infinity", to: "-infinity", minutes: minimumMinutes };
  }
}

export interface AvailableRoomQuery extends PageRange {
  range: SearchRange;
  minimumMinutes: number;
  type: RoomType | null;
  /** Smallest capacity of a room, in people. */
  capacity: number;
  /** Ids are in the order of creation. */
  order: "name" | "id";
}

/** One page of active rooms with timeslots to book now, and the number of such rooms on all pages. */
export async function listAvailableRooms(
  { db, clock, timeZones }: SearchRules,
  { range: { from, to }, minimumMinutes, order, afterValue, afterId, ...query }: AvailableRoomQuery,
): Promise<FoundPage<FoundRoomRow>> {
  // One more room shows whether rooms follow.
  const place = { byName: order === "name", afterName: afterValue ?? null, afterId: afterId ?? null };
  const search = { ...query, ...place, limit: query.limit + 1 };
  for (;;) {
    // Computes the instants for all known zones, so one statement is enough. Only a new zone needs a second one. See
    // the guide on decisions.
    const zones = Object.fromEntries(
      [...timeZones].map((zone) => [zone, boundsIn(zone, { from, to }, minimumMinutes)]),
    );
    const endsWithin = !(to instanceof Temporal.PlainDate);
    const rows = await findAvailableRooms(db, { ...search, zones, endsWithin, now: clock.now() });
    const [summary] = rows;
    if (summary === undefined) throw new Error("the search returned no row");
    if (summary.unknown_zones.length === 0) {
      return { ...splitPage(rows.filter((row) => row.id !== null), query), total: summary.total };
    }
    for (const zone of summary.unknown_zones) timeZones.add(zone);
  }
}

export function toAvailableRoom(row: FoundRoomRow): AvailableRoom {
  return { room: toRoom(row), timeslots: unpackTimeslots(row.packed_timeslots, row.id) };
}
