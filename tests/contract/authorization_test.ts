/** Authorization of each operation. Generated from the contract, so that it covers new operations. */
import assert from "node:assert/strict";
import pLimit from "p-limit";
import { ApiKeyScope, operations, Problem, type ProblemCode } from "../../generated/contract.ts";
import { newApiKey, revoke } from "../support/api_keys.ts";
import { machineTimeAt } from "../support/machine_time.ts";
import { type Answer, sharedServer, type TestServer } from "../support/server.ts";
import { expiredTokens, goodClaims, hmacToken } from "./bad_tokens.ts";
import { type ContractOperation, contractOperations } from "./document.ts";
import { contractServer, exampleCall, type Ids, newExampleRows } from "./example_calls.ts";
import { assertAll, assertNothingChanges, assertUnauthorized } from "./refusals.ts";

const limit = pLimit(8);

/** A kind of caller, for the contract's `security`. */
type CallerKind =
  /** Not authenticated: each protected operation refuses it with `code`. */
  | { is: "nobody"; code: ProblemCode }
  /** `owner` has the booking of the example rows. */
  | { is: "user" | "owner" | "admin" }
  | { is: "key"; scopes: string[] };

interface Caller {
  name: string;
  kind: CallerKind;
  /** The header Authorization. */
  authorization?: string;
}

/** Returns the problem of an operation for a caller, undefined if it must succeed. */
function refusalOf({ security, method, path }: ContractOperation, kind: CallerKind): ProblemCode | undefined {
  const [token, ...others] = security;
  if (token === undefined) return undefined;
  if (kind.is === "nobody") return kind.code;
  if (kind.is === "key") {
    const needed = others.find((way) => way.apiKey !== undefined)?.apiKey;
    if (needed === undefined) return "admin_required";
    if (!needed.every((scope) => kind.scopes.includes(scope))) return "scope_missing";
  }
  const [role, ...more] = token.bearer ?? [];
  assert(role !== undefined && more.length === 0);
  if (role === "admin") return kind.is === "user" || kind.is === "owner" ? "admin_required" : undefined;
  assert.equal(role, "user");
  // Admins and keys may read every booking. They change bookings through operations of admins only.
  const isAllowed = kind.is === "owner" || method === "GET" && kind.is !== "user";
  return path.includes("{bookingId}") && !isAllowed ? "not_booking_owner" : undefined;
}

const protectedOperations = contractOperations.filter(({ security }) => security.length > 0);
const publicOperations = contractOperations.filter(({ security }) => security.length === 0);
const adminOperations = protectedOperations.filter(({ security }) => security[0]?.bearer?.includes("admin"));

/** Returns the scope that a key needs: `any` if every key is accepted, null if none is. */
function scopeOf({ security }: ContractOperation): string | null {
  const way = security.find(({ apiKey }) => apiKey !== undefined);
  return way?.apiKey === undefined ? null : way.apiKey[0] ?? "any";
}

async function keyFor(server: TestServer, scopes: string[], name = `a key for ${scopes.join(", ")}`): Promise<Caller> {
  const { key } = await newApiKey(server, { scopes });
  return { name, kind: { is: "key", scopes }, authorization: `Bearer ${key}` };
}

/** Makes the callers of the matrix, without those of {@link almostAllScopes}. */
async function newCallers(server: TestServer): Promise<Caller[]> {
  const scopes: string[] = ApiKeyScope.options;
  const revoked = await newApiKey(server);
  await revoke(server, revoked.apiKey);
  const expired = await newApiKey(server);
  await server.db.updateTable("api_keys").set({ expires_at: new Date(0) }).where("id", "=", expired.apiKey.id)
    .execute();
  const nobody = (name: string, code: ProblemCode, authorization?: string): Caller => ({
    name,
    kind: { is: "nobody", code },
    ...(authorization === undefined ? {} : { authorization }),
  });
  return [
    nobody("no token", "token_missing"),
    nobody("another scheme", "token_missing", `Basic ${btoa("alice:secret")}`),
    nobody("garbage", "token_invalid", "Bearer garbage"),
    nobody("an expired token", "token_expired", `Bearer ${expiredTokens["an hour ago"]}`),
    nobody("a revoked key", "token_invalid", `Bearer ${revoked.key}`),
    nobody("an expired key", "token_expired", `Bearer ${expired.key}`),
    { name: "the user", kind: { is: "owner" }, authorization: `Bearer ${await server.token("alice")}` },
    { name: "another user", kind: { is: "user" }, authorization: `Bearer ${await server.token("mallory")}` },
    { name: "an admin", kind: { is: "admin" }, authorization: `Bearer ${await server.token("admin", "admin")}` },
    ...await Promise.all(scopes.map((scope) => keyFor(server, [scope]))),
    await keyFor(server, scopes, "a key for everything"),
  ];
}

/** Makes a key for each scope that has all other scopes. */
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

/** Answers to an allowed caller of operations whose example alone does not succeed. */
const allowedStatus: Record<string, number> = {
  // Needs the configured provider, and its signature.
  receivePaymentEvent: 404,
  // Needs the handshake of a WebSocket.
  openSocket: 426,
};

