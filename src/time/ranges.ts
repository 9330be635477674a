/** Ranges of time in lists and stats. */
import { type RawBuilder, sql } from "kysely";
import { type Bound, instantIn, lowerBound, toPostgres, upperBound } from "./calendar.ts";
import { Problem } from "../contract/problems.ts";

/** A range, of instants if not said otherwise. Undefined ends are open. */
export interface Range<Time = Temporal.Instant> {
  from: Bound<Time> | undefined;
  to: Bound<Time> | undefined;
}

/** When a wall clock shows a certain time, by time zone; instants as Postgres reads them. */
export type InstantByZone = Record<string, string>;

/** The ends that a range has. */
export function endsOf<Time>({ from, to }: Range<Time>): Bound<Time>[] {
  return [from, to].filter((bound) => bound !== undefined);
}

/** An instant, to its nanoseconds, for a query. */
export const instantSql = (at: Temporal.Instant): RawBuilder<Date> => sql<Date>`${toPostgres(at)}::text::timestamptz`;

/** One end of a range as a caller wrote it: the name of the parameter and its value. */
interface WrittenEnd {
  path: string;
  text: string | undefined;
}

/**
 * Reads both ends of a range, each optional.
 *
 * @throws {Problem} `validation_failed` for what is no date, `invalid_date_range` when it ends before it starts. A
 * wall-clock time and an instant can be compared in a zone only, see {@link rangeIn}.
 */
export function parseRange(from: WrittenEnd, to: WrittenEnd): Range<Bound["at"]> {
  const lower = from.text === undefined ? undefined : lowerBound(from.text, { in: "query", path: from.path });
  const upper = to.text === undefined ? undefined : upperBound(to.text, { in: "query", path: to.path });
  const sameKind = lower?.at instanceof Temporal.Instant === upper?.at instanceof Temporal.Instant;
  if (sameKind) rangeIn("UTC", { from: lower, to: upper });
  return { from: lower, to: upper };
}

/**
 * A range of wall-clock times as one of instants in `zone`.
 *
 * @throws {Problem} `invalid_date_range` when it ends before it starts there.
 */
export function rangeIn(zone: string, { from, to }: Range<Bound["at"]>): Range {
  const fixed = (bound: Bound | undefined) => bound && { ...bound, at: instantIn(zone, bound.at) };
  const range = { from: fixed(from), to: fixed(to) };
  if (range.from !== undefined && range.to !== undefined) {
    const order = Temporal.Instant.compare(range.from.at, range.to.at);
    const isEmpty = range.to.operator === "<" ? order >= 0 : order > 0;
    if (isEmpty) throw new Problem("invalid_date_range", "The range ends before it starts.");
  }
  return range;
}

export function hasWallTimes({ from, to }: Range<Bound["at"]>): boolean {
  return [from, to].some((bound) => bound?.at instanceof Temporal.PlainDateTime);
}

/** A range whose wall-clock times are meant in each of `zones`. */
export function rangeByZone(
  zones: string[],
  { from, to }: Range<Bound["at"]>,
): Range<Temporal.Instant | InstantByZone> {
  const byZone = ({ operator, at }: Bound) => ({
    operator,
    at: at instanceof Temporal.Instant
      ? at
      : Object.fromEntries(zones.map((zone) => [zone, toPostgres(instantIn(zone, at))])),
  });
  return { from: from && byZone(from), to: to && byZone(to) };
}
