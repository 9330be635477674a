/** When the pool of connections is replaced, and when it is not. */
import assert from "node:assert/strict";
import { Kysely, sql } from "kysely";
import postgres from "postgres";
import { connect } from "../../src/database/connect.ts";
import { PoolDialect } from "../../src/database/driver.ts";
import { isUnavailable } from "../../src/database/failures.ts";
import { newDatabase } from "../support/database.ts";

Deno.test("a transaction goes on while other statements are refused for too many connections", async () => {
  await using database = await newDatabase();
  const admin = postgres(database.url, { max: 1, onnotice: () => {} });
  const role = `limited_${crypto.randomUUID().replaceAll("-", "")}`;
  const url = new URL(database.url);
  [url.username, url.password] = [role, "limited"];
  try {
    await admin.unsafe(`create role ${role} login password 'limited' connection limit 1`);
    const db = connect({ url: url.href, pool: 4 });
    const inTransaction = Promise.withResolvers<void>();
    const others = Promise.withResolvers<void>();
    const transaction = db.transaction().execute(async (trx) => {
      await sql`select 1`.execute(trx);
      inTransaction.resolve();
      await others.promise;
      return (await sql<{ two: number }>`select 2 as two`.execute(trx)).rows;
    });
    await inTransaction.promise;
    const failure = await sql`select 1`.execute(db).then(() => undefined, (failure: unknown) => failure);
    assert(isUnavailable(failure), String(failure));
    others.resolve();
    assert.deepEqual(await transaction, [{ two: 2 }]);
    assert.deepEqual((await sql<{ three: number }>`select 3 as three`.execute(db)).rows, [{ three: 3 }]);
    await db.destroy();
  } finally {
    await admin.unsafe(`drop role ${role}`);
    await admin.end();
  }
});

Deno.test("a transaction that breaks on a pool that was given up leaves the new pool alone", async () => {
  await using database = await newDatabase();
  let opened = 0;
  const open = () => (opened++, postgres(database.url, { max: 2, onnotice: () => {} }));
  const db = new Kysely<unknown>({ dialect: new PoolDialect(open) });
  const breakConnection = sql`select pg_terminate_backend(pg_backend_pid())`;
  const transaction = db.transaction().execute(async (trx) => {
    await sql`select 1`.execute(trx);
    await assert.rejects(breakConnection.execute(db));
    assert.equal(opened, 2);
    await breakConnection.execute(trx);
  });
  await assert.rejects(transaction);
  assert.deepEqual((await sql<{ one: number }>`select 1 as one`.execute(db)).rows, [{ one: 1 }]);
  assert.equal(opened, 2);
  await db.destroy();
});
