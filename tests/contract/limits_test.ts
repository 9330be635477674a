/** How many requests one caller may make, operation by operation, and that every answer says so. */
import assert from "node:assert/strict";
import { operations, rateLimits } from "../../generated/contract.ts";
import { type Answer, startServer, type TestServer } from "../support/server.ts";
import { contract, contractOperations, object } from "./document.ts";
import { exampleCall, newExampleRows } from "./example_calls.ts";

type Class = keyof typeof rateLimits;

/** Limits of the contract's classes, each with another quota, so that they can be told apart. */
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

function startLimited(quotas: Partial<Record<Class, number>> = {}): Promise<TestServer> {
  return startServer({ env: { RATE_LIMIT: "on", TRUST_PROXY: "1" }, rateLimits: limitsOf(quotas) });
}

/** Class, and what is left, of an answer's headers. */
function standingOf({ headers }: Pick<Answer, "headers">): { name: string | undefined; left: number } {
  const [, name, left] = /^"(\w+)";r=(\d+);t=\d+$/.exec(headers.get("RateLimit") ?? "") ?? [];
  assert(headers.get("RateLimit-Policy")?.startsWith(`"${name}";q=`), headers.get("RateLimit-Policy") ?? "no policy");
  return { name, left: Number(left) };
}

const from = (address: string) => ({ "X-Forwarded-For": address });

Deno.test("every operation's answer tells the class that the contract gives it, and counts one of its caller", async () => {
  await using server = await startLimited();
  const ids = await newExampleRows(server);
  for (const operation of contractOperations) {
    const { operationId: id, "x-rate-limit": expected } = operation;
    const token = await server.token(`caller of ${id}`, operations[id].access === "admin" ? "admin" : "user");
    const call = { ...exampleCall(operation, ids), headers: from(`203.0.113.${Math.floor(Math.random() * 250)}`) };
    const first = await server.call(id, { ...call, ...(operations[id].access === "public" ? {} : { token }) });
    if (expected === "none") {
      assert.equal(first.headers.get("RateLimit"), null, id);
      continue;
    }
    const second = await server.call(id, { ...call, ...(operations[id].access === "public" ? {} : { token }) });
    assert.equal(standingOf(first).name, expected, id);
    assert.equal(standingOf(second).left, standingOf(first).left - 1, id);
  }
});

Deno.test("each class refuses one too many with 429 rate_limited and Retry-After, whatever else is wrong with it", async (t) => {
  for (const name of Object.keys(rateLimits) as Class[]) {
    await t.step(name, async () => {
      await using server = await startLimited({ [name]: 3 });
      const operation = Object.values(operations).find(({ rateLimit }) => rateLimit === name);
      assert(operation);
      const token = await server.token("alice", operation.access === "admin" ? "admin" : "user");
      // An unknown parameter, which would be refused once it is looked at.
      const body = operation.bodyKind === "none" ? {} : { body: {} };
      const call = { params: { roomId: "x", bookingId: "x" }, query: { nonsense: 1 }, ...body };
      const known = operation.access === "public" ? call : { ...call, token };
      for (let left = 2; left >= 0; left--) {
        const answer = await server.call(operation.id, known);
        assert.equal(answer.status, 400);
        assert.deepEqual(standingOf(answer), { name, left });
      }
      const answer = await server.call(operation.id, known);
      assert.equal((answer.body as { code?: string }).code, "rate_limited");
      assert.deepEqual(standingOf(answer), { name, left: 0 });
      const retryAfter = Number(answer.headers.get("Retry-After"));
      assert(retryAfter >= 1 && retryAfter <= 60, `${retryAfter}`);
      if (operation.access === "public") {
        assert.equal((await server.call(operation.id, { ...known, headers: from("198.51.100.9") })).status, 400);
      } else {
        const bob = await server.token("bob", operation.access);
        assert.equal((await server.call(operation.id, { ...known, token: bob })).status, 400);
      }
    });
  }
});

Deno.test("what is no operation counts as public: unknown paths, wrong methods, the docs", async () => {
  await using server = await startLimited({ public: 5 });
  const requests: [string, string][] = [["GET", "/nowhere"], ["PATCH", "/healthz"], ["GET", "/openapi.yaml"], [
    "GET",
    "/docs",
  ], ["GET", "/"]];
  // What a page has another method for counts once, too.
  requests.splice(4, 1, ["POST", "/docs"]);
  for (const [index, [method, path]] of requests.entries()) {
    const response = await fetch(server.url + path, { method, redirect: "manual" });
    assert.deepEqual(standingOf(response), { name: "public", left: 4 - index }, path);
    await response.body?.cancel();
  }
  for (const [method, path] of requests) {
    const response = await fetch(server.url + path, { method, redirect: "manual" });
    assert.equal(response.status, 429, path);
    await response.body?.cancel();
  }
});

