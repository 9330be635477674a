/**
 * Dates and times of callers: a calendar date, or a date-time with or without an offset.
 *
 * Temporal computes all wall-clock times, never SQL. See the guide on decisions. Also, Postgres reads a name such as CET
 * as an abbreviation without daylight saving.
 */
import { invalidFields } from "../contract/problems.ts";
import { isRepeated } from "./repeated_times.ts";

/** The field of a text, for the error if it is not a date. */
export interface Field {
  in: "body" | "query";
  path: string;
}

/** A calendar day, a wall-clock time without a zone, or an instant. */
export type Moment = Temporal.PlainDate | Temporal.PlainDateTime | Temporal.Instant;

/** First year of a date in a request. UTC offsets of earlier years have odd seconds. */
const firstYear = 1900;
/** A day of a later year may end in the year 10000, which many programs cannot write. */
const lastBookableYear = 9998;
/** For ranges: "until 9999-12-31" often means without an end. */
const lastYear = 9999;

/**
 * Parses a `DateOrDateTime` of the contract.
 *
 * @throws {Problem} `validation_failed` if the day or time does not exist, or the year is before 1900 or after `last`.
 */
export function parseMoment(text: string, field: Field, last = lastBookableYear): Moment {
  try {
    const day = Temporal.PlainDate.from(text.slice(0, 10));
    if (day.year < firstYear || day.year > last) throw new RangeError(`not within ${firstYear} to ${last}`);
    if (!text.includes("T")) return day;
    return /(Z|[+-]\d{2}:\d{2})$/.test(text) ? Temporal.Instant.from(text) : Temporal.PlainDateTime.from(text);
  } catch (failure) {
    if (!(failure instanceof RangeError)) throw failure;
    throw invalidFields([{
      ...field,
      message: `must be a date or a date-time that exists, from ${firstYear} to ${last}`,
    }]);
  }
}

/** Returns the calendar day of `moment` in `zone`. */
export function dayIn(zone: string, moment: Moment): Temporal.PlainDate {
  if (moment instanceof Temporal.PlainDate) return moment;
  if (moment instanceof Temporal.PlainDateTime) return moment.toPlainDate();
  return moment.toZonedDateTimeISO(zone).toPlainDate();
}

/** Returns the instant of `moment` in `zone`. A day means its start. */
export function instantIn(zone: string, moment: Moment): Temporal.Instant {
  if (moment instanceof Temporal.Instant) return moment;
  return moment.toZonedDateTime(zone).toInstant();
}

/** A calendar day, and the instants of its start and end, as ISO texts. */
export interface DayBounds {
  date: string;
  from: string;
  to: string;
}

/** Computing bounds takes 30 µs, and most requests are about a few days. The rules of a zone stay as long as the process. */
const knownBounds = new Map<string, DayBounds>();
const maxKnownBounds = 1_000;

/** Returns the start and end of `day` in `zone`. They are 23 to 25 hours apart if clocks change. */
export function dayBounds(zone: string, day: Temporal.PlainDate): DayBounds {
  const date = day.toString();
  const key = `${zone} ${date}`;
  let bounds = knownBounds.get(key);
  if (bounds === undefined) {
    const from = instantIn(zone, day).toString();
    bounds = { date, from, to: instantIn(zone, day.add({ days: 1 })).toString() };
    if (knownBounds.size === maxKnownBounds) knownBounds.clear();
    knownBounds.set(key, bounds);
  }
  return bounds;
}

/** Minutes of a day on which the clocks do not change. */
export const minutesPerDay = 1_440;

/**
 * Returns the shortest length in minutes of a timeslot that fits `minimumMinutes`. A whole day fits 1440 minutes, also if it
 * has 23 hours. `first` and `last` are the days on which the timeslot may start.
 */
