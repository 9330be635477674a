/** When the pool of connections is replaced, and when it is not. */
import assert from "node:assert/strict";
import { Kysely, sql } from "kysely";
import postgres from "postgres";
import { connect, type Database } from "../../src/database/connect.ts";
import { PoolDialect } from "../../src/database/driver.ts";
import { isUnavailable } from "../../src/database/failures.ts";
import { newRoomWithTimeslot } from "../support/builders.ts";
import { newDatabase } from "../support/database.ts";
import { startServer } from "../support/server.ts";

Deno.test("a transaction goes on while other statements are refused for too many connections", async () => {
  await using database = await newDatabase();
  const admin = postgres(database.url, { max: 1, onnotice: () => {} });
  const role = `limited_${crypto.randomUUID().replaceAll("-", "")}`;
  const url = new URL(database.url);
  [url.username, url.password] = [role, "limited"];
  try {
    await admin.unsafe(`create role ${role} login password 'limited' connection limit 2`);
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
    const statements = await Promise.allSettled([1, 2, 3].map(() => sql`select 1`.execute(db)));
    const refused = statements.flatMap((each) => each.status === "rejected" ? [each.reason] : []);
    assert(refused.length > 0 && refused.every(isUnavailable), String(refused));
    others.resolve();
    assert.deepEqual(await transaction, [{ two: 2 }]);
    assert.deepEqual((await sql<{ three: number }>`select 3 as three`.execute(db)).rows, [{ three: 3 }]);
    await db.destroy();
  } finally {
    await admin.unsafe(`drop role ${role}`);
    await admin.end();
  }
});

Deno.test("of two transactions that break one after the other only the first has the pool replaced", async () => {
  await using database = await newDatabase();
  let opened = 0;
  const open = () => (opened++, postgres(database.url, { max: 2, onnotice: () => {} }));
  const db = new Kysely<unknown>({ dialect: new PoolDialect(open) });
  assert.equal(opened, 2, "one for statements, one for transactions");
  const breakConnection = sql`select pg_terminate_backend(pg_backend_pid())`;
  const outer = db.transaction().execute(async (trx) => {
    await sql`select 1`.execute(trx);
    await assert.rejects(db.transaction().execute((inner) => breakConnection.execute(inner)));
    assert.equal(opened, 3);
    await breakConnection.execute(trx);
  });
  await assert.rejects(outer);
  assert.equal(opened, 3);
  await db.transaction().execute(async (trx) => {
    assert.deepEqual((await sql<{ one: number }>`select 1 as one`.execute(trx)).rows, [{ one: 1 }]);
  });
  assert.deepEqual((await sql<{ one: number }>`select 1 as one`.execute(db)).rows, [{ one: 1 }]);
  assert.equal(opened, 3);
  await db.destroy();
});

Deno.test("transactions and hundreds of statements at once, on connections that are all new, are not mixed up", async () => {
  await using database = await newDatabase();
  const db = new Kysely<unknown>({
    dialect: new PoolDialect(() => postgres(database.url, { max: 4, onnotice: () => {} })),
  });
  const numbers = Array.from({ length: 500 }, (_, index) => index);
  // Each statement is of its own, so that each has to be described first.
  const ask = (executor: Kysely<unknown>, number: number) =>
    sql<{ n: number }>`select ${number}::integer as n, ${sql.lit(number)} as one`.execute(executor);
  const answers = await Promise.all(numbers.map(async (number) => {
    const own = await ask(db, number);
    const inside = await db.transaction().execute(async (trx) => {
      await ask(trx, number);
      return await ask(trx, number + 1);
    });
    return [own.rows[0]?.n, inside.rows[0]?.n];
  }));
  assert.deepEqual(answers, numbers.map((number) => [number, number + 1]));
  await db.destroy();
});

