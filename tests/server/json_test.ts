/** JSON in rows: values of the same short text are shared. */
import { sql } from "kysely";
import assert from "node:assert/strict";
import { sharedServer } from "../support/server.ts";

Deno.test("JSON in rows: short and long texts, 2,000 different ones -> each row its own value, shared ones are frozen", async () => {
  const { db } = await sharedServer();
  const { rows } = await sql<
    { n: number; short: { n: number[] }; same: { a: { b: string } }; long: string; none: null }
  >`
    select n, jsonb_build_object('n', jsonb_build_array(n)) as short, jsonb '{"a": {"b": "ü"}}' as same,
      json_build_array(n, repeat('x', 200)) as long, jsonb 'null' as none
    from generate_series(1, 2000) n order by n
  `.execute(db);
  assert.equal(rows.length, 2_000);
  for (const [index, { short, same, long, none }] of rows.entries()) {
    assert.deepEqual({ short, same, long, none }, {
      short: { n: [index + 1] },
      same: { a: { b: "ü" } },
      long: [index + 1, "x".repeat(200)],
      none: null,
    });
    assert(Object.isFrozen(short.n) && Object.isFrozen(same) && Object.isFrozen(same.a));
  }
});