Deno.test("the probes are not counted, so that a balancer whose address is shared still gets its answer", async () => {
  await using server = await startLimited({ public: 1 });
  await server.ok("listRooms");
  await server.refused("rate_limited", "listRooms");
  for (let count = 0; count < 20; count++) await server.ok("getHealth");
  await server.ok("getReadiness");
});

Deno.test("credentials that are not valid are counted by address and kind, which locks out nobody with a good token", async () => {
  await using server = await startLimited({ auth: 4 });
  const admin = await server.token("olga", "admin");
  const newKey = async () => {
    const body = { name: "Displays", scopes: ["bookings:read"] };
    return (await server.ok("createApiKey", { token: admin, body })).key;
  };
  const [known, fresh] = [await newKey(), await newKey()];
  await server.ok("getMe", { token: known });

  for (let left = 3; left >= 0; left--) {
    const answer = await server.call("getMe", { token: `guess${left}` });
    assert.equal(answer.status, 401);
    assert.deepEqual(standingOf(answer), { name: "auth", left });
  }
  await server.refused("rate_limited", "getMe", { token: "one-more" });
  // A good token is known by its signature, which asks nobody.
  await server.ok("getMe", { token: await server.token("bob") });

  const guess = `slk_00000000_${"x".repeat(43)}`;
  for (let count = 0; count < 4; count++) await server.refused("token_invalid", "getMe", { token: guess });
  const { detail } = await server.refused("rate_limited", "getMe", { token: guess });
  assert.match(detail, /^Your address sent too many tokens, API keys or tickets/);
  // A key has to be looked up, which is not done for this address now, unless it was found good before.
  await server.refused("rate_limited", "getMe", { token: fresh });
  await server.ok("getMe", { token: known });
  await server.ok("getMe", { token: fresh, headers: from("198.51.100.9") });
});

Deno.test("a ticket that does not work counts as a guess, a missing and an expired token do not", async () => {
  await using server = await startLimited({ auth: 2 });
  for (let count = 0; count < 5; count++) {
    assert.equal(standingOf(await server.call("getMe", {})).name, "public");
  }
  await server.refused("ticket_invalid", "openSocket", { query: { ticket: "none" } });
  await server.refused("ticket_invalid", "openSocket", { query: { ticket: "none" } });
  await server.refused("rate_limited", "openSocket", { query: { ticket: "none" } });
});

Deno.test("a user is one caller wherever they call from, an IPv6 customer is one by their /64", async () => {
  await using server = await startLimited({ user: 2, public: 2 });
  const token = await server.token("alice");
  await server.ok("getMe", { token, headers: from("203.0.113.1") });
  await server.ok("getMe", { token: await server.token("alice"), headers: from("203.0.113.2") });
  await server.refused("rate_limited", "getMe", { token, headers: from("203.0.113.3") });

  await server.ok("listRooms", { headers: from("2001:db8:1:2::1") });
  await server.ok("listRooms", { headers: from("2001:db8:1:2:ffff::9") });
  await server.refused("rate_limited", "listRooms", { headers: from("2001:db8:1:2:3:4:5:6") });
  await server.ok("listRooms", { headers: from("2001:db8:1:3::1") });
});

Deno.test("without TRUST_PROXY nobody gets another quota by an X-Forwarded-For of their own", async () => {
  await using server = await startServer({ env: { RATE_LIMIT: "on" }, rateLimits: limitsOf({ public: 1 }) });
  await server.ok("listRooms", { headers: from("203.0.113.1") });
  await server.refused("rate_limited", "listRooms", { headers: from("203.0.113.2") });
});

Deno.test("an X-Forwarded-For that nobody looks at is told to the operator once", async () => {
  await using server = await startServer({ env: { RATE_LIMIT: "on" } });
  for (let count = 0; count < 3; count++) await server.ok("listRooms", { headers: from("203.0.113.1") });
  assert.equal(server.logged.filter((line) => line.includes("TRUST_PROXY")).length, 1);
});

Deno.test("RATE_LIMIT=off limits nothing and says nothing", async () => {
  await using server = await startServer({ env: { RATE_LIMIT: "off" }, rateLimits: limitsOf({ public: 1 }) });
  for (let count = 0; count < 5; count++) {
    assert.equal((await server.call("listRooms")).headers.get("RateLimit"), null);
  }
});

Deno.test("the docs tell the limits that are enforced", () => {
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
