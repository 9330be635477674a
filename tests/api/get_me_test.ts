import assert from "node:assert/strict";
import { sql } from "kysely";
import { Problem } from "../../generated/contract.ts";
import { lockApiKey } from "../../src/auth/api_key_queries.ts";
import { KeyCallers } from "../../src/auth/key_callers.ts";
import { mintToken, type TokenRequest } from "../../src/auth/tokens.ts";
import { parseConfig } from "../../src/config.ts";
import { connect } from "../../src/database/connect.ts";
import { findApiKey, newApiKey, newAuthenticator, revoke } from "../support/api_keys.ts";
import { newApp } from "../support/app.ts";
import { newBooking, newRoomWithTimeslot } from "../support/builders.ts";
import { nowhere } from "../support/database.ts";
import { machineTimeAt, stopMonotonicTime } from "../support/machine_time.ts";
import { eventually } from "../support/process.ts";
import { sharedServer, startServer, testSecret, type TestServer } from "../support/server.ts";

/** A token that may have a name and an email. Tokens of different lifetime are different texts. */
function tokenFor(claims: Partial<TokenRequest> & { subject: string }): Promise<string> {
  return mintToken(parseConfig({ AUTH_JWT_SECRET: testSecret }).auth, {
    role: "user",
    lifetimeSeconds: 3_600,
    ...claims,
  });
}

Deno.test("getMe: token with name and email -> its subject, role, name and email", async () => {
  await using server = await sharedServer();
  const alice = { subject: server.subject("alice"), name: "Alice Example", email: "alice@example.com" };
  const me = await server.ok("getMe", { token: await tokenFor(alice) });
  assert.deepEqual(me, { id: me.id, role: "user", scopes: null, ...alice });
});

Deno.test("getMe: token without name and email -> null", async () => {
  await using server = await sharedServer();
  const subject = server.subject("alice");
  const me = await server.ok("getMe", { token: await tokenFor({ subject }) });
  assert.deepEqual(me, { id: me.id, subject, role: "user", scopes: null, name: null, email: null });
});

Deno.test("getMe: later token with another name -> replaced, without a name -> kept", async () => {
  await using server = await sharedServer();
  const first = { subject: server.subject("alice"), name: "Alice Example", email: "alice@example.com" };
  const { id } = await server.ok("getMe", { token: await tokenFor(first) });
  const renamed = await server.ok("getMe", { token: await tokenFor({ subject: first.subject, name: "Alice Other" }) });
  assert.deepEqual(renamed, { id, role: "user", scopes: null, ...first, name: "Alice Other" });
  const unnamed = await server.ok("getMe", { token: await tokenFor({ subject: first.subject }) });
  assert.deepEqual(unnamed, renamed);
});

Deno.test("getMe: same subject as user and admin -> one id, the userId of its bookings", async () => {
  await using server = await sharedServer();
  const { timeslot } = await newRoomWithTimeslot(server);
  const { userId } = await newBooking(server, "alice", timeslot);
  const subject = server.subject("alice");
  const user = await server.ok("getMe", { token: await tokenFor({ subject }) });
  const admin = await server.ok("getMe", { token: await tokenFor({ subject, role: "admin" }) });
  assert.deepEqual([user.id, user.role], [userId, "user"]);
  assert.deepEqual([admin.id, admin.role], [userId, "admin"]);
});

Deno.test("getMe: subjects that differ in one character -> different ids", async () => {
  await using server = await sharedServer();
  const subjects = ["alice", "Alice", "alice ", "älice", "auth0|42", "42"];
  const ids = new Set<number>();
  for (const subject of subjects) {
    const me = await server.ok("getMe", { token: await tokenFor({ subject }) });
    assert.equal(me.subject, subject);
    ids.add(me.id);
  }
  assert.equal(ids.size, subjects.length);
});

Deno.test("getMe: 20 first calls of a subject at once -> one id", async () => {
  await using server = await startServer({ pool: 8 });
  const calls = Array.from({ length: 20 }, async (_, index) => {
    return await server.ok("getMe", { token: await tokenFor({ subject: "alice", lifetimeSeconds: 3_600 + index }) });
  });
  const ids = new Set((await Promise.all(calls)).map(({ id }) => id));
  assert.equal(ids.size, 1);
  assert.equal((await server.db.selectFrom("users").select("id").execute()).length, 1);
});

