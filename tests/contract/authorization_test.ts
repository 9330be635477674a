/** Who may call what. Generated from the contract, so that a new operation cannot escape it. */
import assert from "node:assert/strict";
import pLimit from "p-limit";
import { ApiKeyScope, operations, Problem, type ProblemCode } from "../../generated/contract.ts";
import { newApiKey, revoke } from "../support/api_keys.ts";
import { machineTimeAt } from "../support/machine_time.ts";
import { type Answer, startServer, type TestServer } from "../support/server.ts";
import { expiredTokens, goodClaims, hmacToken } from "./bad_tokens.ts";
import { type ContractOperation, contractOperations } from "./document.ts";
import { exampleCall, type Ids, newExampleRows } from "./example_calls.ts";
import { assertAll, assertNothingChanges, assertUnauthorized } from "./refusals.ts";

const limit = pLimit(8);

/** Somebody who calls, and what the contract's `security` makes of it. */
type Who =
  /** Refused wherever it is asked who calls. */
  | { is: "nobody"; code: ProblemCode }
  /** `owner` is the one whose booking the examples are about. */
  | { is: "user" | "owner" | "admin" }
  | { is: "key"; scopes: string[] };

interface Caller {
  name: string;
  who: Who;
  /** The header Authorization. */
  authorization?: string;
}

/** How an operation must refuse a caller, undefined if it must not. `security` decides, and whose booking it is about. */
function refusalOf({ security, method, path }: ContractOperation, who: Who): ProblemCode | undefined {
  const [token, ...others] = security;
  if (token === undefined) return undefined;
  if (who.is === "nobody") return who.code;
  if (who.is === "key") {
    const needed = others.find((way) => way.apiKey !== undefined)?.apiKey;
    if (needed === undefined) return "admin_required";
    if (!needed.every((scope) => who.scopes.includes(scope))) return "scope_missing";
  }
  const [role, ...more] = token.bearer ?? [];
  assert(role !== undefined && more.length === 0);
  if (role === "admin") return who.is === "user" || who.is === "owner" ? "admin_required" : undefined;
  assert.equal(role, "user");
  // An admin, and a key, may read anybody's booking, and change it through the operations of admins only.
  const isTheirs = who.is === "owner" || method === "GET" && who.is !== "user";
  return path.includes("{bookingId}") && !isTheirs ? "not_booking_owner" : undefined;
}

const protectedOperations = contractOperations.filter(({ security }) => security.length > 0);
const publicOperations = contractOperations.filter(({ security }) => security.length === 0);
const adminOperations = protectedOperations.filter(({ security }) => security[0]?.bearer?.includes("admin"));

/** The scope that `security` asks a key for; `any` if each key will do, null if none does. */
function scopeOf({ security }: ContractOperation): string | null {
  const way = security.find(({ apiKey }) => apiKey !== undefined);
  return way?.apiKey === undefined ? null : way.apiKey[0] ?? "any";
}

async function keyFor(server: TestServer, scopes: string[], name = `a key for ${scopes.join(", ")}`): Promise<Caller> {
  const { key } = await newApiKey(server, { scopes });
  return { name, who: { is: "key", scopes }, authorization: `Bearer ${key}` };
}

