/** How things are written for people. */

/** What could move the cursor, recolour the terminal or turn the direction of a line: control characters and the like. */
const unsafe = /[\p{Cc}\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]/gu;

/** A text of somebody else's, which does nothing to a terminal but be read. */
export function plain(text: string): string {
  return text.replace(unsafe, "\ufffd");
}

/** `12.50 EUR`, `1200 JPY`. */
export function money(amount: number, currency: string): string {
  // Slotkeeper has at most two places.
  const { maximumFractionDigits = 2 } = new Intl.NumberFormat("en", { style: "currency", currency }).resolvedOptions();
  return `${amount.toFixed(Math.min(2, maximumFractionDigits))} ${currency}`;
}

/** What the clock on the wall shows there, to the minute: `2026-03-09 09:00`. */
export function localTime(instant: string, timeZone: string): string {
  return inZone(instant, timeZone).toPlainDateTime().toString({ smallestUnit: "minute" }).replace("T", " ");
}

/** `2026-03-09 09:00 +01:00 Europe/Berlin`: also which of the two, in the hour that comes twice. */
export function exactTime(instant: string, timeZone: string): string {
  return `${localTime(instant, timeZone)} ${inZone(instant, timeZone).offset} ${timeZone}`;
}

function inZone(instant: string, timeZone: string): Temporal.ZonedDateTime {
  return Temporal.Instant.from(instant).toZonedDateTimeISO(timeZone);
}

/** `1 booking`, `2 bookings`. */
export function count(amount: number, one: string): string {
  return `${amount} ${one}${amount === 1 ? "" : "s"}`;
}