Deno.test("a connection asks for nothing of its own that could break behind everybody's back", async () => {
  await using database = await newDatabase();
  const db = connect({ url: database.url, pool: 1 });
  try {
    const { rows } = await sql<{ asked: string }>`
      select string_agg(query, ';') as asked from pg_stat_activity where pid = pg_backend_pid()
    `.execute(db);
    assert.match(rows[0]?.asked ?? "", /^\s+select string_agg/);
    // What postgres.js would have asked for: how arrays of each type are read.
    const arrays = await sql<{ list: unknown }>`select array[1, 2] as list`.execute(db);
    assert.deepEqual(arrays.rows, [{ list: "{1,2}" }]);
  } finally {
    await db.destroy();
  }
});

Deno.test("a transaction has time limits, a statement of its own and a migration have none", async () => {
  await using database = await newDatabase();
  const limitsOf = async (db: Kysely<Database>) => {
    const names = ["idle_in_transaction_session_timeout", "statement_timeout", "lock_timeout"];
    const { rows } = await sql<{ limits: string }>`select ${
      sql.join(names.map((name) => sql`current_setting(${name})`), sql` || ' ' || `)
    } as limits`
      .execute(db);
    return rows[0]?.limits;
  };
  const db = connect({ url: database.url, pool: 1 });
  const unlimited = connect({ url: database.url, pool: 1, hasTimeLimits: false });
  try {
    assert.equal(await db.transaction().execute(limitsOf), "10s 30s 5s");
    assert.equal(await limitsOf(db), "0 0 0");
    assert.equal(await unlimited.transaction().execute(limitsOf), "0 0 0");
    // The connection of the first transaction has none left over.
    assert.equal(await db.transaction().execute(limitsOf), "10s 30s 5s");
  } finally {
    await Promise.all([db.destroy(), unlimited.destroy()]);
  }
});

Deno.test("a change that does not get its lock within 5 seconds is refused as unavailable, and leaves nothing behind", async () => {
  await using server = await startServer();
  const { timeslot: { id: timeslotId, roomId } } = await newRoomWithTimeslot(server);
  const call = {
    token: await server.token("alice"),
    body: { roomId, timeslotId },
    headers: { "Idempotency-Key": "1" },
  };
  const held = Promise.withResolvers<void>();
  const begun = Promise.withResolvers<void>();
  const holder = server.db.transaction().execute(async (trx) => {
    // It waits for longer than a transaction may.
    await sql`set local idle_in_transaction_session_timeout = 0`.execute(trx);
    await trx.selectFrom("timeslots").select("id").where("id", "=", timeslotId).forUpdate().execute();
    begun.resolve();
    await held.promise;
  });
  await begun.promise;
  await server.refused("service_unavailable", "createBooking", call);
  held.resolve();
  await holder;
  await server.ok("createBooking", call);
});

Deno.test("a change that loses to others each time it is tried is refused as unavailable, and leaves nothing behind", async () => {
  await using server = await startServer();
  const { db } = server;
  const { timeslot: { id: timeslotId, roomId } } = await newRoomWithTimeslot(server);
  const token = await server.token("alice");
  const body = { roomId, timeslotId };
  // In the place of rivals that are always faster.
  await sql`create sequence attempts`.execute(db);
  await sql`create function lose() returns trigger language plpgsql as $$
    begin perform nextval('attempts'); raise exception 'lost' using errcode = 'serialization_failure'; end $$`.execute(
    db,
  );
  await sql`create trigger lose before insert on bookings for each row execute function lose()`.execute(db);
  for (const headers of [{}, { "Idempotency-Key": "1" }]) {
    await server.refused("service_unavailable", "createBooking", { token, body, headers });
  }
  const { rows } = await sql<{ attempts: string }>`select last_value as attempts from attempts`.execute(db);
  assert.equal(Number(rows[0]?.attempts), 20);
  await sql`drop trigger lose on bookings`.execute(db);
  await server.ok("createBooking", { token, body, headers: { "Idempotency-Key": "1" } });
});
