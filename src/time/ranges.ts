/** Time ranges of lists and stats. */
import { type RawBuilder, sql, type SqlBool } from "kysely";
import { Problem } from "../contract/problems.ts";
import { type Bound, boundIn, lowerBound, toPostgres, upperBound } from "./calendar.ts";

/** A range, by default of instants. An undefined end is open. */
export interface Range<Time = Temporal.Instant> {
  from: Bound<Time> | undefined;
  to: Bound<Time> | undefined;
}

/** The instants of one wall-clock time by time zone, formatted for Postgres. */
export type InstantByZone = Record<string, string>;

/** Returns the defined ends of a range. */
export function endsOf<Time>({ from, to }: Range<Time>): Bound<Time>[] {
  return [from, to].filter((bound) => bound !== undefined);
}

/** Returns an SQL expression for an instant, to its nanoseconds. */
export const instantSql = (at: Temporal.Instant): RawBuilder<Date> => sql<Date>`${toPostgres(at)}::text::timestamptz`;

/** The ends of a range by operator, as values of a prepared filter. Ends are texts for Postgres or instants by time zone. */
export interface RangeEnds<Time = string> {
  /** `>=` */
  from: Time | undefined;
  /** `<` */
  before: Time | undefined;
  /** `<=` */
  until: Time | undefined;
}

/** Returns the ends of a range. `format` returns undefined for an end that it does not take. */
export function endsByOperator<Time, Value>(
  { from, to }: Range<Time>,
  format: (at: Time) => Value | undefined,
): RangeEnds<Value> {
  return {
    from: from && format(from.at),
    before: to?.operator === "<" ? format(to.at) : undefined,
    until: to?.operator === "<=" ? format(to.at) : undefined,
  };
}

/** Returns the conditions of a range. `value` is the expression of an end, by default for a text of {@link toPostgres}. */
export function isWithin<Time = string>(
  time: RawBuilder<unknown>,
  { from, before, until }: RangeEnds<Time>,
  value = (at: Time): RawBuilder<unknown> => sql`${at}::text::timestamptz`,
): RawBuilder<SqlBool>[] {
  return [
    ...(from === undefined ? [] : [sql<SqlBool>`${time} >= ${value(from)}`]),
    ...(before === undefined ? [] : [sql<SqlBool>`${time} < ${value(before)}`]),
    ...(until === undefined ? [] : [sql<SqlBool>`${time} <= ${value(until)}`]),
  ];
}

/** A query parameter with one end of a range: its name and its value. */
interface EndParameter {
  path: string;
  text: string | undefined;
}

/**
 * Parses both ends of a range. Each is optional.
 *
 * @throws {Problem} `validation_failed` if an end is not a date, `invalid_date_range` if the range ends before it starts.
 * Only {@link rangeIn} can compare a wall-clock time with an instant, because that needs a zone.
 */
export function parseRange(from: EndParameter, to: EndParameter): Range<Bound["at"]> {
  const lower = from.text === undefined ? undefined : lowerBound(from.text, { in: "query", path: from.path });
  const upper = to.text === undefined ? undefined : upperBound(to.text, { in: "query", path: to.path });
  const sameKind = lower?.at instanceof Temporal.Instant === upper?.at instanceof Temporal.Instant;
  if (sameKind) rangeIn("UTC", { from: lower, to: upper });
  return { from: lower, to: upper };
}

/**
 * Converts a range of wall-clock times in `zone` to one of instants.
 *
 * @throws {Problem} `invalid_date_range` if it ends before it starts in `zone`.
 */
export function rangeIn(zone: string, { from, to }: Range<Bound["at"]>): Range {
  const fixed = (bound: Bound | undefined) => bound && { ...bound, at: boundIn(zone, bound) };
  const range = { from: fixed(from), to: fixed(to) };
  if (range.from !== undefined && range.to !== undefined) {
    // Both ends may be in an hour that the clocks skip. Then the range is empty, but not reversed.
    const order = from?.at instanceof Temporal.PlainDateTime && to?.at instanceof Temporal.PlainDateTime
      ? Temporal.PlainDateTime.compare(from.at, to.at)
      : Temporal.Instant.compare(range.from.at, range.to.at);
    const isReversed = range.to.operator === "<" ? order >= 0 : order > 0;
    if (isReversed) throw new Problem("invalid_date_range", "The range ends before it starts.");
  }
  return range;
}

export function hasWallTimes({ from, to }: Range<Bound["at"]>): boolean {
  return [from, to].some((bound) => bound?.at instanceof Temporal.PlainDateTime);
}

/** Converts each wall-clock time of a range to its instants in all `zones`. */
export function rangeByZone(
  zones: string[],
  { from, to }: Range<Bound["at"]>,
): Range<Temporal.Instant | InstantByZone> {
  const byZone = (bound: Bound) => ({
    operator: bound.operator,
    at: bound.at instanceof Temporal.Instant
      ? bound.at
      : Object.fromEntries(zones.map((zone) => [zone, toPostgres(boundIn(zone, bound))])),
  });
  return { from: from && byZone(from), to: to && byZone(to) };
}