Deno.test("authorization: access of each operation -> equal to security in the contract", () => {
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

Deno.test("authorization: each operation, each kind of caller -> allowed by security, or refused and nothing changes", async (t) => {
  await using server = await contractServer();
  const ids = await newExampleRows(server);
  const callers = await newCallers(server);
  const lacking = await almostAllScopes(server);
  // The first request of a user inserts it.
  for (const { kind, authorization = "" } of [...callers, ...lacking.values()]) {
    if (kind.is !== "nobody") await server.ok("getMe", { headers: { Authorization: authorization } });
  }

  for (const operation of contractOperations) {
    const { operationId: id, method, security } = operation;
    const keyWithout = lacking.get(scopeOf(operation) ?? "");
    const all = keyWithout === undefined ? callers : [...callers, keyWithout];
    const refused = all.filter(({ kind }) => refusalOf(operation, kind) !== undefined);
    const allowed = all.filter((caller) => !refused.includes(caller));
    assert(security.length === 0 ? refused.length === 0 : refused.length >= 6 && allowed.length > 0, id);

    await t.step(`${id}: ${refused.length} refused, ${allowed.length} allowed`, async () => {
      const refusals = () =>
        assertAll(refused.map((caller) =>
          limit(async () => {
            const code = refusalOf(operation, caller.kind) ?? assert.fail();
            const answer = await callAs(server, operation, { ids, caller });
            if (caller.kind.is === "nobody") return assertUnauthorized(answer, code, caller.name);
            const outcome = answer.status < 400 ? "allowed" : Problem.parse(answer.body).code;
            assert.deepEqual([answer.status, outcome], [403, code], `${caller.name}: ${JSON.stringify(answer.body)}`);
          })
        ));
      if (refused.length > 0) await assertNothingChanges(server, refusals);
      const { params, body = {} } = exampleCall(operation, ids);
      const changesRows = method !== "GET" && Object.keys({ ...params, ...body }).some((name) => name in ids);
      const bodies = new Set<string>();
      await assertAll(allowed.map((caller) =>
        limit(async () => {
          const own = changesRows ? await newExampleRows(server, operation) : ids;
          const { status, body } = await callAs(server, operation, { ids: own, caller });
          const isRight = id in allowedStatus ? status === allowedStatus[id] : status < 300;
          assert(isRight, `${caller.name} is answered ${status}: ${JSON.stringify(body)}`);
          if (status < 300) bodies.add(JSON.stringify(body));
        })
      ));
      if (security.length === 0) assert(bodies.size <= 1, "a token makes no difference");
    });
  }
});

Deno.test("authorization: ticket instead of a token -> accepted only where security has it", async () => {
  await using server = await contractServer();
  const ids = await newExampleRows(server);
  const { ticket } = await server.ok("createSocketTicket", { token: await server.token("admin", "admin") });
  for (const operation of protectedOperations) {
    if (operation.security.some((way) => way.ticket !== undefined)) continue;
    const call = exampleCall(operation, ids);
    await server.refused("token_missing", operation.operationId, { ...call, query: { ...call.query, ticket } });
  }
  await server.refused("upgrade_required", "openSocket", { query: { ticket } });
});

Deno.test("authorization: accepted token after its exp -> 401 token_expired", async () => {
  await using server = await sharedServer();
  const token = hmacToken();
  await server.ok("getMe", { token });
  using _expired = machineTimeAt(goodClaims.exp * 1_000);
  await server.refused("token_expired", "getMe", { token });
});

Deno.test("authorization: admin operation without the role admin -> 403 admin_required, nothing changes", async () => {
  await using server = await contractServer();
  const ids = await newExampleRows(server);
  // The first request of a user inserts it.
  await server.ok("getMe", { token: hmacToken() });
  const roles = [undefined, null, "user", "", "ADMIN", " admin", "administrator", ["admin"], { admin: true }, true, 1];
  await assertNothingChanges(server, () =>
    assertAll(roles.flatMap((role) => {
      const token = hmacToken({ alg: "HS256" }, { ...goodClaims, role, roles: ["admin"], scope: "admin" });
      return adminOperations.map((operation) =>
        limit(() => server.refused("admin_required", operation.operationId, { ...exampleCall(operation, ids), token }))
      );
    })));
});

Deno.test("authorization: refused caller with an invalid request -> 401 or 403, not 400", async () => {
  await using server = await contractServer();
  const { key } = await newApiKey(server, { scopes: ["stats:read"] });
  const alice: Caller = { name: "alice", kind: { is: "user" }, authorization: `Bearer ${await server.token("alice")}` };
  const aKey: Caller = { name: "a key", kind: { is: "key", scopes: ["stats:read"] }, authorization: `Bearer ${key}` };
  const nobody: Caller = { name: "nobody", kind: { is: "nobody", code: "token_missing" } };
  const wrong = { params: { roomId: "x", bookingId: "x", timeslotId: "x" }, query: { nonsense: 1 } };
  for (const operation of protectedOperations) {
    const { operationId: id, method } = operation;
    const content: Record<string, string> = method === "GET" ? {} : { "Content-Type": "text/plain" };
    for (const { kind, authorization } of [nobody, alice, aKey]) {
      const code = refusalOf(operation, kind);
      // The owner is known only if the booking exists.
      if (code === undefined || code === "not_booking_owner") continue;
      const headers = authorization === undefined ? content : { ...content, Authorization: authorization };
      await server.refused(code, id, { ...wrong, headers, ...(method === "GET" ? {} : { body: "{" }) });
    }
  }
});
