import assert from "node:assert/strict";
import { sql } from "kysely";
import { connect } from "../../src/database/connect.ts";
import { newDatabase } from "../support/database.ts";

for (const { query, keeps } of [{ query: "", keeps: true }, { query: "?prepare=false", keeps: false }]) {
  Deno.test(`DATABASE_URL with "${query}" ${keeps ? "keeps" : "does not keep"} prepared statements`, async () => {
    await using database = await newDatabase();
    const db = connect({ url: database.url + query, pool: 1 });
    try {
      await db.selectFrom("rooms").selectAll().where("id", "=", 1).execute();
      const { rows } = await sql<{ statement: string }>`select statement from pg_prepared_statements`.execute(db);
      assert.equal(rows.some(({ statement }) => statement.includes('from "rooms"')), keeps);
    } finally {
      await db.destroy();
    }
  });
}
