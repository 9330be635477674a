/** Instants between Postgres and JavaScript. Connections have the time zone UTC. */
import { type RawBuilder, sql } from "kysely";

const dash = "-".charCodeAt(0);
const colon = ":".charCodeAt(0);
const point = ".".charCodeAt(0);
const zulu = "Z".charCodeAt(0);

/**
 * Converts Postgres's text of an instant to the one of `Date.prototype.toISOString`, truncated to milliseconds. Takes texts
 * of rows, such as `2026-03-02 10:15:00.123456+00`, and of JSON, such as `2026-03-02T10:15:00.123456+00:00`. A text that
 * ends in `Z` is already converted.
 *
 * It makes a `Date` only for other forms, such as a year after 9999. That takes ten times as long. `infinity` stays as it
 * is, because no `Date` holds it.
 */
export function isoOf(text: string): string {
  if (text.charCodeAt(text.length - 1) === zulu) return text;
  const end = text.endsWith("+00") ? text.length - 3 : text.endsWith("+00:00") ? text.length - 6 : 0;
  const hasForm = text.charCodeAt(4) === dash && text.charCodeAt(13) === colon;
  if (hasForm && end === 19) return `${text.slice(0, 10)}T${text.slice(11, 19)}.000Z`;
  if (hasForm && end > 20 && text.charCodeAt(19) === point) {
    return `${text.slice(0, 10)}T${text.slice(11, 19)}${`${text.slice(19, end)}00`.slice(0, 4)}Z`;
  }
  const date = new Date(text);
  return Number.isNaN(date.getTime()) ? text : date.toISOString();
}

/** Whether an instant of a row is after `date`. Texts cannot be compared, because years after 9999 start with `+`. */
export function isAfter(iso: string, date: Date): boolean {
  return Date.parse(iso) > date.getTime();
}

/** A parameter for an instant, to compare with a column. Rows have instants as texts. */
export function instant(at: Date | string): RawBuilder<string> {
  return sql<string>`${at}`;
}

let latestMs = NaN;
let latestText = "";

/** Returns the ISO text of a parameter. Most parameters of a statement are the same instant: now. */
export function textOf(at: Date | string): string {
  if (typeof at === "string") return at;
  const ms = at.getTime();
  if (ms !== latestMs) {
    latestText = at.toISOString();
    latestMs = ms;
  }
  return latestText;
}
