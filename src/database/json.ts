/** JSON in rows. */

/** Texts up to this length are remembered, such as cancellation tiers, which most bookings share. Events are longer. */
const maxLength = 100;
const maxKnown = 1_000;
const known = new Map<string, unknown>();

/** Parses JSON of Postgres. A short text is parsed once, and its value is frozen because all its rows share it. */
export function parseJson(text: string): unknown {
  if (text.length > maxLength) return JSON.parse(text);
  let value = known.get(text);
  if (value === undefined) {
    value = JSON.parse(text, (_, part) => Object.freeze(part));
    if (known.size === maxKnown) known.clear();
    known.set(text, value);
  }
  return value;
}
