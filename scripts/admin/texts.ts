/** Texts for people: money, times and counts. */
import { isRepeated } from "../../src/time/repeated_times.ts";

/** Characters that move the cursor, color the terminal or change the direction of a line. */
const unsafe = /[\p{Cc}\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]/gu;

/** Replaces unsafe characters in a text from the server or from arguments. */
export function plain(text: string): string {
  return text.replace(unsafe, "\ufffd");
}

/** `12.50 EUR`, `1200 JPY`. */
export function money(amount: number, currency: string): string {
  // Slotkeeper stores at most two decimal places.
  const { maximumFractionDigits = 2 } = new Intl.NumberFormat("en", { style: "currency", currency }).resolvedOptions();
  return `${amount.toFixed(Math.min(2, maximumFractionDigits))} ${currency}`;
}

/** The local time to the minute: `2026-03-09 09:00`. In an hour that comes twice it has its offset, too. */
export function localTime(instant: string, timeZone: string): string {
  const at = inZone(instant, timeZone);
  return isRepeated(at) ? `${wallTime(at)} ${at.offset}` : wallTime(at);
}

/** `2026-03-09 09:00 +01:00 Europe/Berlin`. */
export function exactTime(instant: string, timeZone: string): string {
  const at = inZone(instant, timeZone);
  return `${wallTime(at)} ${at.offset} ${timeZone}`;
}

function wallTime(at: Temporal.ZonedDateTime): string {
  return at.toPlainDateTime().toString({ smallestUnit: "minute" }).replace("T", " ");
}

function inZone(instant: string, timeZone: string): Temporal.ZonedDateTime {
  return Temporal.Instant.from(instant).toZonedDateTimeISO(timeZone);
}

/** `1 booking`, `2 bookings`. */
export function count(amount: number, one: string): string {
  return `${amount} ${one}${amount === 1 ? "" : "s"}`;
}