Deno.test("getMe: signed token with the subject of an API key -> 401 token_invalid", async () => {
  await using server = await sharedServer();
  const { apiKey, key } = await newApiKey(server);
  for (const subject of [`api-key:${apiKey.prefix}`, "api-key:", "api-key:slk_00000000"]) {
    await server.refused("token_invalid", "getMe", { token: await tokenFor({ subject, role: "admin" }) });
  }
  await server.ok("getMe", { token: await tokenFor({ subject: "api-keys" }) });
  assert.equal((await server.ok("getMe", { token: key })).name, apiKey.name);
});

Deno.test("getMe: almost an API key -> 401 token_invalid", async () => {
  await using server = await sharedServer();
  const { key } = await newApiKey(server);
  const { key: other } = await newApiKey(server);
  const lastOther = key.endsWith("A") ? "B" : "A";
  const almost = {
    prefix: key.slice(0, 12),
    "prefix and mark": key.slice(0, 13),
    truncated: key.slice(0, -1),
    "too long": `${key}A`,
    padded: `${key}=`,
    "with another end": `${key.slice(0, -1)}${lastOther}`,
    "in capitals": key.toUpperCase(),
    "with a mark in capitals": key.replace("slk", "SLK"),
    "without its mark": key.slice(4),
    "with another key's prefix": `${other.slice(0, 12)}${key.slice(12)}`,
    "in another alphabet": `${key.slice(0, 13)}${key.slice(13).replace(/./, "+")}`,
    "the mark alone": "slk_",
  };
  for (const [what, token] of Object.entries(almost)) {
    const { status } = await server.call("getMe", { token });
    assert.equal(status, 401, what);
    await server.refused("token_invalid", "getMe", { token });
  }
  await server.ok("getMe", { headers: { Authorization: `bearer  ${key} ` } });
  await server.refused("token_missing", "getMe", { headers: { Authorization: key } });
  await server.refused("token_missing", "getMe", { headers: { "X-Api-Key": key } });
});

Deno.test("getMe: API key 1 ms before its expiry -> 200, from its expiry on -> 401 token_expired", async () => {
  await using server = await sharedServer();
  const expiry = Date.now() + 3_600_000;
  const { apiKey, key } = await newApiKey(server, { expiresAt: new Date(expiry).toISOString() });
  {
    using _before = machineTimeAt(expiry - 1);
    await server.ok("getMe", { token: key });
  }
  using _then = machineTimeAt(expiry);
  await server.refused("token_expired", "getMe", { token: key });
  const elsewhere = await newAuthenticator(server.db);
  await assert.rejects(elsewhere.authenticate(`Bearer ${key}`), { code: "token_expired" });
  await revoke(server, apiKey);
  await assert.rejects(elsewhere.authenticate(`Bearer ${key}`), { code: "token_invalid" });
});

/** The transaction that wrote the key's row last. */
async function versionOf(server: TestServer, id: number): Promise<string | undefined> {
  const { rows } = await sql<{ xmin: string }>`select xmin::text from api_keys where id = ${id}`.execute(server.db);
  return rows[0]?.xmin;
}

Deno.test("API keys: used often -> lastUsedAt is written at most once a minute, never for a refused key", async () => {
  await using server = await sharedServer();
  const { apiKey, key } = await newApiKey(server);
  const { id } = apiKey;
  // Another server each time: one that has just used the key reads its cache.
  const useElsewhere = async () => await (await newAuthenticator(server.db)).authenticate(`Bearer ${key}`);
  const lastUse = async () => Date.parse((await findApiKey(server, apiKey))?.lastUsedAt ?? "");
  const setLastUse = (last_used_at: Date) =>
    server.db.updateTable("api_keys").set({ last_used_at }).where("id", "=", id).execute();

  const before = Date.now();
  await useElsewhere();
  const first = await lastUse();
  assert(before <= first && first <= Date.now());

  const recently = new Date(Date.now() - 50_000);
  await setLastUse(recently);
  const version = await versionOf(server, id);
  await Promise.all(Array.from({ length: 10 }, useElsewhere));
  assert.equal(await lastUse(), recently.getTime());
  assert.equal(await versionOf(server, id), version, "reading the key does not write it");

  const longAgo = new Date(Date.now() - 60_001);
  await setLastUse(longAgo);
  await Promise.all(Array.from({ length: 10 }, useElsewhere));
  assert(await lastUse() > longAgo.getTime());

  await setLastUse(longAgo);
  await revoke(server, apiKey);
  await assert.rejects(useElsewhere(), { code: "token_invalid" });
  assert.equal(await lastUse(), longAgo.getTime());
});

