/** The rules of searching all rooms for free timeslots. */
import type { Kysely } from "kysely";
import type { AvailableRoom, RoomType } from "../../generated/contract.ts";
import { instantIn, type Moment, parseMoment } from "../time/calendar.ts";
import type { Clock } from "../time/clock.ts";
import type { Database } from "../database/connect.ts";
import { Problem } from "../contract/problems.ts";
import { toRoom } from "../rooms/rooms.ts";
import { type AvailableRoomRow, findAvailableRooms } from "./available_room_queries.ts";

export interface SearchRules {
  db: Kysely<Database>;
  clock: Clock;
  /** Time zones in which rooms were seen so far. The search adds those that it meets. */
  timeZones: Set<string>;
}

/** Both ends as the caller means them; a wall clock is that of each room. */
export interface SearchRange {
  from: Moment;
  to: Moment;
}

/** Days that may be searched at once. */
const longestDays = 7;
/** The most by which a wall clock is ahead of UTC or behind it. */
const zoneHours = 14;

/** When `to` is over: a day at its end. */
function endIn(zone: string, to: Moment): Temporal.Instant {
  return instantIn(zone, to instanceof Temporal.PlainDate ? to.add({ days: 1 }) : to);
}

/**
 * Reads the range of a search.
 *
 * @throws {Problem} `validation_failed` for what is no date, `invalid_date_range` when it is too long or ends before it
 * starts.
 */
export function parseSearchRange(from: string, to: string): SearchRange {
  const range = {
    from: parseMoment(from, { in: "query", path: "from" }),
    to: parseMoment(to, { in: "query", path: "to" }),
  };
  const hours = instantIn("UTC", range.from).until(endIn("UTC", range.to)).total("hours");
  // An instant and a wall clock may be further apart where a room is than they are in UTC.
  const sameKind = range.from instanceof Temporal.Instant === range.to instanceof Temporal.Instant;
  const shortest = sameKind ? 0 : -zoneHours;
  if (hours < shortest || range.to instanceof Temporal.PlainDate && hours === shortest) {
    throw new Problem("invalid_date_range", "The range ends before it starts.");
  }
  if (hours > longestDays * 24) {
    throw new Problem("invalid_date_range", `Ask for at most ${longestDays} days at once.`);
  }
  return range;
}

/** Both ends where the clocks of `zone` show them, for Postgres. */
function boundsIn(zone: string, { from, to }: SearchRange): { from: string; to: string } {
  try {
    return { from: `${instantIn(zone, from)}`, to: `${endIn(zone, to)}` };
  } catch (failure) {
    if (!(failure instanceof RangeError)) throw failure;
    // A server with newer data made a room in a zone that this one does not know: it cannot say when its days begin.
    return { from: "infinity", to: "-infinity" };
  }
}

export interface AvailableRoomQuery {
  range: SearchRange;
  minimumMinutes: number;
  type: RoomType | null;
  /** People at least. */
  capacity: number;
  limit: number;
  offset: number;
}

/** One page of active rooms that have timeslots which can be booked now, and how many there are on all pages. */
export async function listAvailableRooms(
  { db, clock, timeZones }: SearchRules,
  { range: { from, to }, ...query }: AvailableRoomQuery,
): Promise<{ items: AvailableRoom[]; total: number }> {
  for (;;) {
    // What the wall clocks show is computed here, for all zones that are known: so one statement is enough, except when a
    // room is met in a zone for the first time.
    const zones = Object.fromEntries([...timeZones].map((zone) => [zone, boundsIn(zone, { from, to })]));
    const endsWithin = !(to instanceof Temporal.PlainDate);
    const [found] = await findAvailableRooms(db, { ...query, zones, endsWithin, now: clock.now() });
    if (found === undefined) throw new Error("a search answers one row");
    if (found.unknownZones.length === 0) return { items: found.rooms.map(toAvailableRoom), total: found.total };
    for (const zone of found.unknownZones) timeZones.add(zone);
  }
}

function toAvailableRoom(row: AvailableRoomRow): AvailableRoom {
  const room = toRoom({
    ...row,
    hourly_rate: row.hourly_rate === null ? null : String(row.hourly_rate),
    created_at: new Date(row.created_at),
    updated_at: new Date(row.updated_at),
  });
  const time = (seconds: number | undefined) => new Date(Math.round((seconds ?? NaN) * 1_000)).toISOString();
  const timeslots = row.slot_ids.map((id, index) => ({
    id,
    roomId: row.id,
    startTime: time(row.starts[index]),
    endTime: time(row.ends[index]),
  }));
  return { room, timeslots };
}
