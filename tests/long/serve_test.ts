/** Production: `deno task serve` with a database and least privilege. */
import assert from "node:assert/strict";
import { sql } from "kysely";
import { connect } from "../../src/database/connect.ts";
import { newBooking, newRoom, newTimeslots } from "../support/builders.ts";
import { newDatabase } from "../support/database.ts";
import { type ServerProcess, startServerProcess } from "../support/process.ts";
import { send, startServer, testSecret } from "../support/server.ts";

const jsonWebToken = /eyJ[\w-]+\.[\w-]+\.[\w-]+/;

function startProduction(databaseUrl: string, env: Record<string, string> = {}): Promise<ServerProcess> {
  return startServerProcess("serve", { DATABASE_URL: databaseUrl, AUTH_JWT_SECRET: testSecret, ...env });
}

async function get(url: string): Promise<{ status: number; text: string }> {
  const response = await fetch(url);
  return { status: response.status, text: await response.text() };
}

/** Names of all rooms. */
async function roomNames({ url }: ServerProcess): Promise<string[]> {
  const { status, text } = await get(`${url}/api/v1/bookings/rooms?active=false`);
  assert.equal(status, 200);
  return (JSON.parse(text) as { items: { name: string }[] }).items.map(({ name }) => name);
}

Deno.test("serve: empty database -> migrated and served, without demo, tokens or sandbox", async () => {
  await using database = await newDatabase({ migrated: false });
  await using server = await startProduction(database.url);

  assert.deepEqual(await get(`${server.url}/healthz`), { status: 200, text: '{"status":"ok"}' });
  assert.deepEqual(await get(`${server.url}/readyz`), { status: 200, text: '{"status":"ready"}' });
  assert.deepEqual(await roomNames(server), []);

  const docs = await get(`${server.url}/docs`);
  assert.equal(docs.status, 200);
  assert.doesNotMatch(docs.text, jsonWebToken);
  assert.equal((await get(`${server.url}/docs/scalar.js`)).status, 200);

  server.signal("SIGTERM");
  const { code, stdout, stderr } = await server.end();
  assert.equal(code, 0);
  assert.doesNotMatch(stdout + stderr, jsonWebToken);
  assert(!stdout.includes(testSecret) && !stdout.includes(new URL(database.url).password));
  for (const line of stdout.trim().split("\n")) JSON.parse(line);
});

Deno.test("serve: five servers start on one empty database -> one migrates, one inserts the demo", async () => {
  await using database = await newDatabase({ migrated: false });
  const starts = Array.from({ length: 5 }, () => startProduction(database.url, { DEMO_DATA: "true" }));
  await using servers = new AsyncDisposableStack();
  for (const start of await Promise.allSettled(starts)) if (start.status === "fulfilled") servers.use(start.value);
  const processes = await Promise.all(starts);

  const migrated = processes.flatMap((server) => server.stdout().match(/"message":"migrated".*/g) ?? []);
  assert.equal(migrated.length, 1, migrated.join("\n"));
  const answers = await Promise.all(processes.map(roomNames));
  for (const names of answers) assert.deepEqual(names, answers[0]);
  assert(answers[0] !== undefined && answers[0].length > 0);
  assert.equal(new Set(answers[0]).size, answers[0].length, "a demo room was inserted twice");
});

Deno.test("serve: DEMO_DATA with rooms in the database -> no demo", async () => {
  await using existing = await startServer();
  const { name } = await newRoom(existing);
  await using server = await startProduction(existing.databaseUrl, { DEMO_DATA: "true", SANDBOX: "true" });
  assert.deepEqual(await roomNames(server), [name]);
  assert.deepEqual(await existing.db.selectFrom("timeslots").selectAll().execute(), []);
});

Deno.test("serve: DEMO_DATA with users in the database -> no demo", async () => {
  await using existing = await startServer();
  await existing.ok("getMe", { token: await existing.token("alice") });
  await using server = await startProduction(existing.databaseUrl, { DEMO_DATA: "true" });
  assert.deepEqual(await roomNames(server), []);
});

Deno.test("getReadiness: migrations missing -> 503, getHealth 200", async () => {
  await using database = await newDatabase();
  await using server = await startProduction(database.url);
  const db = connect({ url: database.url, pool: 1 });
  try {
    await sql`delete from kysely_migration`.execute(db);
  } finally {
    await db.destroy();
  }
  assert.equal((await get(`${server.url}/readyz`)).status, 503);
  assert.equal((await get(`${server.url}/healthz`)).status, 200);
});

Deno.test("listBookings: machine in another time zone -> the same days", async () => {
  await using base = await startServer();
  const workingHours = { start: "00:00", end: "24:00" };
  const slots = await newTimeslots(base, await newRoom(base), { date: "2026-03-09", workingHours });
  for (const slot of slots) await newBooking(base, "alice", slot);
  await using server = await startProduction(base.databaseUrl, { TZ: "America/New_York" });
  const query = { from_date: "2026-03-09", to_date: "2026-03-09T23:00:00", limit: 100 };
  const { text } = await send(server.url, "listBookings", { token: await base.token("alice"), query });
  assert.equal(JSON.parse(text).total, 24, text);
});
