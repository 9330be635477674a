/**
 * Computes the timeslots of a generation request. Pure: rules of wall-clock times in, instants out.
 *
 * Wall-clock times become instants by Temporal's rule `compatible` (also RFC 5545, 3.3.5). A time that daylight saving
 * skips moves forward by the gap. A repeated time is the first of the two.
 */
import { Problem } from "../contract/problems.ts";
import { minutesPerDay } from "../time/calendar.ts";

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

/** Largest change of the clocks, in minutes. */
const maxClockChange = 180;

/** In milliseconds since 1970. */
export interface Interval {
  from: number;
  to: number;
}

export interface ComputedTimeslots {
  /** All timeslots, day by day. */
  timeslots: Interval[];
  /** The number of timeslots that do not fit because the clocks change. */
  leftOut: number;
}

/**
 * Computes all timeslots. Each lasts `slotMinutes` of elapsed time. One of 1,440 minutes is a whole day. It ends at the same
 * wall-clock time of the next day, 23 to 25 hours later if the clocks change. After a change of the clocks, working hours
 * of nearly a day may overlap the next day's. Then the result has timeslots twice.
 *
 * @throws {Problem} `invalid_date_range`, `timeslot_does_not_fit` if the working hours are too short, or `too_many_timeslots`
 * as soon as {@link maxTimeslots} is passed.
 */
export function computeTimeslots(rules: GenerationRules): ComputedTimeslots {
  const { startDate, endDate, slotMinutes, timeZone } = rules;
  const days = startDate.until(endDate).days + 1;
  if (days < 1) throw new Problem("invalid_date_range", "endDate must not be before startDate.");
  if (days > maxDays) {
    throw new Problem("invalid_date_range", `The range has ${days} days. Ask for at most ${maxDays} at once.`);
  }
  const excluded = new Set(rules.excludedDates.map(String));
  const usual = timeslotsOf(startDate, { ...rules, timeZone: "UTC" }).length;
  if (usual === 0) {
    const detail = `A timeslot of ${slotMinutes} minutes does not fit into the working hours between the breaks.`;
    throw new Problem("timeslot_does_not_fit", `${detail} Choose a shorter slotDuration or longer hours.`);
  }
  const timeslots: Interval[] = [];
  let leftOut = 0;
  for (let day = startDate, left = days; left > 0; day = day.add({ days: 1 }), left--) {
    if (!rules.daysOfWeek.includes(day.dayOfWeek) || excluded.has(day.toString())) continue;
    const ofDay = timeslotsOf(day, rules);
    if (timeslots.length + ofDay.length > maxTimeslots) {
      const detail = `The request asks for more than ${maxTimeslots} timeslots. Split the date range.`;
      throw new Problem("too_many_timeslots", detail);
    }
    timeslots.push(...ofDay);
    // Timeslots within the skipped hour do not exist on that day. Any other missing one is left out.
    const lost = usual - ofDay.length;
    if (lost > 0) leftOut += Math.max(0, lost - Math.floor(skippedMinutes(day, timeZone) / slotMinutes));
  }
  return { timeslots, leftOut };
}

/** Minutes by which the wall clock jumps forward between the midnights around `day` and the next one. */
function skippedMinutes(day: Temporal.PlainDate, timeZone: string): number {
  const hours = (date: Temporal.PlainDate) => date.toZonedDateTime(timeZone).hoursInDay;
  return Math.max(0, 24 - hours(day), 24 - hours(day.add({ days: 1 }))) * 60;
}

function timeslotsOf(day: Temporal.PlainDate, rules: GenerationRules): Interval[] {
  const intervals = openIntervals(day, rules);
  if (rules.slotMinutes === minutesPerDay) {
    const opensAt = minutesOf(rules.workingHours.start);
    const isOpenAllDay = minutesAfter(opensAt, rules.workingHours.end) - opensAt === minutesPerDay;
    // Any break is within the 24 hours.
    return isOpenAllDay && rules.breaks.length === 0 ? intervals : [];
  }
  const length = rules.slotMinutes * 60_000;
  return intervals.flatMap(({ from, to }) =>
    Array.from({ length: Math.max(0, Math.floor((to - from) / length)) }, (_, index) => ({
      from: from + index * length,
      to: from + (index + 1) * length,
    }))
  );
}

/** The working hours of a day without its breaks. */
function openIntervals(day: Temporal.PlainDate, { timeZone, workingHours, breaks }: GenerationRules): Interval[] {
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

function minutesOf(time: string): number {
  return Number(time.slice(0, 2)) * 60 + Number(time.slice(3));
}

/** `end` in minutes since midnight, moved by whole days until it is after `start`. */
function minutesAfter(start: number, end: string): number {
  const minutes = minutesOf(end);
  return minutes > start ? minutes : minutes + Math.ceil((start - minutes + 1) / minutesPerDay) * minutesPerDay;
}