/** The callers of the matrix but for the keys that lack one scope, which are made by {@link almostAllScopes}. */
async function newCallers(server: TestServer): Promise<Caller[]> {
  const scopes: string[] = ApiKeyScope.options;
  const revoked = await newApiKey(server);
  await revoke(server, revoked.apiKey);
  const expired = await newApiKey(server);
  await server.db.updateTable("api_keys").set({ expires_at: new Date(0) }).where("id", "=", expired.apiKey.id)
    .execute();
  const nobody = (name: string, code: ProblemCode, authorization?: string): Caller => ({
    name,
    who: { is: "nobody", code },
    ...(authorization === undefined ? {} : { authorization }),
  });
  return [
    nobody("no token", "token_missing"),
    nobody("another scheme", "token_missing", `Basic ${btoa("alice:secret")}`),
    nobody("garbage", "token_invalid", "Bearer garbage"),
    nobody("an expired token", "token_expired", `Bearer ${expiredTokens["an hour ago"]}`),
    nobody("a revoked key", "token_invalid", `Bearer ${revoked.key}`),
    nobody("an expired key", "token_expired", `Bearer ${expired.key}`),
    { name: "the user", who: { is: "owner" }, authorization: `Bearer ${await server.token("alice")}` },
    { name: "another user", who: { is: "user" }, authorization: `Bearer ${await server.token("mallory")}` },
    { name: "an admin", who: { is: "admin" }, authorization: `Bearer ${await server.token("admin", "admin")}` },
    ...await Promise.all(scopes.map((scope) => keyFor(server, [scope]))),
    await keyFor(server, scopes, "a key for everything"),
  ];
}

async function almostAllScopes(server: TestServer): Promise<Map<string, Caller>> {
  const made = ApiKeyScope.options.map(async (missing): Promise<[string, Caller]> => {
    const others = ApiKeyScope.options.filter((scope) => scope !== missing);
    return [missing, await keyFor(server, others, `a key for everything but ${missing}`)];
  });
  return new Map(await Promise.all(made));
}

function callAs(
  server: TestServer,
  operation: ContractOperation,
  { ids, caller: { authorization } }: { ids: Ids; caller: Caller },
): Promise<Answer> {
  const headers = authorization === undefined ? {} : { Authorization: authorization };
  return server.call(operation.operationId, { ...exampleCall(operation, ids), headers });
}

/** Whoever is let in gets what the example asks for, but where that takes more than an example can have. */
const statusWithoutMore: Record<string, number> = {
  // The provider that is configured, and its signature.
  receivePaymentEvent: 404,
  // The handshake of a WebSocket.
  openSocket: 426,
};

Deno.test("the access of each operation is what the contract's security says", () => {
  const enforced = Object.values(operations).map((each) => [each.id, each.access, each.scope, each.takesTicket]);
  const written = contractOperations.map((operation) => {
    const { operationId, security } = operation;
    const takesTicket = security.some(({ ticket }) => ticket !== undefined);
    return [operationId, security[0]?.bearer?.join() ?? "public", scopeOf(operation), takesTicket];
  });
  assert.deepEqual(enforced, written);
  for (const each of [protectedOperations, publicOperations, adminOperations]) assert(each.length > 0);
  for (const scope of ApiKeyScope.options) assert(contractOperations.some((each) => scopeOf(each) === scope), scope);
});

Deno.test("each operation lets in whom its security names; nobody else learns or changes anything", async (t) => {
  await using server = await startServer({ env: { PAYMENT_PROVIDER: "sandbox" } });
  const ids = await newExampleRows(server);
  const callers = await newCallers(server);
  const lacking = await almostAllScopes(server);
  // Users are made when they first come.
  for (const { who, authorization = "" } of [...callers, ...lacking.values()]) {
    if (who.is !== "nobody") await server.ok("getMe", { headers: { Authorization: authorization } });
  }

  for (const operation of contractOperations) {
    const { operationId: id, method, security } = operation;
    const keyWithout = lacking.get(scopeOf(operation) ?? "");
    const all = keyWithout === undefined ? callers : [...callers, keyWithout];
    const refused = all.filter(({ who }) => refusalOf(operation, who) !== undefined);
    const allowed = all.filter((caller) => !refused.includes(caller));
    assert(security.length === 0 ? refused.length === 0 : refused.length >= 6 && allowed.length > 0, id);

    await t.step(`${id}: ${refused.length} are refused, ${allowed.length} are let in`, async () => {
      const refusals = () =>
        assertAll(refused.map((caller) =>
          limit(async () => {
            const code = refusalOf(operation, caller.who) ?? assert.fail();
            const answer = await callAs(server, operation, { ids, caller });
            if (caller.who.is === "nobody") return assertUnauthorized(answer, code, caller.name);
            const told = answer.status < 400 ? "let in" : Problem.parse(answer.body).code;
            assert.deepEqual([answer.status, told], [403, code], `${caller.name}: ${JSON.stringify(answer.body)}`);
          })
        ));
      if (refused.length > 0) await assertNothingChanges(server, refusals);
      const { params, body = {} } = exampleCall(operation, ids);
      const changesRows = method !== "GET" && Object.keys({ ...params, ...body }).some((name) => name in ids);
      const bodies = new Set<string>();
      await assertAll(allowed.map((caller) =>
        limit(async () => {
          const own = changesRows ? await newExampleRows(server) : ids;
          const { status, body } = await callAs(server, operation, { ids: own, caller });
          const isRight = id in statusWithoutMore ? status === statusWithoutMore[id] : status < 300;
          assert(isRight, `${caller.name} is answered ${status}: ${JSON.stringify(body)}`);
          if (status < 300) bodies.add(JSON.stringify(body));
        })
      ));
      if (security.length === 0) assert(bodies.size <= 1, "a token makes no difference");
    });
  }
});

