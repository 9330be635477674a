/** Patterns of the contract: as tight as patterns can be, so that the requests of other tools mostly fit. */
import assert from "node:assert/strict";
import fc from "fast-check";
import { timeZoneLinks } from "../../generated/time_zones.ts";
import { runs } from "../support/properties.ts";
import { child, contract, type Json } from "./document.ts";

function patternsIn(part: Json): string[] {
  if (typeof part !== "object" || part === null) return [];
  return Object.entries(part).flatMap(([key, value]) =>
    key === "pattern" && typeof value === "string" ? [value] : patternsIn(value)
  );
}

function patternOf(schema: string, property?: string): RegExp {
  const written = child(child(contract.components, "schemas"), schema);
  const pattern = child(property === undefined ? written : child(child(written, "properties"), property), "pattern");
  assert(typeof pattern === "string");
  return new RegExp(pattern);
}

Deno.test("patterns: each -> a regular expression with and without the flag `u`, and one that RE2 can run", () => {
  const patterns = [...new Set(patternsIn(contract))];
  assert(patterns.length >= 8);
  for (const pattern of patterns) {
    for (const flags of ["", "u"]) new RegExp(pattern, flags);
    // RE2 has no lookaround and no references to groups.
    assert.doesNotMatch(pattern, /\(\?|\\[1-9k]/);
  }
});

Deno.test("DateOrDateTime: any text of its pattern -> exists, except for 29 February of some years", () => {
  fc.assert(
    fc.property(fc.stringMatching(patternOf("DateOrDateTime")), (text) => {
      const year = Number(text.slice(0, 4));
      const isLeap = year % 4 === 0 && (year % 100 !== 0 || year % 400 === 0);
      fc.pre(isLeap || text.slice(4, 10) !== "-02-29");
      if (/T.*(Z|[+-]..:..)$/.test(text)) Temporal.Instant.from(text);
      else Temporal.PlainDateTime.from(text);
      assert(year >= 1900);
    }),
    { numRuns: runs(500, 20_000) },
  );
});

Deno.test("DateOrDateTime: every day of a leap year, and every form -> fits its pattern", () => {
  const pattern = patternOf("DateOrDateTime");
  for (let day = Temporal.PlainDate.from("2028-01-01"); day.year === 2028; day = day.add({ days: 1 })) {
    assert.match(day.toString(), pattern);
  }
  for (const day of ["1900-01-01", "1999-12-31", "2000-02-29", "9999-12-31"]) assert.match(day, pattern);
  const times = ["T00:00", "T23:59:59", "T23:59:60Z", "T12:30Z", "T12:30:00.1+14:00", "T12:30:00.123456789-23:59"];
  for (const time of times) assert.match(`2026-03-09${time}`, pattern);
});

Deno.test("DateOrDateTime: text of no day or time -> does not fit its pattern", () => {
  const pattern = patternOf("DateOrDateTime");
  const days = ["2026-99-99", "2026-13-01", "2026-00-10", "2026-03-00", "2026-03-32", "2026-04-31", "2026-02-30"];
  for (const text of [...days, "1899-12-31", "0000-01-01", "10000-01-01", "2026-3-9", "٢٠٢٦-03-09", ""]) {
    assert.doesNotMatch(text, pattern);
  }
  const times = ["T24:00", "T10:60", "T10", "T10:00:61", "T10:00:00.", "T10:00:00.1234567890", "T10:00+24:00"];
  for (const time of [...times, "T10:00+10:60", "T10:00z", "T10:00+0100", " 10:00"]) {
    assert.doesNotMatch(`2026-03-09${time}`, pattern);
  }
});

Deno.test("timeZone: every name that the runtime or IANA knows, in any case -> fits its pattern; an offset does not", () => {
  const names = [
    ...Intl.supportedValuesOf("timeZone"),
    ...Object.entries(timeZoneLinks).flat(),
    ...["UTC", "GMT0", "Etc/GMT+12", "Etc/GMT-14", "EST5EDT", "NZ-CHAT", "America/Argentina/ComodRivadavia"],
  ];
  for (const schema of ["CreateRoom", "UpdateRoom"]) {
    const pattern = patternOf(schema, "timeZone");
    for (const name of names) for (const each of [name, name.toLowerCase()]) assert.match(each, pattern);
    for (const text of ["+02:00", "Europe/", "/Berlin", "Europe Berlin", "1", "a/b/c/d"]) {
      assert.doesNotMatch(text, pattern);
    }
  }
});
