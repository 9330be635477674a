/** SIGTERM while something never ends. These tests wait for the limits of the server, so they wait together. */
import assert from "node:assert/strict";
import { sql } from "kysely";
import { connect } from "../../src/database/connect.ts";
import { newDatabase, untilWaiting } from "../support/database.ts";
import { newDataFolder, startServerProcess } from "../support/process.ts";
import { testSecret } from "../support/server.ts";

async function stopDuringBody(): Promise<void> {
  await using folder = await newDataFolder();
  await using sandbox = await startServerProcess("start", { DATA_DIR: folder.path });
  const token = /^User token: +(\S+)$/m.exec(sandbox.stdout())?.[1];
  const { hostname, port, host } = new URL(sandbox.url);
  const connection = await Deno.connect({ hostname, port: Number(port) });
  const head = `POST /api/v1/bookings HTTP/1.1\r\nHost: ${host}\r\nAuthorization: Bearer ${token}\r\n` +
    "Content-Type: application/json\r\nContent-Length: 10\r\nExpect: 100-continue\r\n\r\n";
  await connection.write(new TextEncoder().encode(head));
  await connection.read(new Uint8Array(100));
  sandbox.signal("SIGTERM");
  const { code, stderr } = await sandbox.end();
  assert.equal(code, 0, stderr);
  assert.equal(await folder.hasPostgres(), false);
  connection.close();
}

async function stopDuringSweep(): Promise<void> {
  await using database = await newDatabase();
  await using server = await startServerProcess("serve", { DATABASE_URL: database.url, AUTH_JWT_SECRET: testSecret });
  // A transaction that stays open for longer than usual.
  const db = connect({ url: database.url, pool: 2, hasTimeLimits: false });
  await db.transaction().execute(async (trx) => {
    // This mode takes no transaction id. With one, the feeds of all other tests would wait as long.
    await sql`lock table bookings in exclusive mode`.execute(trx);
    await untilWaiting(db, 1);
    server.signal("SIGTERM");
    const { code, stderr } = await server.end();
    assert.equal(code, 0, stderr);
  }).finally(() => db.destroy());
}

Deno.test("drain: a body that never arrives, a sweep that waits for a lock -> exit 0", async () => {
  const ends = await Promise.allSettled([stopDuringBody(), stopDuringSweep()]);
  assert.deepEqual(ends.filter(({ status }) => status === "rejected"), []);
});

Deno.test("drain: SIGTERM while the log waits to be written -> an entry for each answered request", async () => {
  await using database = await newDatabase();
  await using server = await startServerProcess("serve", { DATABASE_URL: database.url, AUTH_JWT_SECRET: testSecret });
  const answered: string[] = [];
  let isStopping = false;
  await Promise.all(Array.from({ length: 16 }, async (_, client) => {
    for (let request = 0; request < 200; request++) {
      const id = `${client}-${request}`;
      const init = { headers: { "X-Request-Id": id }, signal: AbortSignal.timeout(20_000) };
      const response = await fetch(`${server.url}/healthz`, init).catch(() => undefined);
      // A refused connection: the server has stopped listening.
      if (response === undefined) return;
      await response.body?.cancel();
      assert.equal(response.status, 200, "the process lives while it drains");
      answered.push(id);
      if (answered.length < 1_000 || isStopping) continue;
      isStopping = true;
      server.signal("SIGTERM");
    }
  }));
  const { code, stdout, stderr } = await server.end();
  assert.equal(code, 0, stderr);
  assert(answered.length >= 1_000);
  const logged = stdout.split("\n").filter((line) => line.includes('"message":"request"'))
    .map((line): unknown => JSON.parse(line).requestId);
  assert.deepEqual(answered.filter((id) => !logged.includes(id)), []);
  assert.equal(new Set(logged).size, logged.length);
});
