import assert from "node:assert/strict";
import { sql } from "kysely";
import { ApiKeyScope, operations, Problem } from "../../generated/contract.ts";
import { contractOperations } from "../contract/document.ts";
import { allRows, exampleCall, newExampleRows } from "../contract/example_calls.ts";
import { findApiKey, newApiKey } from "../support/api_keys.ts";
import { type Call, type OperationId, sharedServer, startServer, type TestServer } from "../support/server.ts";

async function asAdmin(server: TestServer, body: Record<string, unknown>): Promise<Call> {
  return {
    token: await server.token("admin", "admin"),
    body: { name: "Door displays", scopes: ["stats:read"], ...body },
  };
}

Deno.test("createApiKey: new key -> returned once, stored as its hash and prefix only", async () => {
  await using server = await sharedServer();
  const { apiKey, key, message } = await newApiKey(server, { name: "Door displays" });
  assert.match(key, /^slk_[0-9a-z]{8}_[\w-]{43}$/);
  assert.equal(apiKey.prefix, key.slice(0, 12));
  assert.equal(message, "Store the key now, it is not shown again.");
  assert.deepEqual([apiKey.name, apiKey.lastUsedAt, apiKey.revokedAt], ["Door displays", null, null]);
  assert.deepEqual(await findApiKey(server, apiKey), apiKey);
  await server.ok("getMe", { token: key });

  const secret = key.slice(13);
  assert(!JSON.stringify(await allRows(server.db)).includes(secret), "nowhere in the database");
  assert(!server.logged.some((line) => line.includes(secret)), "never logged");
  const { hash } = await server.db.selectFrom("api_keys").select("hash").where("id", "=", apiKey.id)
    .executeTakeFirstOrThrow();
  const digest = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(key));
  assert.equal(hash, new Uint8Array(digest).toHex());
  await server.refused("token_invalid", "getMe", { token: `${apiKey.prefix}_${hash.slice(0, 43)}` });
});

Deno.test("createApiKey: two keys of one name -> each its own user, createdBy is the admin", async () => {
  await using server = await sharedServer();
  const { id: createdBy } = await server.ok("getMe", { token: await server.token("admin", "admin") });
  const made = [await newApiKey(server, { name: " Kiosk ⏰" }), await newApiKey(server, { name: " Kiosk ⏰" })];
  for (const { apiKey, key } of made) {
    const { id, ...me } = await server.ok("getMe", { token: key });
    assert.deepEqual([id, createdBy], [apiKey.userId, apiKey.createdBy]);
    const subject = `api-key:${apiKey.prefix}`;
    assert.deepEqual(me, { subject, role: "admin", scopes: apiKey.scopes, name: " Kiosk ⏰", email: null });
  }
  assert.equal(new Set([createdBy, ...made.map(({ apiKey }) => apiKey.userId)]).size, 3);
  assert.equal(new Set(made.map(({ key }) => key)).size, 2);
});

Deno.test("createApiKey: new key -> audit entry without the key", async () => {
  await using server = await sharedServer();
  const { apiKey } = await newApiKey(server);
  const entries = await server.db.selectFrom("audit_log").selectAll().where("user_id", "=", apiKey.createdBy).execute();
  const actions = entries.map(({ operation, resource, resource_id }) => [operation, resource, resource_id]);
  assert.deepEqual(actions, [["createApiKey", "api_key", apiKey.id]]);
  assert.deepEqual([entries[0]?.before, entries[0]?.after], [null, apiKey]);
});

Deno.test("createApiKey: repeated scopes -> each once, in the contract's order", async () => {
  await using server = await sharedServer();
  const { apiKey, key } = await newApiKey(server, { scopes: ["events:read", "rooms:write", "events:read"] });
  assert.deepEqual(apiKey.scopes, ["rooms:write", "events:read"]);
  assert.deepEqual((await server.ok("getMe", { token: key })).scopes, apiKey.scopes);
  for (const scopes of [[], ["rooms:read"], ["rooms:write", "*"]]) {
    await server.refused("validation_failed", "createApiKey", await asAdmin(server, { scopes }));
  }
});

Deno.test("createApiKey: expiry ahead, with any UTC offset -> accepted", async () => {
  await using server = await sharedServer();
  const inAnHour = new Date(Date.now() + 3_600_000);
  const elsewhere = new Date(inAnHour.getTime() + 5.5 * 3_600_000).toISOString().replace("Z", "+05:30");
  const { apiKey, key } = await newApiKey(server, { expiresAt: elsewhere });
  assert.equal(apiKey.expiresAt, inAnHour.toISOString());
  await server.ok("getMe", { token: key });
  assert.equal((await newApiKey(server, { expiresAt: null })).apiKey.expiresAt, null);
});

