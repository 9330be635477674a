/** Rate limits: the class and the count of each operation, address and user. */
import assert from "node:assert/strict";
import { operations, rateLimits } from "../../generated/contract.ts";
import { type Answer, type SharedServer, sharedServer, startServer } from "../support/server.ts";
import { contract, contractOperations, object } from "./document.ts";
import { exampleCall, newExampleRows } from "./example_calls.ts";

type Class = keyof typeof rateLimits;

function limitsOf(quotas: Partial<Record<Class, number>>): Record<Class, { quota: number; windowSeconds: number }> {
  const limit = (name: Class) => ({ quota: quotas[name] ?? 10_000, windowSeconds: 60 });
  return {
    public: limit("public"),
    search: limit("search"),
    user: limit("user"),
    booking_write: limit("booking_write"),
    admin: limit("admin"),
    auth: limit("auth"),
    webhook: limit("webhook"),
  };
}

const behindProxy = { RATE_LIMIT: "on", TRUST_PROXY: "1" };
const quotas = { public: 6, search: 3, user: 3, booking_write: 3, admin: 3, auth: 4, webhook: 3 };

/** A server with few requests per class. The tests call it from addresses of their own. */
function startLimited(): Promise<SharedServer> {
  return sharedServer({ env: behindProxy, rateLimits: limitsOf(quotas) });
}

let addresses = 0;
const from = (address: string) => ({ "X-Forwarded-For": address });
/** Returns the header of an address that no other test uses. */
const fromNewAddress = () => from(`198.51.100.${++addresses}`);

/** Returns the class and the remaining requests from the headers of an answer. */
function quotaOf({ headers }: Pick<Answer, "headers">): { name: string | undefined; left: number } {
  const [, name, left] = /^"(\w+)";r=(\d+);t=\d+$/.exec(headers.get("RateLimit") ?? "") ?? [];
  assert(headers.get("RateLimit-Policy")?.startsWith(`"${name}";q=`), headers.get("RateLimit-Policy") ?? "no policy");
  return { name, left: Number(left) };
}

Deno.test("rate limits: each operation -> RateLimit with the class of the contract, one counted for its caller", async () => {
  await using server = await sharedServer({ env: behindProxy, rateLimits: limitsOf({}) });
  const ids = await newExampleRows(server);
  for (const operation of contractOperations) {
    const { operationId: id, "x-rate-limit": expected } = operation;
    const token = await server.token(`caller of ${id}`, operations[id].access === "admin" ? "admin" : "user");
    const call = { ...exampleCall(operation, ids), headers: fromNewAddress() };
    const first = await server.call(id, { ...call, ...(operations[id].access === "public" ? {} : { token }) });
    if (expected === "none") {
      assert.equal(first.headers.get("RateLimit"), null, id);
      continue;
    }
    const second = await server.call(id, { ...call, ...(operations[id].access === "public" ? {} : { token }) });
    assert.equal(quotaOf(first).name, expected, id);
    assert.equal(quotaOf(second).left, quotaOf(first).left - 1, id);
  }
});

Deno.test("rate limits: one request over the quota of a class -> 429 rate_limited with Retry-After, before validation", async (t) => {
  await using server = await startLimited();
  for (const name of Object.keys(rateLimits) as Class[]) {
    await t.step(name, async () => {
      const operation = Object.values(operations).find(({ rateLimit }) => rateLimit === name);
      assert(operation);
      const token = await server.token(`alice of ${name}`, operation.access === "admin" ? "admin" : "user");
      // An unknown parameter: 400 without the limit.
      const body = operation.bodyKind === "none" ? {} : { body: {} };
      const call = {
        params: { roomId: "x", bookingId: "x" },
        query: { nonsense: 1 },
        headers: fromNewAddress(),
        ...body,
      };
      const known = operation.access === "public" ? call : { ...call, token };
      for (let left = quotas[name] - 1; left >= 0; left--) {
        const answer = await server.call(operation.id, known);
        assert.equal(answer.status, 400);
        assert.deepEqual(quotaOf(answer), { name, left });
      }
      const answer = await server.call(operation.id, known);
      assert.equal((answer.body as { code?: string }).code, "rate_limited");
      assert.deepEqual(quotaOf(answer), { name, left: 0 });
      const retryAfter = Number(answer.headers.get("Retry-After"));
      assert(retryAfter >= 1 && retryAfter <= 60, `${retryAfter}`);
      if (operation.access === "public") {
        assert.equal((await server.call(operation.id, { ...known, headers: fromNewAddress() })).status, 400);
      } else {
        const bob = await server.token(`bob of ${name}`, operation.access);
        assert.equal((await server.call(operation.id, { ...known, token: bob })).status, 400);
      }
    });
  }
});

Deno.test("rate limits: unknown path, wrong method, page of the docs -> counted as public, once each", async () => {
  await using server = await startLimited();
  const headers = fromNewAddress();
  const requests: [method: string, path: string][] = [
    ["GET", "/nowhere"],
    ["PATCH", "/healthz"],
    ["GET", "/openapi.yaml"],
    ["GET", "/docs"],
    ["POST", "/docs"],
    ["GET", "/"],
  ];
  assert.equal(requests.length, quotas.public);
  const request = async ([method, path]: [string, string]) => {
    const response = await fetch(server.url + path, { method, headers, redirect: "manual" });
    await response.body?.cancel();
    return response;
  };
  for (const [index, each] of requests.entries()) {
    assert.deepEqual(quotaOf(await request(each)), { name: "public", left: quotas.public - 1 - index }, each.join(" "));
  }
  for (const each of requests) assert.equal((await request(each)).status, 429, each.join(" "));
});

