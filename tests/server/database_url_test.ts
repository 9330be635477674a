import assert from "node:assert/strict";
import { sql } from "kysely";
import { connect } from "../../src/database/connect.ts";
import { migrate } from "../../src/boot/migrate.ts";
import { queueUrl } from "../../src/jobs/queue_url.ts";
import { newDatabase } from "../support/database.ts";

for (const { query, keeps } of [{ query: "", keeps: true }, { query: "?prepare=false", keeps: false }]) {
  Deno.test(`DATABASE_URL: options "${query}" -> ${keeps ? "prepared statements" : "no prepared statements"}`, async () => {
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

Deno.test("DATABASE_URL: option for TLS -> the same in the syntax of the job queue's driver, others are dropped", async () => {
  const plain = "postgresql://db.example/slots";
  const urls = {
    "postgres://u:p%40ss@db.example:5433/slots?prepare=false": "postgres://u:p%40ss@db.example:5433/slots",
    [`${plain}?sslmode=require&prepare=false`]: `${plain}?sslmode=require&uselibpqcompat=true`,
    [`${plain}?ssl=true`]: `${plain}?sslmode=verify-full&uselibpqcompat=true`,
    [`${plain}?ssl=verify-full`]: `${plain}?sslmode=verify-full&uselibpqcompat=true`,
    [`${plain}?ssl=false`]: plain,
    [`${plain}?sslmode=disable`]: plain,
  };
  for (const [url, expected] of Object.entries(urls)) assert.equal(await queueUrl(url), expected);
});

Deno.test("migrate: database without TLS -> works with options that do not require TLS, fails with sslmode=require", async () => {
  await using database = await newDatabase({ migrated: false });
  for (const query of ["?sslmode=prefer", "?ssl=prefer", "?ssl=false"]) {
    await migrate(database.url + query);
  }
  await assert.rejects(migrate(`${database.url}?sslmode=require`));
});
