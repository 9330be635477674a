import assert from "node:assert/strict";
import { Problem } from "../../generated/contract.ts";
import { lockApiKey } from "../../src/auth/api_key_queries.ts";
import { allRows } from "../contract/example_calls.ts";
import { findApiKey, newApiKey, revoke } from "../support/api_keys.ts";
import { newDatabase, untilWaiting } from "../support/database.ts";
import { eventually } from "../support/process.ts";
import { startServer, type TestServer } from "../support/server.ts";

const auditEntries = (server: TestServer) =>
  server.db.selectFrom("audit_log").select(["resource_id", "before", "after"]).where("operation", "=", "revokeApiKey")
    .execute();

Deno.test("revokeApiKey ends a key for good, which the list and the audit log show", async () => {
  await using server = await startServer();
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

Deno.test("revokeApiKey changes nothing the second time, nor when several do it at once", async () => {
  await using server = await startServer({ pool: 8 });
  const { apiKey } = await newApiKey(server);
  const rivals = await server.db.transaction().execute(async (trx) => {
    await lockApiKey(trx, apiKey.id);
    const revocations = Promise.all(Array.from({ length: 4 }, () => revoke(server, apiKey)));
    await untilWaiting(server.db, 4);
    // Not awaited before the transaction has ended, since that is what they wait for.
    return { revocations };
  });
  await rivals.revocations;
  assert.equal((await auditEntries(server)).length, 1);
  const before = await allRows(server.db);
  await revoke(server, apiKey);
  assert.deepEqual(await allRows(server.db), before);
});

Deno.test("revokeApiKey answers 404 api_key_not_found when there is no such key", async () => {
  await using server = await startServer();
  const { apiKey } = await newApiKey(server);
  const token = await server.token("admin", "admin");
  for (const apiKeyId of [apiKey.id + 1, Number.MAX_SAFE_INTEGER]) {
    await server.refused("api_key_not_found", "revokeApiKey", { token, params: { apiKeyId } });
  }
  assert.deepEqual(await auditEntries(server), []);
});

Deno.test("revokeApiKey answers 403 admin_required to a user, and to a key, be it its own", async () => {
  await using server = await startServer();
  const { apiKey, key } = await newApiKey(server);
  for (const token of [await server.token("alice"), key]) {
    await server.refused("admin_required", "revokeApiKey", { token, params: { apiKeyId: apiKey.id } });
  }
  await server.ok("getMe", { token: key });
});

Deno.test("revokeApiKey takes effect within a second on every server, however often the key is used", async () => {
  await using database = await newDatabase();
  await using here = await startServer({ database });
  await using there = await startServer({ database });
  const { apiKey, key: token } = await newApiKey(here);
  // Both have just seen that it is good.
  for (const server of [here, there]) await server.ok("getMe", { token });
  await revoke(here, apiKey);
  const revokedAt = performance.now();
  await Promise.all([here, there].map((server) =>
    eventually(async () => {
      const askedMs = performance.now() - revokedAt;
      const { status, body } = await server.call("getMe", { token });
      if (status >= 400) return Problem.parse(body).code === "token_invalid";
      assert(askedMs < 1_000, `let in ${askedMs} ms after it was revoked`);
      return false;
    })
  ));
});
