/** The rules of timeslots. */
import type { Kysely } from "kysely";
import type {
  AdminTimeslot,
  FreeTimeslots,
  GenerateTimeslots,
  Timeslot,
  TimeslotsGenerated,
} from "../../generated/contract.ts";
import type { Scope } from "../contract/handlers.ts";
import { invalidFields, Problem } from "../contract/problems.ts";
import type { Database } from "../database/connect.ts";
import { isoOf } from "../database/instants.ts";
import type { FoundPage } from "../database/paging.ts";
import { findKnownRoom, roomNotFound, timeZoneForTimeslots, toRoom } from "../rooms/rooms.ts";
import { type Bound, dayBounds, dayIn, type Moment, parseMoment, shortestLength } from "../time/calendar.ts";
import type { Clock } from "../time/clock.ts";
import { type Range, rangeIn } from "../time/ranges.ts";
import { computeTimeslots } from "./generation.ts";
import {
  type AdminTimeslotRow,
  findRoomWithFreeTimeslots,
  findTimeslots,
  insertTimeslots,
  recordGeneration,
  removeTimeslot,
  type TimeslotFilter,
  type TimeslotRow,
} from "./queries.ts";
import { unpackTimeslots } from "./packed_timeslots.ts";
import type { RoomTimeZones } from "./room_time_zones.ts";

export type { TimeslotRow };

/** Changes run in a transaction, together with their entry in the audit log. */
export interface TimeslotRules extends Scope {
  clock: Clock;
}

export interface FreeTimeslotQuery {
  roomId: number;
  /** Means its day in the room's time zone. */
  moment: Moment;
  minimumMinutes: number;
}

/**
 * The timeslots of a day that can be booked now.
 *
 * @throws {Problem} `room_not_found`.
 */
export async function listFreeTimeslots(
  { db, clock, timeZones }: Pick<TimeslotRules, "db" | "clock"> & { timeZones: RoomTimeZones },
  { roomId, moment, minimumMinutes }: FreeTimeslotQuery,
): Promise<FreeTimeslots> {
  let timeZone = timeZones.get(roomId);
  for (;;) {
    const day = dayIn(timeZone, moment);
    const { date, from, to } = dayBounds(timeZone, day);
    const shortest = shortestLength(timeZone, { minimumMinutes, first: day, last: day });
    const filter = { roomId, from, to, minimumMinutes: shortest, now: clock.now() };
    const room = await findRoomWithFreeTimeslots(db, filter);
    if (room === undefined) throw roomNotFound(roomId);
    if (room.time_zone === timeZone) {
      const timeslots = unpackTimeslots(room.packed_timeslots ?? "", roomId);
      return { room: toRoom(room), date, minimumDuration: minimumMinutes, timeslots };
    }
    timeZone = timeZones.learn(room);
  }
}

/** Timeslots per statement. */
const chunkSize = 10_000;

/**
 * Creates the timeslots of `request`, all or none. See {@link computeTimeslots} for the rules of time. Skips and counts
 * those that overlap an existing one.
 *
 * @throws {Problem} `unknown_room`, `invalid_date_range`, `timeslot_does_not_fit` or `too_many_timeslots`.
 * `validation_failed` for a date that does not exist, or a break of no length.
 */
export async function generateTimeslots(
  { db, clock, announce, audit }: TimeslotRules,
  request: GenerateTimeslots,
): Promise<TimeslotsGenerated> {
  const generated = await addTimeslots(db, request, { now: clock.now() });
  const { count, skipped, dateRange } = generated;
  const after = { ...request, count, skipped, dateRange };
  if (count > 0) await audit({ resource: "timeslots", resourceId: request.roomId, before: null, after });
  announce();
  return generated;
}

