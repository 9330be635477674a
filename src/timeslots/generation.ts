/**
 * Computes the timeslots of a generation request. Pure: rules of wall-clock times in, instants out.
 *
 * Wall-clock times become instants by Temporal's rule `compatible` (also RFC 5545, 3.3.5). A time that daylight saving
 * skips moves forward by the gap. A repeated time is the first of the two.
 */
import { Problem } from "../contract/problems.ts";

/** Timeslots per request. */
export const maxTimeslots = 50_000;
/** Days per request: ten years. */
export const maxDays = 3_660;

/** Times are `HH:MM`, an end may be `24:00`. An end at or before its start is on the next day. */
export interface Hours {
  start: string;
  end: string;
}

export interface GenerationRules {
  timeZone: string;
  /** First and last day, both included. */
  startDate: Temporal.PlainDate;
  endDate: Temporal.PlainDate;
  slotMinutes: number;
  workingHours: Hours;
  breaks: Hours[];
  /** 1 is Monday, 7 is Sunday. */
  daysOfWeek: number[];
  excludedDates: Temporal.PlainDate[];
}

const minutesPerDay = 1_440;
/** Largest change of the clocks, in minutes. */
const maxClockChange = 180;

/** In milliseconds since 1970. */
interface Interval {
  from: number;
  to: number;
}

/**
 * The starts of all timeslots, day by day. Each lasts `slotMinutes` of elapsed time. After a change of the clocks,
 * working hours of nearly a day may overlap the next day's. Then the result has timeslots twice.
 *
 * @throws {Problem} `invalid_date_range`, or `too_many_timeslots` as soon as {@link maxTimeslots} is passed.
 */
export function timeslotStarts(rules: GenerationRules): Date[] {
  const { startDate, endDate, slotMinutes, timeZone } = rules;
  const days = startDate.until(endDate).days + 1;
  if (days < 1) throw new Problem("invalid_date_range", "endDate must not be before startDate.");
  if (days > maxDays) {
    throw new Problem("invalid_date_range", `The range has ${days} days. Ask for at most ${maxDays} at once.`);
  }
  const excluded = new Set(rules.excludedDates.map(String));
  const length = slotMinutes * 60_000;
  const starts: Date[] = [];
  for (let day = startDate, left = days; left > 0; day = day.add({ days: 1 }), left--) {
    if (!rules.daysOfWeek.includes(day.dayOfWeek) || excluded.has(day.toString())) continue;
    for (const { from, to } of openIntervals(day, rules)) {
      for (let start = from; start + length <= to; start += length) {
        if (starts.length === maxTimeslots) {
          const detail = `The request asks for more than ${maxTimeslots} timeslots. Split the date range.`;
          throw new Problem("too_many_timeslots", detail);
        }
        starts.push(new Date(start));
      }
    }
  }
  return starts;

  /** The working hours of a day without its breaks. */
  function openIntervals(day: Temporal.PlainDate, { workingHours, breaks }: GenerationRules): Interval[] {
    const midnight = day.toPlainDateTime();
    const at = (minutes: number) => midnight.add({ minutes }).toZonedDateTime(timeZone).epochMilliseconds;
    const opensAt = minutesOf(workingHours.start);
    const closesAt = minutesAfter(opensAt, workingHours.end);
    const [from, to] = [at(opensAt), at(closesAt)];
    // A break may start the evening before, or the morning after if the hours end on the next day. A break that
    // a change of the clocks turns around, or moves out of the hours, closes nothing.
    const closed = breaks.flatMap((pause) => {
      const start = minutesOf(pause.start);
      const end = minutesAfter(start, pause.end);
      return [-minutesPerDay, 0, minutesPerDay].map((shift) => ({ start: start + shift, end: end + shift }));
    }).filter(({ start, end }) => start - maxClockChange < closesAt && end + maxClockChange > opensAt)
      .map(({ start, end }) => ({ from: at(start), to: at(end) }))
      .filter((pause) => pause.from < pause.to && pause.from < to && pause.to > from)
      .sort((a, b) => a.from - b.from);

    const open: Interval[] = [];
    let next = from;
    for (const pause of closed) {
      if (pause.from > next) open.push({ from: next, to: pause.from });
      next = Math.max(next, pause.to);
    }
    open.push({ from: next, to });
    return open;
  }
}

function minutesOf(time: string): number {
  return Number(time.slice(0, 2)) * 60 + Number(time.slice(3));
}

/** `end` in minutes since midnight, moved by whole days until it is after `start`. */
function minutesAfter(start: number, end: string): number {
  const minutes = minutesOf(end);
  return minutes > start ? minutes : minutes + Math.ceil((start - minutes + 1) / minutesPerDay) * minutesPerDay;
}
