/** getHealth and getReadiness: the probes of an orchestrator or a load balancer. */
import assert from "node:assert/strict";
import { sql } from "kysely";
import { connect } from "../../src/database/connect.ts";
import { migrate } from "../../src/boot/migrate.ts";
import { newApp } from "../support/app.ts";
import { createDatabase, dropDatabase, newDatabase, nowhere, templateDatabase } from "../support/database.ts";
import { type OperationId, send, sharedServer, startServer } from "../support/server.ts";

/** A server on a database that is not ready or cannot be reached. */
async function startUnready(databaseUrl: string): Promise<AsyncDisposable & { url: string }> {
  const app = await newApp(databaseUrl);
  const http = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen: () => {} }, app.fetch);
  return {
    url: `http://127.0.0.1:${http.addr.port}`,
    async [Symbol.asyncDispose]() {
      await http.shutdown();
      await app[Symbol.asyncDispose]();
    },
  };
}

/** The HTTP status, and the body's `status` or `code`. */
async function probe(url: string, id: OperationId): Promise<unknown[]> {
  const { status, text } = await send(url, id, {});
  const body: { status: unknown; code?: unknown } = JSON.parse(text);
  return [status, body.code ?? body.status];
}

const alive = [200, "ok"];
const ready = [200, "ready"];
const unready = [503, "service_unavailable"];

Deno.test("getHealth, getReadiness: migrated database, no token -> 200", async () => {
  await using server = await sharedServer();
  assert.deepEqual(await server.ok("getHealth"), { status: "ok" });
  assert.deepEqual(await server.ok("getReadiness"), { status: "ready" });
});

Deno.test("getReadiness: empty database -> 503 service_unavailable and no tables, after migration 200", async () => {
  await using database = await newDatabase({ migrated: false });
  await using server = await startUnready(database.url);
  const db = connect({ url: database.url, pool: 1 });
  try {
    assert.deepEqual(await probe(server.url, "getReadiness"), unready);
    assert.deepEqual(await probe(server.url, "getHealth"), alive);
    const { rows } = await sql`select 1 from pg_tables where schemaname = 'public'`.execute(db);
    assert.equal(rows.length, 0);
    await migrate(database.url);
    assert.deepEqual(await probe(server.url, "getReadiness"), ready);
  } finally {
    await db.destroy();
  }
});

Deno.test("getReadiness: latest migration missing -> 503 service_unavailable", async () => {
  await using server = await startServer();
  await sql`delete from kysely_migration where name = (select max(name) from kysely_migration)`.execute(server.db);
  const { status, detail } = await server.refused("service_unavailable", "getReadiness");
  assert.equal(status, 503);
  assert(detail.includes("not migrated"), detail);
});

Deno.test("getReadiness: unreachable database -> 503 service_unavailable with Retry-After, getHealth 200", async () => {
  await using server = await startUnready(nowhere);
  assert.deepEqual(await probe(server.url, "getReadiness"), unready);
  assert((await send(server.url, "getReadiness", {})).headers.has("Retry-After"));
  assert.deepEqual(await probe(server.url, "getHealth"), alive);
});

Deno.test("getReadiness: database dropped and created again -> 503 service_unavailable, then 200", async () => {
  await using server = await startServer();
  const adminUrl = Deno.env.get("TEST_DATABASE_URL") ?? "";
  const name = new URL(server.databaseUrl).pathname.slice(1);
  assert.deepEqual(await probe(server.url, "getReadiness"), ready);
  await dropDatabase(adminUrl, name);
  assert.deepEqual(await probe(server.url, "getReadiness"), unready);
  assert.deepEqual(await probe(server.url, "getReadiness"), unready);
  assert.deepEqual(await probe(server.url, "getHealth"), alive);
  await createDatabase(adminUrl, name, templateDatabase);
  assert.deepEqual(await probe(server.url, "getReadiness"), ready);
});