Deno.test("a ticket stands in for a token only where security says so", async () => {
  await using server = await startServer();
  const ids = await newExampleRows(server);
  const { ticket } = await server.ok("createSocketTicket", { token: await server.token("admin", "admin") });
  for (const operation of protectedOperations) {
    if (operation.security.some((way) => way.ticket !== undefined)) continue;
    const call = exampleCall(operation, ids);
    await server.refused("token_missing", operation.operationId, { ...call, query: { ...call.query, ticket } });
  }
  await server.refused("upgrade_required", "openSocket", { query: { ticket } });
});

Deno.test("an accepted token is refused once it has expired", async () => {
  await using server = await startServer();
  const token = hmacToken();
  await server.ok("getMe", { token });
  using _then = machineTimeAt(goodClaims.exp * 1_000);
  await server.refused("token_expired", "getMe", { token });
});

Deno.test("an admin operation answers 403 admin_required and changes nothing without the role admin", async () => {
  await using server = await startServer();
  const ids = await newExampleRows(server);
  const roles = [undefined, null, "user", "", "ADMIN", " admin", "administrator", ["admin"], { admin: true }, true, 1];
  await assertNothingChanges(server, () =>
    assertAll(roles.flatMap((role) => {
      const token = hmacToken({ alg: "HS256" }, { ...goodClaims, role, roles: ["admin"], scope: "admin" });
      return adminOperations.map((operation) =>
        limit(() => server.refused("admin_required", operation.operationId, { ...exampleCall(operation, ids), token }))
      );
    })));
});

Deno.test("who may not call an operation is told so before anything else about the request", async () => {
  await using server = await startServer();
  const { key } = await newApiKey(server, { scopes: ["stats:read"] });
  const alice: Caller = { name: "alice", who: { is: "user" }, authorization: `Bearer ${await server.token("alice")}` };
  const aKey: Caller = { name: "a key", who: { is: "key", scopes: ["stats:read"] }, authorization: `Bearer ${key}` };
  const nobody: Caller = { name: "nobody", who: { is: "nobody", code: "token_missing" } };
  const wrong = { params: { roomId: "x", bookingId: "x", timeslotId: "x" }, query: { nonsense: 1 } };
  for (const operation of protectedOperations) {
    const { operationId: id, method } = operation;
    const content: Record<string, string> = method === "GET" ? {} : { "Content-Type": "text/plain" };
    for (const { who, authorization } of [nobody, alice, aKey]) {
      const code = refusalOf(operation, who);
      // Whose booking it is shows only when there is one.
      if (code === undefined || code === "not_booking_owner") continue;
      const headers = authorization === undefined ? content : { ...content, Authorization: authorization };
      await server.refused(code, id, { ...wrong, headers, ...(method === "GET" ? {} : { body: "{" }) });
    }
  }
});