Deno.test("rate limits: probes from an address over its quota -> still answered", async () => {
  await using server = await startLimited();
  const headers = fromNewAddress();
  for (let count = 0; count < quotas.public; count++) await server.ok("listRooms", { headers });
  await server.refused("rate_limited", "listRooms", { headers });
  for (let count = 0; count < 20; count++) await server.ok("getHealth", { headers });
  await server.ok("getReadiness", { headers });
});

Deno.test("rate limits: bad credentials -> counted by address and kind, good tokens of the address still accepted", async () => {
  await using server = await startLimited();
  const headers = fromNewAddress();
  const admin = await server.token("olga", "admin");
  const newKey = async () => {
    const body = { name: "Displays", scopes: ["bookings:read"] };
    return (await server.ok("createApiKey", { token: admin, body })).key;
  };
  const [known, fresh] = [await newKey(), await newKey()];
  await server.ok("getMe", { token: known, headers });

  for (let left = quotas.auth - 1; left >= 0; left--) {
    const answer = await server.call("getMe", { token: `guess${left}`, headers });
    assert.equal(answer.status, 401);
    assert.deepEqual(quotaOf(answer), { name: "auth", left });
  }
  await server.refused("rate_limited", "getMe", { token: "one-more", headers });
  // The signature of a token is verified without a look-up.
  await server.ok("getMe", { token: await server.token("bob"), headers });

  const guess = `slk_00000000_${"x".repeat(43)}`;
  for (let count = 0; count < quotas.auth; count++) {
    await server.refused("token_invalid", "getMe", { token: guess, headers });
  }
  const { detail } = await server.refused("rate_limited", "getMe", { token: guess, headers });
  assert.match(detail, /^Your address sent too many tokens, API keys or tickets/);
  // A new key needs a look-up, which this address may not cause now. A key that was good before needs none.
  await server.refused("rate_limited", "getMe", { token: fresh, headers });
  await server.ok("getMe", { token: known, headers });
  await server.ok("getMe", { token: fresh, headers: fromNewAddress() });
});

Deno.test("rate limits: bad ticket -> counted as bad credentials, missing token is not", async () => {
  await using server = await startLimited();
  const headers = fromNewAddress();
  for (let count = 0; count < quotas.auth + 1; count++) {
    assert.equal(quotaOf(await server.call("getMe", { headers })).name, "public");
  }
  for (let count = 0; count < quotas.auth; count++) {
    await server.refused("ticket_invalid", "openSocket", { query: { ticket: "none" }, headers });
  }
  await server.refused("rate_limited", "openSocket", { query: { ticket: "none" }, headers });
});

Deno.test("rate limits: user at many addresses, IPv6 addresses of one /64 -> one caller each", async () => {
  await using server = await startLimited();
  const token = await server.token("alice");
  for (let count = 0; count < quotas.user; count++) await server.ok("getMe", { token, headers: fromNewAddress() });
  await server.refused("rate_limited", "getMe", { token, headers: fromNewAddress() });

  for (let count = 0; count < quotas.public; count++) {
    await server.ok("listRooms", { headers: from(`2001:db8:1:2:${count}::9`) });
  }
  await server.refused("rate_limited", "listRooms", { headers: from("2001:db8:1:2:3:4:5:6") });
  await server.ok("listRooms", { headers: from("2001:db8:1:3::1") });
});

Deno.test("rate limits: X-Forwarded-For without TRUST_PROXY -> ignored, one warning in the log", async () => {
  await using server = await startServer({ env: { RATE_LIMIT: "on" }, rateLimits: limitsOf({ public: 3 }) });
  for (let count = 0; count < 3; count++) await server.ok("listRooms", { headers: fromNewAddress() });
  await server.refused("rate_limited", "listRooms", { headers: fromNewAddress() });
  assert.equal(server.logged.filter((line) => line.includes("TRUST_PROXY")).length, 1);
});

Deno.test("rate limits: RATE_LIMIT=off -> no limits, no headers", async () => {
  await using server = await startServer({ env: { RATE_LIMIT: "off" }, rateLimits: limitsOf({ public: 1 }) });
  for (let count = 0; count < 5; count++) {
    assert.equal((await server.call("listRooms")).headers.get("RateLimit"), null);
  }
});

Deno.test("rate limits: texts of the contract -> the enforced quotas", () => {
  const { description } = object(contract.info);
  const responses = JSON.stringify(object(contract.components).responses);
  for (const [name, { quota, windowSeconds }] of Object.entries(rateLimits)) {
    assert(String(description).includes(`| \`${name}\` | ${quota} `), `the table of ${name}`);
    assert.equal(windowSeconds, 60);
    const sentence = new RegExp(
      `More than ${quota} requests of an? (user|address) in 60 seconds \\(class \`${name}\`\\)`,
    );
    assert(sentence.test(responses), `the 429 of ${name}`);
  }
  for (const { operationId, "x-rate-limit": name, ...operation } of contractOperations) {
    if (name === "none") continue;
    const { 429: tooMany } = (operation as unknown as { responses: Record<string, { description: string }> }).responses;
    assert(tooMany?.description.includes(`\`${name}\``), operationId);
  }
});