Deno.test("API keys: used while a transaction holds its row -> answered without waiting", async () => {
  await using server = await sharedServer();
  const { apiKey, key } = await newApiKey(server);
  await server.db.transaction().execute(async (trx) => {
    await lockApiKey(trx, apiKey.id);
    let isAnswered = false;
    const answer = server.ok("getMe", { token: key }).then(() => isAnswered = true);
    await Promise.race([answer, eventually(() => Promise.resolve(isAnswered))]);
  });
  assert.equal((await findApiKey(server, apiKey))?.lastUsedAt, null);
});

Deno.test("API keys: 50 uses at once -> one query, valid for 500 ms; unknown keys are never cached", async () => {
  await using server = await sharedServer();
  const { key } = await newApiKey(server);
  let queries = 0;
  const db = connect({
    url: server.databaseUrl,
    pool: 4,
    log: ({ query }) => {
      if (query.sql.includes("api_keys")) queries++;
    },
  });
  const { authenticate } = await newAuthenticator(db);
  const header = `Bearer ${key}`;
  using time = stopMonotonicTime();
  await Promise.all(Array.from({ length: 50 }, () => authenticate(header)));
  time.moveAhead(499);
  await authenticate(header);
  assert.equal(queries, 1);
  time.moveAhead(1);
  await authenticate(header);
  assert.equal(queries, 2);

  queries = 0;
  const unknown = `Bearer slk_00000000_${"A".repeat(43)}`;
  for (let count = 0; count < 3; count++) await assert.rejects(authenticate(unknown), { code: "token_invalid" });
  await assert.rejects(authenticate("Bearer slk_00000000_A"), { code: "token_invalid" });
  assert.equal(queries, 3, "a malformed key causes no query");
  await db.destroy();
});

Deno.test("callers: a valid token or key -> cached until it expires, the least recently used removed first", async () => {
  await using server = await sharedServer();
  const { authenticate, remembers, assertCurrent } = await newAuthenticator(server.db);
  const { apiKey, key } = await newApiKey(server);
  const [good, tokenHeader] = [`Bearer ${key}`, `Bearer ${await tokenFor({ subject: "alice" })}`];
  const refused = ["Bearer made.up.token", `Bearer slk_00000000_${"A".repeat(43)}`, "Bearer slk_", "Basic x", ""];
  for (const header of refused) {
    await assert.rejects(authenticate(header));
    assert(!remembers(header), header);
  }
  assert(!remembers(undefined));
  for (const header of [good, tokenHeader]) {
    assert(!remembers(header), "not before it is verified");
    await assertCurrent(await authenticate(header));
    assert(remembers(header));
    assert(!remembers(header.slice(0, -1)));
  }
  const spelled = tokenHeader.replace("Bearer ", "bearer   ");
  assert.equal(await authenticate(spelled), await authenticate(tokenHeader), "one entry for a token");

  const caller = await authenticate(good);
  await revoke(server, apiKey);
  await assert.rejects(assertCurrent(caller), { code: "token_invalid" });
  await eventually(() => authenticate(good).then(() => false, () => true));
  assert(!remembers(good), "not after it was refused");

  const alice = await authenticate(tokenHeader);
  {
    using _then = machineTimeAt(alice.expiresAt * 1_000);
    await assert.rejects(assertCurrent(alice), { code: "token_expired" });
    assert(!remembers(tokenHeader), "not after it has expired");
  }

  const callers = new KeyCallers(server.db, 2);
  const keys = await Promise.all(Array.from({ length: 3 }, async () => (await newApiKey(server)).key));
  const [first = "", second = "", third = ""] = keys;
  for (const each of [first, second, first, third]) await callers.find(each);
  assert.deepEqual(keys.map((each) => callers.remembers(each)), [true, false, true]);
});

Deno.test("getMe: API key while the database is gone -> 503 service_unavailable", async () => {
  await using app = await newApp(nowhere);
  const headers = { Authorization: `Bearer slk_00000000_${"A".repeat(43)}` };
  const response = await app.fetch(new Request("http://localhost/api/v1/me", { headers }));
  assert.equal(response.status, 503);
  assert.equal(Problem.parse(await response.json()).code, "service_unavailable");
});
