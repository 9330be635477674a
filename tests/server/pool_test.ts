/** The pool of connections: its replacement, its time limits, and transactions that fail. */
import assert from "node:assert/strict";
import { setImmediate } from "node:timers";
import { Kysely, sql, type Transaction } from "kysely";
import postgres from "postgres";
import { connect, type Database } from "../../src/database/connect.ts";
import { PoolDialect } from "../../src/database/driver.ts";
import { isConnectionLost, isUnavailable } from "../../src/database/failures.ts";
import { prepared } from "../../src/database/prepared.ts";
import { runTransaction } from "../../src/database/transactions.ts";
import { newRoomWithTimeslot } from "../support/builders.ts";
import { lockRows } from "../support/database.ts";
import { eventually } from "../support/process.ts";
import { sharedServer, startServer, type TestServer } from "../support/server.ts";

Deno.test("pool: too many connections -> other statements are refused, the open transaction continues", async () => {
  const { databaseUrl: url } = await sharedServer();
  const admin = postgres(url, { max: 1, onnotice: () => {} });
  const role = `limited_${crypto.randomUUID().replaceAll("-", "")}`;
  const limited = new URL(url);
  [limited.username, limited.password] = [role, "limited"];
  try {
    await admin.unsafe(`create role ${role} login password 'limited' connection limit 2`);
    const db = connect({ url: limited.href, pool: 4 });
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

Deno.test("pool: two connections break one after the other -> one new pool", async () => {
  const { databaseUrl: url } = await sharedServer();
  let opened = 0;
  const open = (max: number) => (opened++, postgres(url, { max, onnotice: () => {} }));
  const db = new Kysely<unknown>({ dialect: new PoolDialect(open, { max: 2 }) });
  assert.equal(opened, 1, "one for transactions");
  const breakConnection = sql`select pg_terminate_backend(pg_backend_pid())`;
  const outer = db.transaction().execute(async (trx) => {
    await sql`select 1`.execute(trx);
    await assert.rejects(db.transaction().execute((inner) => breakConnection.execute(inner)));
    assert.equal(opened, 2);
    await breakConnection.execute(trx);
  });
  await assert.rejects(outer);
  assert.equal(opened, 2);
  await db.transaction().execute(async (trx) => {
    assert.deepEqual((await sql<{ one: number }>`select 1 as one`.execute(trx)).rows, [{ one: 1 }]);
  });
  assert.deepEqual((await sql<{ one: number }>`select 1 as one`.execute(db)).rows, [{ one: 1 }]);
  assert.equal(opened, 3);
  await db.destroy();
});

const breakConnection = prepared((db, _: object) =>
  db.selectNoFrom(sql<boolean>`pg_terminate_backend(pg_backend_pid())`.as("isBroken"))
);
const slowOne = prepared((db, _: object) => db.selectNoFrom(sql<number>`1 + length(pg_sleep(0.1)::text)`.as("one")));
const settingOf = prepared((db, { name }: { name: string }) =>
  db.selectNoFrom(sql<string>`current_setting(${name}::text)`.as("value"))
);

Deno.test("pool: prepared statement breaks its connection -> others in flight end, one new pool", async () => {
  const { databaseUrl: url } = await sharedServer();
  const clients = new Set<postgres.Sql>();
  const open = (max: number) => {
    const client = postgres(url, { max, onnotice: () => {} });
    clients.add(client);
    return client;
  };
  const db = new Kysely<Database>({ dialect: new PoolDialect(open, { max: 3 }) });
  try {
    await sql`select 1`.execute(db);
    const others = [slowOne(db, {}), slowOne(db, {})];
    await assert.rejects(breakConnection(db, {}), isConnectionLost);
    assert.equal(clients.size, 1 + 3, "one for transactions, three for statements");
    assert.deepEqual((await slowOne(db, {})).length, 1);
    assert.equal(clients.size, 1 + 3 + 1);
    assert.deepEqual((await Promise.all(others)).map(([row]) => row?.one), [1, 1]);
    await Promise.all(Array.from({ length: 30 }, () => slowOne(db, {})));
    assert.equal(clients.size, 1 + 3 + 3);
  } finally {
    await db.destroy();
  }
});

const pidOf = (db: Kysely<Database>) => db.selectNoFrom(sql<number>`pg_backend_pid()`.as("pid"));
const briefPid = prepared((db, _: object) => pidOf(db), { isBrief: true });
const lockedPid = prepared((db, { key }: { key: number }) =>
  pidOf(db).select(sql`pg_advisory_xact_lock(${key}::bigint)`.as("locked"))
);

Deno.test("pool: brief statements of one turn -> on one connection, never behind a statement that waits", async () => {
  const { databaseUrl: url } = await sharedServer();
  const db = connect({ url, pool: 3 });
  const key = Math.floor(Math.random() * 2 ** 40);
  try {
    const { brief, later, waiting } = await db.transaction().execute(async (trx) => {
      await sql`select pg_advisory_xact_lock(${key}::bigint)`.execute(trx);
      const first = briefPid(db, {});
      const waiting = [lockedPid(db, { key })];
      const brief = await Promise.all([first, briefPid(db, {}), briefPid(db, {})]);
      // It takes the connection of the brief ones, which is idle now.
      waiting.push(lockedPid(db, { key }));
      const later = await briefPid(db, {});
      return { brief, later, waiting: Promise.all(waiting) };
    });
    const pidsOf = (results: { pid: number }[][]) => new Set(results.map(([row]) => row?.pid));
    assert.equal(pidsOf(brief).size, 1);
    assert.deepEqual(pidsOf(await waiting).intersection(pidsOf([later])), new Set());
    assert.equal(pidsOf([...brief, later, ...await waiting]).size, 3);
  } finally {
    await db.destroy();
  }
});

Deno.test("pool: all connections wait for locks -> brief statements of one turn are spread over them", async () => {
  const { databaseUrl: url } = await sharedServer();
  const db = connect({ url, pool: 2 });
  const [first, second] = [1, 2].map(() => Math.floor(Math.random() * 2 ** 40));
  assert(first !== undefined && second !== undefined);
  const hold = (key: number) => lockRows(db, (trx) => sql`select pg_advisory_xact_lock(${key}::bigint)`.execute(trx));
  try {
    const [one, two] = [await hold(first), await hold(second)];
    const waiting = [first, second].map((key) => lockedPid(db, { key }));
    let answered = 0;
    const brief = [1, 2, 3, 4].map(() => briefPid(db, {}).then(() => answered++));
    await two.release();
    await eventually(() => Promise.resolve(answered === 2));
    await one.release();
    await Promise.all([...waiting, ...brief]);
  } finally {
    await db.destroy();
  }
});

Deno.test("pool: connection of brief statements breaks -> the next one in the same turn takes another", async () => {
  const { databaseUrl: url } = await sharedServer();
  const db = connect({ url, pool: 1 });
  try {
    await briefPid(db, {});
    let isOver = false;
    const next = breakConnection(db, {}).then(
      () => assert.fail("the connection did not break"),
      () => briefPid(db, {}),
    ).finally(() => isOver = true);
    // In each turn, so that there is a connection of this turn when the failure arrives.
    const failures: unknown[] = [];
    const others: Promise<unknown>[] = [];
    while (!isOver) {
      // postgres.js has at most 100 statements in flight.
      if (others.length < 90) others.push(briefPid(db, {}).catch((failure: unknown) => failures.push(failure)));
      await new Promise<void>((turn) => setImmediate(turn));
    }
    assert.equal((await next).length, 1);
    await Promise.all(others);
    assert(failures.every(isConnectionLost), String(failures));
  } finally {
    await db.destroy();
  }
});

Deno.test("pool: prepared statement in a transaction -> on the connection of the transaction", async () => {
  const { databaseUrl: url } = await sharedServer();
  const db = connect({ url, pool: 1 });
  const read = async (executor: Kysely<Database>) => (await settingOf(executor, { name: "lock_timeout" }))[0]?.value;
  try {
    assert.equal(await read(db), "0");
    assert.equal(await db.transaction().execute(read), "5s");
    assert.equal(await read(db), "0");
  } finally {
    await db.destroy();
  }
});

Deno.test("pool: destroyed after prepared statements only -> no connection stays, statements fail", async () => {
  const { databaseUrl: url, db: server } = await sharedServer();
  const db = connect({ url, pool: 2 });
  const { rows: [own] } = await sql<{ pid: number }>`select pg_backend_pid() as pid`.execute(server);
  const pids = prepared((db, _: object) => db.selectNoFrom(sql<number>`pg_backend_pid()`.as("pid")));
  const used = (await Promise.all([1, 2, 3].map(() => pids(db, {})))).map(([row]) => row?.pid ?? 0);
  assert(own !== undefined && !used.includes(own.pid));
  await db.destroy();
  await assert.rejects(pids(db, {}));
  await eventually(async () => {
    const { rows } = await sql`
      select from pg_stat_activity where pid = any(${`{${used.join(",")}}`}::text::integer[])
    `.execute(server);
    return rows.length === 0;
  });
});

Deno.test("pool: 250 transactions and 250 statements at once on new connections -> each gets its own result", async () => {
  const { databaseUrl: url } = await sharedServer();
  const db = new Kysely<unknown>({
    dialect: new PoolDialect((max) => postgres(url, { max, onnotice: () => {} }), { max: 4 }),
  });
  const numbers = Array.from({ length: 250 }, (_, index) => index);
  // All statements differ, so that Postgres has to describe each of them first.
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

Deno.test("pool: new connection -> no statement of its own, which could fail unnoticed", async () => {
  const { databaseUrl: url } = await sharedServer();
  const db = connect({ url, pool: 1 });
  try {
    const { rows } = await sql<{ asked: string }>`
      select string_agg(query, ';') as asked from pg_stat_activity where pid = pg_backend_pid()
    `.execute(db);
    assert.match(rows[0]?.asked ?? "", /^\s+select string_agg/);
    // By default postgres.js queries the types of arrays. Without that, arrays are texts.
    const arrays = await sql<{ list: unknown }>`select array[1, 2] as list`.execute(db);
    assert.deepEqual(arrays.rows, [{ list: "{1,2}" }]);
  } finally {
    await db.destroy();
  }
});

Deno.test("pool: transaction -> time limits, single statement or migration -> none", async () => {
  const { databaseUrl: url } = await sharedServer();
  const limitsOf = async (db: Kysely<Database>) => {
    const names = ["idle_in_transaction_session_timeout", "statement_timeout", "lock_timeout"];
    const { rows } = await sql<{ limits: string }>`select ${
      sql.join(names.map((name) => sql`current_setting(${name})`), sql` || ' ' || `)
    } as limits`
      .execute(db);
    return rows[0]?.limits;
  };
  const db = connect({ url, pool: 1 });
  const unlimited = connect({ url, pool: 1, hasTimeLimits: false });
  try {
    assert.equal(await db.transaction().execute(limitsOf), "10s 30s 5s");
    assert.equal(await limitsOf(db), "0 0 0");
    assert.equal(await unlimited.transaction().execute(limitsOf), "0 0 0");
    // Limits do not stay on the connection, so they are set for each transaction.
    assert.equal(await db.transaction().execute(limitsOf), "10s 30s 5s");
  } finally {
    await Promise.all([db.destroy(), unlimited.destroy()]);
  }
});

/** Makes each insert of a booking fail with this error of Postgres. Counts the inserts. */
async function failBookings(
  { db }: TestServer,
  error: string,
): Promise<{ attempts(): Promise<number>; end(): Promise<void> }> {
  await sql`create sequence attempts`.execute(db);
  await sql`create function fail() returns trigger language plpgsql as $$
    begin perform nextval('attempts'); raise exception 'failed' using errcode = ${sql.lit(error)}; end $$`.execute(db);
  await sql`create trigger fail before insert on bookings for each row execute function fail()`.execute(db);
  return {
    async attempts() {
      const { rows } = await sql<{ attempts: string }>`select last_value as attempts from attempts`.execute(db);
      return Number(rows[0]?.attempts);
    },
    end: async () => void await sql`drop trigger fail on bookings`.execute(db),
  };
}

for (
  const { name, error, attempts } of [
    // With a key, one statement comes before the ten transactions.
    { name: "conflict in each of 10 attempts", error: "serialization_failure", attempts: 10 + 1 + 10 },
    // tests/long/lock_timeout_test.ts waits for a real lock.
    { name: "lock timeout", error: "lock_not_available", attempts: 2 },
  ]
) {
  Deno.test(`createBooking: ${name} -> 503 service_unavailable, nothing is stored`, async () => {
    await using server = await startServer();
    const { timeslot: { id: timeslotId, roomId } } = await newRoomWithTimeslot(server);
    const token = await server.token("alice");
    const body = { roomId, timeslotId };
    const failing = await failBookings(server, error);
    for (const headers of [{}, { "Idempotency-Key": "1" }]) {
      await server.refused("service_unavailable", "createBooking", { token, body, headers });
    }
    assert.equal(await failing.attempts(), attempts);
    await failing.end();
    await server.ok("createBooking", { token, body, headers: { "Idempotency-Key": "1" } });
  });
}

const renameUser = prepared((db, { id, subject }: { id: number; subject: string }) =>
  db.updateTable("users").set({ subject }).where("id", "=", id)
);
const subjectOf = prepared((db, { id }: { id: number }) =>
  db.selectFrom("users").select("subject").where("id", "=", id)
);

Deno.test("pool: statement sent together with the commit -> in the transaction, its failure undoes the transaction", async () => {
  const { db } = await sharedServer();
  const newUser = async () => {
    const { id, subject } = await db.insertInto("users").values({ subject: `user ${crypto.randomUUID()}` })
      .returning(["id", "subject"]).executeTakeFirstOrThrow();
    return { id, subject };
  };
  const [first, second] = [await newUser(), await newUser()];
  const renameBoth = async (subjects: [string, string]): Promise<void> => {
    const { last } = await runTransaction(db, "read committed", (trx) => {
      renameUser(trx, { id: first.id, subject: subjects[0] }).catch(() => {});
      const last = renameUser(trx, { id: second.id, subject: subjects[1] });
      last.catch(() => {});
      // In an object, so that the transaction does not await it.
      return Promise.resolve({ last });
    });
    await last;
  };
  const subjects = async () =>
    [...await subjectOf(db, first), ...await subjectOf(db, second)].map((row) => row.subject);

  const [renamed, again] = [`${first.subject} renamed`, `${second.subject} renamed`];
  await renameBoth([renamed, again]);
  assert.deepEqual(await subjects(), [renamed, again]);
  // The second statement violates a unique index.
  const same = `same ${crypto.randomUUID()}`;
  await assert.rejects(renameBoth([same, same]), /users_subject_key/);
  assert.deepEqual(await subjects(), [renamed, again]);
});

Deno.test("pool: statement after the end of its transaction -> refused", async () => {
  const { db } = await sharedServer();
  let ended: Transaction<Database> | undefined;
  await runTransaction(db, "read committed", (trx) => {
    ended = trx;
    return Promise.resolve();
  });
  assert(ended);
  await assert.rejects(slowOne(ended, {}), /after the end of its transaction/);
});