/** {@link generateTimeslots} without an audit entry, for the demo. */
export async function addTimeslots(
  db: Kysely<Database>,
  request: GenerateTimeslots,
  { now }: { now: Date },
): Promise<TimeslotsGenerated> {
  const { roomId, slotDuration, workingHours, breaks, daysOfWeek } = request;
  request.breaks.forEach(({ start, end }, index) => {
    if (start !== end) return;
    throw invalidFields([{ in: "body", path: `breaks.${index}.end`, message: "must differ from its start" }]);
  });
  const moment = (path: string, text: string) => parseMoment(text, { in: "body", path });
  const from = moment("startDate", request.startDate);
  const to = moment("endDate", request.endDate);
  const excluded = request.excludedDates.map((text, index) => moment(`excludedDates.${index}`, text));

  const timeZone = await timeZoneForTimeslots(db, roomId);
  const startDate = dayIn(timeZone, from);
  const endDate = dayIn(timeZone, to);
  const { timeslots, leftOut } = computeTimeslots({
    timeZone,
    startDate,
    endDate,
    slotMinutes: slotDuration,
    workingHours: { start: "09:00", end: "17:00", ...workingHours },
    breaks,
    daysOfWeek,
    excludedDates: excluded.map((each) => dayIn(timeZone, each)),
  });
  let count = 0;
  for (let index = 0; index < timeslots.length; index += chunkSize) {
    count += await insertTimeslots(db, { roomId, timeslots: timeslots.slice(index, index + chunkSize) });
  }
  if (count > 0) {
    const from = new Date(timeslots.reduce((earliest, slot) => Math.min(earliest, slot.from), Infinity));
    const to = new Date(timeslots.reduce((latest, slot) => Math.max(latest, slot.to), -Infinity));
    await recordGeneration(db, { roomId, from, to, now });
  }
  const notFitting = leftOut === 0
    ? ""
    : `. ${leftOut} ${leftOut === 1 ? "does" : "do"} not fit on days when the clocks change`;
  return {
    message: `Generated ${count} timeslots${notFitting}`,
    count,
    skipped: timeslots.length - count + leftOut,
    dateRange: { start: startDate.toString(), end: endDate.toString() },
  };
}

/**
 * Deletes a timeslot that was never booked. Withdraws one that has only cancelled bookings: it stays for them.
 *
 * @returns when it was withdrawn; null for a deleted one.
 * @throws {Problem} `timeslot_not_found`, or `timeslot_has_bookings` when it has a live booking.
 */
export async function deleteTimeslot(
  { db, clock, announce, audit }: TimeslotRules,
  id: number,
): Promise<string | null> {
  const removed = await removeTimeslot(db, id, clock.now());
  if (removed === undefined) throw new Problem("timeslot_not_found", `Timeslot not found: there is no timeslot ${id}.`);
  const { isTaken, withdrawnAt } = removed;
  if (isTaken) throw new Problem("timeslot_has_bookings", "Cannot delete timeslot with existing bookings");
  const before = toTimeslot(removed.before);
  const after = withdrawnAt === null ? null : { ...before, withdrawnAt: isoOf(withdrawnAt) };
  await audit({ resource: "timeslot", resourceId: id, before, after });
  announce();
  return withdrawnAt === null ? null : isoOf(withdrawnAt);
}

/**
 * One page of a room's timeslots for an admin.
 *
 * @throws {Problem} `unknown_room` or `invalid_date_range`.
 */
export async function listTimeslots(
  db: Kysely<Database>,
  { range, ...filter }: Omit<TimeslotFilter, "range"> & { range: Range<Bound["at"]> },
): Promise<FoundPage<AdminTimeslotRow>> {
  const { time_zone: timeZone } = await findKnownRoom(db, filter.roomId);
  return await findTimeslots(db, { ...filter, range: rangeIn(timeZone, range) });
}

export function toAdminTimeslot(row: AdminTimeslotRow): AdminTimeslot {
  return {
    ...toTimeslot(row),
    bookingId: row.booking_id,
    withdrawnAt: row.withdrawn_at && isoOf(row.withdrawn_at),
  };
}

export function toTimeslot(row: TimeslotRow): Timeslot {
  return {
    id: row.id,
    roomId: row.room_id,
    startTime: isoOf(row.starts_at),
    endTime: isoOf(row.ends_at),
  };
}
