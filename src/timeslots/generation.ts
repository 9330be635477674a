/**
 * Which timeslots a generation request asks for. Pure: wall-clock rules in, instants out.
 *
 * Wall-clock times become instants by the rule `compatible` of Temporal (and of RFC 5545, 3.3.5): a time skipped by a
 * daylight-saving change moves forward by the gap, a repeated one is the first of the two.
 */
import { Problem } from "../contract/problems.ts";

/** Timeslots a request. */
export const timeslotLimit = 50_000;
/** Days a request: ten years. */
export const dayLimit = 3_660;

/** Times are `HH:MM`; an end may be `24:00`, and an end at or before its start lies on the next day. */
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

const minutesADay = 1_440;
/** No change of the clocks moves a time by more minutes than this. */
const longestChange = 180;

/** A stretch of time, in milliseconds since 1970. */
interface Stretch {
  from: number;
  to: number;
}

/**
 * The starts of all timeslots, day by day; each lasts `slotMinutes` of elapsed time. Across a change of the clocks, hours of
 * nearly a day may reach into the next day's, whose timeslots then come twice.
 *
 * @throws {Problem} `invalid_date_range`, or `too_many_timeslots` as soon as {@link timeslotLimit} is passed.
 */
export function timeslotStarts(rules: GenerationRules): Date[] {
  const { startDate, endDate, slotMinutes, timeZone } = rules;
  const days = startDate.until(endDate).days + 1;
  if (days < 1) throw new Problem("invalid_date_range", "endDate must not be before startDate.");
  if (days > dayLimit) {
    throw new Problem("invalid_date_range", `The range has ${days} days. Ask for at most ${dayLimit} at once.`);
  }
  const excluded = new Set(rules.excludedDates.map(String));
  const length = slotMinutes * 60_000;
  const starts: Date[] = [];
  for (let day = startDate, left = days; left > 0; day = day.add({ days: 1 }), left--) {
    if (!rules.daysOfWeek.includes(day.dayOfWeek) || excluded.has(day.toString())) continue;
    for (const { from, to } of openStretches(day, rules)) {
      for (let start = from; start + length <= to; start += length) {
        if (starts.length === timeslotLimit) {
          const detail = `The request asks for more than ${timeslotLimit} timeslots. Split the date range.`;
          throw new Problem("too_many_timeslots", detail);
        }
        starts.push(new Date(start));
      }
    }
  }
  return starts;

  /** What is left of the working hours of a day between its breaks. */
  function openStretches(day: Temporal.PlainDate, { workingHours, breaks }: GenerationRules): Stretch[] {
    const midnight = day.toPlainDateTime();
    const at = (minutes: number) => midnight.add({ minutes }).toZonedDateTime(timeZone).epochMilliseconds;
    const opening = minutesOf(workingHours.start);
    const closing = minutesAfter(opening, workingHours.end);
    const [from, to] = [at(opening), at(closing)];
    // A break may begin the evening before, or on the morning after in hours that run into the next day. What a change
    // of the clocks turns around, or moves out of the hours, closes nothing.
    const closed = breaks.flatMap((pause) => {
      const start = minutesOf(pause.start);
      const end = minutesAfter(start, pause.end);
      return [-minutesADay, 0, minutesADay].map((shift) => ({ start: start + shift, end: end + shift }));
    }).filter(({ start, end }) => start - longestChange < closing && end + longestChange > opening)
      .map(({ start, end }) => ({ from: at(start), to: at(end) }))
      .filter((pause) => pause.from < pause.to && pause.from < to && pause.to > from)
      .sort((a, b) => a.from - b.from);

    const open: Stretch[] = [];
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

/** `end` in minutes since midnight, moved by whole days until it lies behind `start`. */
function minutesAfter(start: number, end: string): number {
  const minutes = minutesOf(end);
  return minutes > start ? minutes : minutes + Math.ceil((start - minutes + 1) / minutesADay) * minutesADay;
}
