/**
 * A second opinion on wall-clock time, to hold timeslot generation against. It shares no code and no idea with `src/`:
 * it knows zones only through `Intl.DateTimeFormat`, finds instants by trying offsets, and walks through a day timeslot
 * by timeslot. Instants are milliseconds since 1970, days are `YYYY-MM-DD`, times `HH:MM`.
 */

const minuteMs = 60_000;
const dayMs = 1_440 * minuteMs;

export interface HoursOfDay {
  start: string;
  end: string;
}

/** As in the body of generateTimeslots, with the zone of the room and nothing left to defaults. */
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

/** A working day as instants: from opening to closing, its breaks, and the starts of its timeslots. */
export interface WorkingDay {
  day: string;
  opening: number;
  closing: number;
  breaks: { from: number; to: number }[];
  starts: number[];
}

const formats = new Map<string, Intl.DateTimeFormat>();

/** What the wall clock of `timeZone` is ahead of UTC at an instant, in milliseconds. */
function offsetAt(timeZone: string, instant: number): number {
  let format = formats.get(timeZone);
  if (format === undefined) {
    format = new Intl.DateTimeFormat("en-US", { timeZone, timeZoneName: "longOffset" });
    formats.set(timeZone, format);
  }
  const [, sign, hours = "0", minutes = "0"] = /GMT(?:([+-])(\d\d):(\d\d))?/.exec(format.format(instant)) ?? [];
  return (sign === "-" ? -1 : 1) * (Number(hours) * 60 + Number(minutes)) * minuteMs;
}

/** What the wall clock of `timeZone` shows at an instant, `YYYY-MM-DDTHH:MM`. */
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
 * When the wall clock of `timeZone` is `minutes` past the midnight of `day`: the first time it is, or, when it is never,
 * as much after the jump as the clock would have been without one.
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

/** The working days of a request. Breaks hold every day, so one that began the evening before may reach into a day. */
export function workingDays(wanted: WantedTimeslots): WorkingDay[] {
  const { timeZone, workingHours, daysOfWeek, excludedDates } = wanted;
  const length = wanted.slotDuration * minuteMs;
  return daysBetween(wanted.startDate, wanted.endDate)
    .filter((day) => daysOfWeek.includes(new Date(day).getUTCDay() || 7) && !excludedDates.includes(day))
    .map((day) => {
      const { from: opening, to: closing } = hoursOn(timeZone, day, workingHours);
      const neighbours = [-dayMs, 0, dayMs].map((ms) => new Date(Date.parse(day) + ms).toISOString().slice(0, 10));
      const breaks = wanted.breaks
        .flatMap((pause) => neighbours.map((each) => hoursOn(timeZone, each, pause)))
        .filter(({ from, to }) => from < to);
      const starts: number[] = [];
      for (let start = opening; start + length <= closing;) {
        const pause = breaks.find(({ from, to }) => from < start + length && start < to);
        if (pause === undefined) starts.push(start);
        start = pause === undefined ? start + length : pause.to;
      }
      return { day, opening, closing, breaks, starts };
    });
}

/** The starts of all timeslots that a request asks for, day by day. */
export function expectedStarts(wanted: WantedTimeslots): number[] {
  return workingDays(wanted).flatMap(({ starts }) => starts);
}

/** Without those that overlap an earlier one of the list, as the server skips them. */
export function withoutOverlaps(starts: number[], slotDuration: number): number[] {
  const kept: number[] = [];
  for (const start of starts) {
    if (kept.every((other) => Math.abs(other - start) >= slotDuration * minuteMs)) kept.push(start);
  }
  return kept.sort((a, b) => a - b);
}
