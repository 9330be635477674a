/** A stop that somebody tries to hold up. In a file of its own, because it waits for the server's limits. */
import assert from "node:assert/strict";
import postgres from "postgres";
import { newDatabase } from "../support/database.ts";
import { eventually, newDataFolder, startServerProcess } from "../support/process.ts";
import { testSecret } from "../support/server.ts";

Deno.test("SIGTERM is not held up by a body that never comes", async () => {
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
});

Deno.test("SIGTERM is not held up by a sweep that waits for a lock", async () => {
  await using database = await newDatabase();
  await using server = await startServerProcess("serve", { DATABASE_URL: database.url, AUTH_JWT_SECRET: testSecret });
  const sql = postgres(database.url, { max: 2 });
  try {
    const holder = await sql.reserve();
    await holder`begin`;
    await holder`lock table bookings in access exclusive mode`;
    await eventually(async () =>
      (await sql`
        select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'
      `).length > 0
    );
    server.signal("SIGTERM");
    const { code, stderr } = await server.end();
    assert.equal(code, 0, stderr);
    holder.release();
  } finally {
    await sql.end({ timeout: 0 });
  }
});