Deno.test("createApiKey: expiry passed or after the year 9998 -> 400 validation_failed, nothing stored", async () => {
  await using server = await startServer();
  await server.ok("getMe", { token: await server.token("admin", "admin") });
  const before = await allRows(server.db);
  const wrong = ["1970-01-01T00:00:00Z", new Date().toISOString(), "9999-01-01T00:00:00Z", "9999-12-31T23:59:59-23:59"];
  for (const expiresAt of wrong) {
    const call = await asAdmin(server, { expiresAt });
    const { errors } = await server.refused("validation_failed", "createApiKey", call);
    assert.deepEqual(errors?.map(({ in: place, path }) => [place, path]), [["body", "expiresAt"]], expiresAt);
  }
  assert.deepEqual(await allRows(server.db), before);
});

Deno.test("createApiKey: random prefix belongs to another key twice -> third prefix is used", async () => {
  await using server = await startServer();
  const call = await asAdmin(server, {});
  await server.ok("getMe", { token: call.token ?? "" });
  // Inserts no user for the first two keys, as if each had one already.
  await sql`create sequence attempts`.execute(server.db);
  await sql`create function collide() returns trigger language plpgsql as $$
    begin if nextval('attempts') <= 2 then return null; end if; return new; end $$`.execute(server.db);
  await sql`create trigger collide before insert on users for each row execute function collide()`.execute(server.db);
  const { key } = await server.ok("createApiKey", call);
  const { rows } = await sql<{ attempts: number }>`select last_value as attempts from attempts`.execute(server.db);
  assert.equal(Number(rows[0]?.attempts), 3);
  await server.ok("getMe", { token: key });
  assert.equal((await server.db.selectFrom("api_keys").select("id").execute()).length, 1);
});

Deno.test("createApiKey: sandbox clock moved -> keys still follow the machine's time", async () => {
  await using server = await sharedServer({ now: "2020-01-01T00:00:00.000Z" });
  const before = Date.now();
  const expiresAt = new Date(before + 3_600_000).toISOString();
  const { apiKey, key } = await newApiKey(server, { expiresAt });
  const createdAt = Date.parse(apiKey.createdAt);
  assert(before <= createdAt && createdAt <= Date.now(), apiKey.createdAt);
  server.clock.set("2040-01-01T00:00:00.000Z");
  await server.ok("getMe", { token: key });
  await server.refused("validation_failed", "createApiKey", await asAdmin(server, { expiresAt: apiKey.createdAt }));
});

Deno.test("createApiKey: called by a user or an API key -> 403 admin_required", async () => {
  await using server = await sharedServer();
  const { key } = await newApiKey(server);
  const { body } = await asAdmin(server, {});
  for (const token of [await server.token("alice"), key]) {
    await server.refused("admin_required", "createApiKey", { token, body });
  }
});

/** The problem code, if the call failed because of its caller. */
async function accessRefusal(server: TestServer, id: OperationId, call: Call): Promise<string | undefined> {
  const { status, body } = await server.call(id, call);
  const code = status < 400 ? undefined : Problem.parse(body).code;
  return ["scope_missing", "admin_required", "token_invalid"].find((each) => each === code);
}

Deno.test("createApiKey: key with one scope -> may call the operations of that scope only", async (t) => {
  await using server = await sharedServer();
  const ids = await newExampleRows(server);
  const notPublic = contractOperations.filter(({ operationId }) => operations[operationId].access !== "public");
  for (const scope of ApiKeyScope.options) {
    assert(notPublic.some(({ operationId }) => operations[operationId].scope === scope), `no operation needs ${scope}`);
    await t.step(scope, async () => {
      const { key: alone } = await newApiKey(server, { scopes: [scope] });
      const { key: others } = await newApiKey(server, { scopes: ApiKeyScope.options.filter((each) => each !== scope) });
      for (const operation of notPublic) {
        const { operationId: id } = operation;
        const call = exampleCall(operation, ids);
        const asked = operations[id].scope;
        const expected = asked === null
          ? "admin_required"
          : [scope, "any"].includes(asked)
          ? undefined
          : "scope_missing";
        assert.equal(await accessRefusal(server, id, { ...call, token: alone }), expected, `${id} with ${scope} alone`);
        if (asked === scope) {
          const refusal = await server.refused("scope_missing", id, { ...call, token: others });
          assert(refusal.detail.includes(scope), `${refusal.detail} names the missing scope`);
        }
      }
    });
  }
});
