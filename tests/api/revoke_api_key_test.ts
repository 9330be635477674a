import assert from "node:assert/strict";
import { lockApiKey } from "../../src/auth/api_key_queries.ts";
import { allRows } from "../contract/example_calls.ts";
import { findApiKey, newApiKey, revoke } from "../support/api_keys.ts";
import { missingId } from "../support/builders.ts";
import { untilWaiting } from "../support/database.ts";
import { stopMonotonicTime } from "../support/machine_time.ts";
import { sharedServer, startServer, type TestServer } from "../support/server.ts";

/** Audit entries of revocations by this test's admin. */
async function auditEntries(server: TestServer) {
  const { id: userId } = await server.ok("getMe", { token: await server.token("admin", "admin") });
  return await server.db.selectFrom("audit_log").select(["resource_id", "before", "after"])
    .where("operation", "=", "revokeApiKey").where("user_id", "=", userId).execute();
}

Deno.test("revokeApiKey: active key -> refused from then on, listed and logged as revoked", async () => {
  await using server = await sharedServer();
  const { apiKey, key } = await newApiKey(server);
  const { key: other } = await newApiKey(server);
  const before = Date.now();
  const token = await server.token("admin", "admin");
  const answer = await server.ok("revokeApiKey", { token, params: { apiKeyId: apiKey.id } });
  assert.deepEqual(answer, { message: "API key revoked" });
  await server.refused("token_invalid", "getMe", { token: key });
  await server.ok("getMe", { token: other });

  const listed = await findApiKey(server, apiKey);
  const revokedAt = listed?.revokedAt ?? "";
  assert(before <= Date.parse(revokedAt) && Date.parse(revokedAt) <= Date.now(), "by the machine's time");
  assert.deepEqual(listed, { ...apiKey, revokedAt });
  assert.deepEqual(await auditEntries(server), [{ resource_id: apiKey.id, before: apiKey, after: listed }]);
});

Deno.test("revokeApiKey: 4 at once, then again -> one change", async () => {
  await using server = await startServer({ pool: 8 });
  const { apiKey } = await newApiKey(server);
  const rivals = await server.db.transaction().execute(async (trx) => {
    await lockApiKey(trx, apiKey.id);
    const revocations = Promise.all(Array.from({ length: 4 }, () => revoke(server, apiKey)));
    await untilWaiting(server.db, 4);
    // They wait for this transaction, so they are awaited after it.
    return { revocations };
  });
  await rivals.revocations;
  assert.equal((await auditEntries(server)).length, 1);
  const before = await allRows(server.db);
  await revoke(server, apiKey);
  assert.deepEqual(await allRows(server.db), before);
});

Deno.test("revokeApiKey: unknown key -> 404 api_key_not_found", async () => {
  await using server = await sharedServer();
  const token = await server.token("admin", "admin");
  for (const apiKeyId of [missingId, Number.MAX_SAFE_INTEGER]) {
    await server.refused("api_key_not_found", "revokeApiKey", { token, params: { apiKeyId } });
  }
  assert.deepEqual(await auditEntries(server), []);
});

Deno.test("revokeApiKey: user, or the key itself -> 403 admin_required", async () => {
  await using server = await sharedServer();
  const { apiKey, key } = await newApiKey(server);
  for (const token of [await server.token("alice"), key]) {
    await server.refused("admin_required", "revokeApiKey", { token, params: { apiKeyId: apiKey.id } });
  }
  await server.ok("getMe", { token: key });
});

Deno.test("revokeApiKey: key in use on two servers -> refused by both within a second", async () => {
  await using here = await sharedServer();
  await using there = await startServer({ database: { url: here.databaseUrl } });
  const servers = [here, there];
  const { apiKey, key: token } = await newApiKey(here);
  using time = stopMonotonicTime();
  // Now both have cached the key.
  for (const server of servers) await server.ok("getMe", { token });
  await revoke(here, apiKey);
  // Use of the key must not extend its time in the cache.
  for (let quarter = 0; quarter < 3; quarter++) {
    time.moveAhead(250);
    for (const server of servers) await server.call("getMe", { token });
  }
  time.moveAhead(249);
  for (const server of servers) await server.refused("token_invalid", "getMe", { token });
});
