/**
 * A second implementation of wall-clock time, to check timeslot generation against. It shares no code and no method with
 * `src/`. It reads zones from `Intl.DateTimeFormat`, finds instants by trying offsets, and walks a day timeslot by timeslot.
 *
 * Instants are epoch milliseconds, days are `YYYY-MM-DD`, times are `HH:MM`.
 */

const minuteMs = 60_000;
const dayMs = 1_440 * minuteMs;
const weekMs = 7 * dayMs;

export interface HoursOfDay {
  start: string;
  end: string;
}

/** The body of generateTimeslots with all defaults filled in, and the room's zone. */
export interface WantedTimeslots {
  timeZone: string;
  startDate: string;
  endDate: string;
  slotDuration: number;
  workingHours: HoursOfDay;
  breaks: HoursOfDay[];
  daysOfWeek: number[];
  excludedDates: string[];
}

/** A working day: instants of opening, closing, breaks and starts of timeslots. */
export interface WorkingDay {
  day: string;
  opening: number;
  closing: number;
  breaks: { from: number; to: number }[];
  starts: number[];
}

interface Zone {
  format: Intl.DateTimeFormat;
  /** Offsets at the starts of weeks, by the number of the week since 1970. */
  weeks: Map<number, number>;
}

const zones = new Map<string, Zone>();

/** Reads the offset at an instant from `Intl`. */
function readOffset({ format }: Zone, instant: number): number {
  const [, sign, hours = "0", minutes = "0"] = /GMT(?:([+-])(\d\d):(\d\d))?/.exec(format.format(instant)) ?? [];
  return (sign === "-" ? -1 : 1) * (Number(hours) * 60 + Number(minutes)) * minuteMs;
}

function offsetOfWeek(zone: Zone, week: number): number {
  const cached = zone.weeks.get(week);
  if (cached !== undefined) return cached;
  const offset = readOffset(zone, week * weekMs);
  zone.weeks.set(week, offset);
  return offset;
}

/**
 * The offset of `timeZone` from UTC at an instant, in milliseconds. No zone changes its clocks twice in a week. So a week
 * with the same offset at both ends has no change, and `Intl` is slow.
 */
function offsetAt(timeZone: string, instant: number): number {
  let zone = zones.get(timeZone);
  if (zone === undefined) {
    const format = new Intl.DateTimeFormat("en-US", { timeZone, timeZoneName: "longOffset" });
    zone = { format, weeks: new Map() };
    zones.set(timeZone, zone);
  }
  const week = Math.floor(instant / weekMs);
  const offset = offsetOfWeek(zone, week);
  return offsetOfWeek(zone, week + 1) === offset ? offset : readOffset(zone, instant);
}

/** The local time of `timeZone` at an instant: `YYYY-MM-DDTHH:MM`. */
export function wallClockAt(timeZone: string, instant: number): string {
  return new Date(instant + offsetAt(timeZone, instant)).toISOString().slice(0, 16);
}

/** The days from `first` to `last`, both included. */
export function daysBetween(first: string, last: string): string[] {
  const days: string[] = [];
  for (let day = Date.parse(first); day <= Date.parse(last); day += dayMs) {
    days.push(new Date(day).toISOString().slice(0, 10));
  }
  return days;
}

/**
 * The first instant at which the local time of `timeZone` is `minutes` past the midnight of `day`. A local time skipped by a
 * clock change counts with the offset before the change.
 */
export function instantOfWallClock(timeZone: string, day: string, minutes = 0): number {
  const wall = Date.parse(day) + minutes * minuteMs;
  const [before, after] = [offsetAt(timeZone, wall - dayMs), offsetAt(timeZone, wall + dayMs)];
  const instants = [wall - before, wall - after].filter((instant) => instant + offsetAt(timeZone, instant) === wall);
  return instants.length > 0 ? Math.min(...instants) : wall - before;
}

function minutesPastMidnight(time: string): number {
  const [hours = 0, minutes = 0] = time.split(":").map(Number);
  return hours * 60 + minutes;
}

/** Opening hours or a break of `day`, as instants. */
function hoursOn(timeZone: string, day: string, { start, end }: HoursOfDay): { from: number; to: number } {
  const nextDay = end <= start ? 1_440 : 0;
  return {
    from: instantOfWallClock(timeZone, day, minutesPastMidnight(start)),
    to: instantOfWallClock(timeZone, day, minutesPastMidnight(end) + nextDay),
  };
}

/** The working days of a request. A break of the evening before may reach into a day. */
export function workingDays(wanted: WantedTimeslots): WorkingDay[] {
  const { timeZone, workingHours, daysOfWeek, excludedDates } = wanted;
  const length = wanted.slotDuration * minuteMs;
  return daysBetween(wanted.startDate, wanted.endDate)
    .filter((day) => daysOfWeek.includes(new Date(day).getUTCDay() || 7) && !excludedDates.includes(day))
    .map((day) => {
      const { from: opening, to: closing } = hoursOn(timeZone, day, workingHours);
      const neighbours = [-dayMs, 0, dayMs].map((ms) => new Date(Date.parse(day) + ms).toISOString().slice(0, 10));
      const breaks = wanted.breaks
        .flatMap((each) => neighbours.map((neighbour) => hoursOn(timeZone, neighbour, each)))
        .filter(({ from, to }) => from < to);
      const starts: number[] = [];
      for (let start = opening; start + length <= closing;) {
        const conflict = breaks.find(({ from, to }) => from < start + length && start < to);
        if (conflict === undefined) starts.push(start);
        start = conflict === undefined ? start + length : conflict.to;
      }
      return { day, opening, closing, breaks, starts };
    });
}

/** The starts of all timeslots of a request, day by day. */
export function expectedStarts(wanted: WantedTimeslots): number[] {
  return workingDays(wanted).flatMap(({ starts }) => starts);
}

/** The number of timeslots of a day on which the clocks do not change. */
export function usualCount(wanted: WantedTimeslots): number {
  const day = "2026-06-01";
  const alone = { startDate: day, endDate: day, daysOfWeek: [1], excludedDates: [] };
  return expectedStarts({ ...wanted, ...alone, timeZone: "UTC" }).length;
}

/** The number of timeslots that are missing because the clocks change, without those within the skipped time. */
export function leftOutCount(wanted: WantedTimeslots): number {
  const usual = usualCount(wanted);
  return workingDays(wanted).reduce((sum, { day, starts }) => {
    const midnights = [0, 1, 2].map((days) => instantOfWallClock(wanted.timeZone, day, days * 1_440));
    const [first = 0, second = 0, third = 0] = midnights;
    const skippedMs = Math.max(0, dayMs - (second - first), dayMs - (third - second));
    const within = Math.floor(skippedMs / (wanted.slotDuration * minuteMs));
    return sum + Math.max(0, usual - starts.length - within);
  }, 0);
}

/** Removes timeslots that overlap an earlier one of the list, as the server does. */
export function withoutOverlaps(starts: number[], slotDuration: number): number[] {
  const kept: number[] = [];
  for (const start of starts) {
    if (kept.every((other) => Math.abs(other - start) >= slotDuration * minuteMs)) kept.push(start);
  }
  return kept.sort((a, b) => a - b);
}
