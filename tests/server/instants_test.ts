/** Texts of instants: from Postgres to the answers. */
import fc from "fast-check";
import { sql } from "kysely";
import assert from "node:assert/strict";
import { isAfter, isoOf, textOf } from "../../src/database/instants.ts";
import { runs } from "../support/properties.ts";
import { sharedServer } from "../support/server.ts";

Deno.test("isoOf: instants of Postgres as rows and as JSON -> as Date writes them", async () => {
  const { db } = await sharedServer();
  // Years 1 to 9998.
  const microseconds = fc.bigInt({ min: -62_135_596_800_000_000n, max: 253_370_764_799_999_999n });
  const rounded = fc.oneof(
    microseconds,
    microseconds.map((at) => at - at % 1_000n),
    microseconds.map((at) => at - at % 1_000_000n),
    microseconds.map((at) => at - at % 60_000_000n),
  );
  const lists = fc.array(rounded, { minLength: 1, maxLength: 200 });
  await fc.assert(
    fc.asyncProperty(lists, async (instants) => {
      const { rows } = await sql<{ row: string; json: string; milliseconds: number }>`
        select at as row, to_jsonb(at) #>> '{}' as json,
          floor(extract(epoch from at) * 1000)::bigint as milliseconds
        from (
          select timestamptz 'epoch' + n * interval '1 microsecond' as at
          from unnest(${`{${instants.join(",")}}`}::text::bigint[]) n
        ) instants`.execute(db);
      assert.equal(rows.length, instants.length);
      for (const { row, json, milliseconds } of rows) {
        const iso = new Date(milliseconds).toISOString();
        assert.deepEqual({ row, json: isoOf(json) }, { row: iso, json: iso });
      }
    }),
    { numRuns: runs(20, 500) },
  );
});

const texts: Record<string, string> = {
  "2026-03-02 10:15:00+00": "2026-03-02T10:15:00.000Z",
  "2026-03-02 10:15:00.1+00": "2026-03-02T10:15:00.100Z",
  "2026-03-02 10:15:00.999999+00": "2026-03-02T10:15:00.999Z",
  "2026-03-02T10:15:00+00:00": "2026-03-02T10:15:00.000Z",
  "2026-03-02T10:15:00.12+00:00": "2026-03-02T10:15:00.120Z",
  "2026-03-02T10:15:00.000Z": "2026-03-02T10:15:00.000Z",
  "2026-03-02 10:15:00+01": "2026-03-02T09:15:00.000Z",
  "2026-03-02T10:15:00+00:30": "2026-03-02T09:45:00.000Z",
  "10000-01-01 00:00:00+00": "+010000-01-01T00:00:00.000Z",
  infinity: "infinity",
};

for (const [text, iso] of Object.entries(texts)) {
  Deno.test(`isoOf: ${text} -> ${iso}`, () => assert.equal(isoOf(text), iso));
}

Deno.test("isAfter: same instant -> false, year 10000 -> true", () => {
  const date = new Date("2026-03-02T10:15:00Z");
  assert.equal(isAfter("2026-03-02T10:15:00.000Z", date), false);
  assert.equal(isAfter("2026-03-02T10:15:00.001Z", date), true);
  assert.equal(isAfter("+010000-01-01T00:00:00.000Z", date), true);
});

Deno.test("textOf: the same instant again, another one, a changed date, a text -> each its own text", () => {
  const [first, second] = [new Date("2026-03-02T10:15:00.123Z"), new Date("2026-03-02T10:15:00.124Z")];
  for (const at of [first, first, second, new Date(first), second]) assert.equal(textOf(at), at.toISOString());
  second.setUTCFullYear(2027);
  assert.equal(textOf(second), "2027-03-02T10:15:00.124Z");
  assert.equal(textOf("2026-03-02T10:15:00Z"), "2026-03-02T10:15:00Z");
  assert.throws(() => textOf(new Date(NaN)), RangeError);
  assert.equal(textOf(second), "2027-03-02T10:15:00.124Z");
});
