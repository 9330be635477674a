/** Migrations: of a later version, and missing ones. */
import assert from "node:assert/strict";
import { sql } from "kysely";
import { Migrator } from "kysely/migration";
import { connect } from "../../src/database/connect.ts";
import { migrate } from "../../src/boot/migrate.ts";
import { isMigrated, migrations } from "../../src/database/migrations.ts";
import { lastQueueMigration } from "../../src/jobs/queue_migrations.ts";
import { newDatabase, untilWaiting } from "../support/database.ts";

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

Deno.test("migrate: requests of the previous version hold locks in their order -> both succeed", async () => {
  await using database = await newDatabase({ migrated: false });
  const db = connect({ url: database.url, pool: 4 });
  try {
    const provider = { getMigrations: () => Promise.resolve(migrations) };
    const { error } = await new Migrator({ db, provider }).migrateTo("0004_access");
    assert.equal(error, undefined);
    const migrated = await db.transaction().execute(async (trx) => {
      // As a request with an Idempotency-Key: the key is read first, then the timeslot is locked and a booking written.
      await sql`select from idempotency_keys`.execute(trx);
      const migrated = migrate(database.url);
      await untilWaiting(db, 1);
      await sql`select from timeslots for no key update`.execute(trx);
      await sql`update bookings set notes = null`.execute(trx);
      return { migrated };
    });
    assert.deepEqual((await migrated.migrated).at(-1), Object.keys(migrations).at(-1));
  } finally {
    await db.destroy();
  }
});

Deno.test("migrate: schema of the job queue is older or missing -> migrated to that of the installed package", async () => {
  await using database = await newDatabase();
  const db = connect({ url: database.url, pool: 1 });
  const lastMigration = async () => {
    const { rows } = await sql<{ id: number }>`select max(id) as id from graphile_worker.migrations`.execute(db);
    return rows[0]?.id;
  };
  try {
    assert.equal(await lastMigration(), lastQueueMigration, "update lastQueueMigration");
    await sql`drop schema graphile_worker cascade`.execute(db);
    await migrate(database.url);
    assert.equal(await lastMigration(), lastQueueMigration);
    await sql`delete from graphile_worker.migrations where id = ${lastQueueMigration}`.execute(db);
    await migrate(database.url);
    assert.equal(await lastMigration(), lastQueueMigration);
  } finally {
    await db.destroy();
  }
});
