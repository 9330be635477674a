/** Migrations: of a later version, and missing ones. */
import assert from "node:assert/strict";
import { sql } from "kysely";
import { connect } from "../../src/database/connect.ts";
import { migrate } from "../../src/boot/migrate.ts";
import { isMigrated } from "../../src/database/migrations.ts";
import { newDatabase } from "../support/database.ts";

Deno.test("migrate: database migrated by a later version -> unchanged, counts as migrated", async () => {
  await using database = await newDatabase();
  const db = connect({ url: database.url, pool: 1 });
  try {
    await sql`insert into kysely_migration (name, timestamp) values ('9999_later', now()::text)`.execute(db);
    assert.deepEqual(await migrate(database.url), []);
    assert.equal(await isMigrated(db), true);
  } finally {
    await db.destroy();
  }
});

Deno.test("isMigrated: last migration or all missing -> false", async () => {
  await using database = await newDatabase();
  const db = connect({ url: database.url, pool: 1 });
  try {
    await sql`delete from kysely_migration where name = (select max(name) from kysely_migration)`.execute(db);
    assert.equal(await isMigrated(db), false);
    await sql`drop table kysely_migration`.execute(db);
    assert.equal(await isMigrated(db), false);
  } finally {
    await db.destroy();
  }
});