export function shortestLength(
  zone: string,
  { minimumMinutes, first, last }: { minimumMinutes: number; first: Temporal.PlainDate; last: Temporal.PlainDate },
): number {
  if (minimumMinutes < minutesPerDay) return minimumMinutes;
  let shortest = minimumMinutes;
  // A timeslot may end on the next day.
  for (let day = first; Temporal.PlainDate.compare(day, last.add({ days: 1 })) <= 0; day = day.add({ days: 1 })) {
    shortest = Math.min(shortest, day.toZonedDateTime(zone).hoursInDay * 60);
  }
  return shortest;
}

/** One end of a range: times `>=`, `<=` or `<` a wall-clock time or an instant. */
export interface Bound<Time = Temporal.PlainDateTime | Temporal.Instant> {
  operator: ">=" | "<=" | "<";
  at: Time;
}

/**
 * Returns the instant at which a range begins or ends in `zone`. The range holds exactly the times whose wall clock is
 * within it. A repeated wall-clock time counts from the first until the second. In the gap of a change to summer time, the
 * range begins or ends at the change.
 */
export function boundIn(zone: string, { operator, at }: Bound): Temporal.Instant {
  if (at instanceof Temporal.Instant) return at;
  const earlier = at.toZonedDateTime(zone, { disambiguation: "earlier" });
  const later = at.toZonedDateTime(zone, { disambiguation: "later" });
  if (earlier.equals(later)) return earlier.toInstant();
  const isSkipped = !earlier.toPlainDateTime().equals(at);
  if (!isSkipped) return (operator === "<=" ? later : earlier).toInstant();
  const change = earlier.getTimeZoneTransition("next")?.toInstant() ?? later.toInstant();
  // The change itself is later than a wall-clock time in the gap. Postgres counts microseconds.
  return operator === "<=" ? change.subtract({ microseconds: 1 }) : change;
}

/** Returns the lower end of a range, inclusive. A day counts from its start. Throws like {@link parseMoment}. */
export function lowerBound(text: string, field: Field): Bound {
  const moment = parseMoment(text, field, lastYear);
  return { operator: ">=", at: moment instanceof Temporal.PlainDate ? moment.toPlainDateTime() : moment };
}

/** Returns the upper end of a range, inclusive. A day counts to its end. Throws like {@link parseMoment}. */
export function upperBound(text: string, field: Field): Bound {
  const moment = parseMoment(text, field, lastYear);
  if (moment instanceof Temporal.PlainDate) return { operator: "<", at: moment.add({ days: 1 }).toPlainDateTime() };
  return { operator: "<=", at: moment };
}

/** Formats `time` for Postgres, which takes no sign before the year 10000. A range until 9999-12-31 may end there. */
export function toPostgres(time: Temporal.Instant): string {
  return time.toString().replace(/^\+0*/, "");
}

/**
 * Formats a range for people, for example `Monday, 9 March 2026 at 10:00 to 11:00 (Europe/Berlin)`. It has the offsets if
 * the clocks change in it, or if one of its times comes twice: `at 02:30 +02:00 to 02:30 +01:00`.
 */
export function describeTimes(zone: string, { startTime, endTime }: { startTime: string; endTime: string }): string {
  const day: Intl.DateTimeFormatOptions = { weekday: "long", day: "numeric", month: "long", year: "numeric" };
  const time: Intl.DateTimeFormatOptions = { hour: "2-digit", minute: "2-digit", hour12: false };
  const from = Temporal.Instant.from(startTime).toZonedDateTimeISO(zone);
  const to = Temporal.Instant.from(endTime).toZonedDateTimeISO(zone);
  const isSameDay = from.toPlainDate().equals(to.toPlainDate());
  const until = to.toLocaleString("en-GB", isSameDay ? time : { ...day, ...time });
  const needsOffsets = from.offset !== to.offset || isRepeated(from) || isRepeated(to);
  const offset = (at: Temporal.ZonedDateTime) => needsOffsets ? ` ${at.offset}` : "";
  return `${from.toLocaleString("en-GB", { ...day, ...time })}${offset(from)} to ${until}${offset(to)} (${zone})`;
}
