/**
 * Dates and times as callers write them: a calendar date, or a date-time with or without an offset.
 *
 * What a wall clock shows is computed here, by Temporal, and never in SQL. The runtime and Postgres each bring their own
 * copy of the IANA data, and these differ whenever one of them is older; Postgres also takes names such as CET for
 * abbreviations without daylight saving.
 */
import { invalidFields } from "../contract/problems.ts";

/** Where a text came from, to say so when it is no date. */
export interface Field {
  in: "body" | "query";
  path: string;
}

/** A calendar day; a time on the wall clock of a zone still to be named; or an instant. */
export type Moment = Temporal.PlainDate | Temporal.PlainDateTime | Temporal.Instant;

/** Before this year offsets were of odd seconds, and nobody books there. */
const firstYear = 1900;
/** A day of a later year may end in the year 10000, which many programs cannot write. */
const lastBookableYear = 9998;
/** For ranges: "until 9999-12-31" is a common way to say for ever. */
const lastYear = 9999;

/**
 * Reads `text`, of the contract's `DateOrDateTime`.
 *
 * @throws {Problem} `validation_failed` when there is no such day or time, or its year is not one of ours.
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

/** Whether `zone` is the name of an IANA time zone; offsets such as `+02:00` are none. */
export function isTimeZone(zone: string): boolean {
  if (!/^[A-Za-z]/.test(zone)) return false;
  try {
    Temporal.Instant.fromEpochMilliseconds(0).toZonedDateTimeISO(zone);
    return true;
  } catch {
    return false;
  }
}

/** The calendar day on which `moment` falls in `zone`. */
export function dayIn(zone: string, moment: Moment): Temporal.PlainDate {
  if (moment instanceof Temporal.PlainDate) return moment;
  if (moment instanceof Temporal.PlainDateTime) return moment.toPlainDate();
  return moment.toZonedDateTimeISO(zone).toPlainDate();
}

/** The instant at which `moment` is on the wall clock of `zone`; a day stands for its start. */
export function instantIn(zone: string, moment: Moment): Temporal.Instant {
  if (moment instanceof Temporal.Instant) return moment;
  return moment.toZonedDateTime(zone).toInstant();
}

/** The instants at which `day` begins and ends in `zone`; 23 to 25 hours apart where clocks change. */
export function dayBounds(zone: string, day: Temporal.PlainDate): { from: Temporal.Instant; to: Temporal.Instant } {
  return { from: instantIn(zone, day), to: instantIn(zone, day.add({ days: 1 })) };
}

/** One end of a range: what lies `>=`, `<=` or `<` a time, on the wall clock or as an instant. */
export interface Bound<Time = Temporal.PlainDateTime | Temporal.Instant> {
  operator: ">=" | "<=" | "<";
  at: Time;
}

/** From `text` on. A day counts from its start. */
export function lowerBound(text: string, field: Field): Bound {
  const moment = parseMoment(text, field, lastYear);
  return { operator: ">=", at: moment instanceof Temporal.PlainDate ? moment.toPlainDateTime() : moment };
}

/** Until `text`. A day counts to its end. */
export function upperBound(text: string, field: Field): Bound {
  const moment = parseMoment(text, field, lastYear);
  if (moment instanceof Temporal.PlainDate) return { operator: "<", at: moment.add({ days: 1 }).toPlainDateTime() };
  return { operator: "<=", at: moment };
}

/** `time` as Postgres reads it: the year 10000, where a range until 9999-12-31 may end, has no sign there. */
export function toPostgres(time: Temporal.Instant): string {
  return time.toString().replace(/^\+0*/, "");
}

/** For a person to read, for example `Monday, 9 March 2026 at 10:00 to 11:00 (Europe/Berlin)`. */
export function describeTimes(zone: string, { startTime, endTime }: { startTime: string; endTime: string }): string {
  const day: Intl.DateTimeFormatOptions = { weekday: "long", day: "numeric", month: "long", year: "numeric" };
  const time: Intl.DateTimeFormatOptions = { hour: "2-digit", minute: "2-digit", hour12: false };
  const from = Temporal.Instant.from(startTime).toZonedDateTimeISO(zone);
  const to = Temporal.Instant.from(endTime).toZonedDateTimeISO(zone);
  const isSameDay = from.toPlainDate().equals(to.toPlainDate());
  const until = to.toLocaleString("en-GB", isSameDay ? time : { ...day, ...time });
  return `${from.toLocaleString("en-GB", { ...day, ...time })} to ${until} (${zone})`;
}
