/** Who may call what. Generated from the contract, so that a new operation cannot escape it. */
import assert from "node:assert/strict";
import {
  type CryptoKey,
  generateKeyPair,
  type JWTHeaderParameters,
  type JWTPayload,
  SignJWT,
  UnsecuredJWT,
} from "jose";
import { operations, type ProblemCode } from "../../generated/contract.ts";
import { startServer, testSecret, type TestServer } from "../support/server.ts";
import { accessOf, type ContractOperation, contractOperations, exampleOperations } from "./document.ts";
import { allRows, exampleCall, type Ids, newExampleRows } from "./example_calls.ts";

const secret = new TextEncoder().encode(testSecret);
const inAnHour = Math.floor(Date.now() / 1000) + 3_600;
const anHourAgo = inAnHour - 7_200;
/** Claims that every operation takes. Each refused token differs from them in one thing. */
const good = { sub: "alice", role: "admin", exp: inAnHour };

function sign(
  claims: JWTPayload,
  header: JWTHeaderParameters = { alg: "HS256" },
  key: CryptoKey | Uint8Array = secret,
) {
  return new SignJWT(claims).setProtectedHeader(header).sign(key);
}

const without = (claim: keyof typeof good): JWTPayload =>
  Object.fromEntries(Object.entries(good).filter(([name]) => name !== claim));

/** `good` with the payload exchanged and the signature kept. */
async function tampered(): Promise<string> {
  const [header, , signature] = (await sign({ ...good, role: "user" })).split(".");
  return [header, new UnsecuredJWT(good).encode().split(".")[1], signature].join(".");
}

const invalidTokens: Record<string, () => string | Promise<string>> = {
  "that is unsigned (alg none)": () => new UnsecuredJWT(good).encode(),
  "signed with HS384 and our secret": () => sign(good, { alg: "HS384" }),
  "signed with HS512 and our secret": () => sign(good, { alg: "HS512" }),
  "signed with RS256 and a key of its own": async () =>
    sign(good, { alg: "RS256" }, (await generateKeyPair("RS256")).privateKey),
  "signed with another secret": () => sign(good, { alg: "HS256" }, new TextEncoder().encode(`${testSecret}!`)),
  "whose payload was exchanged": tampered,
  "that is cut off": async () => (await sign(good)).slice(0, -6),
  "without its signature": async () => (await sign(good)).replace(/[^.]*$/, ""),
  "that is garbage": () => "garbage",
  "that is garbage in three parts": () => "e30.e30.e30",
  "that is longer than any header should be": () => sign({ ...good, padding: "x".repeat(8_192) }),
  "without exp": () => sign(without("exp")),
  "without sub": () => sign(without("sub")),
  "with an empty sub": () => sign({ ...good, sub: "" }),
  "with a sub that has a NUL": () => sign({ ...good, sub: "alice\0" }),
  "with a sub that has half of a surrogate pair": () => sign({ ...good, sub: "alice\ud800" }),
  "that is not valid yet (nbf)": () => sign({ ...good, nbf: inAnHour - 1_800 }),
};

/** The operation on rows that exist, refused with this code and the header that RFC 6750 asks for. */
async function assertUnauthorized(
  server: TestServer,
  code: ProblemCode,
  { operation, ids, authorization }: { operation: ContractOperation; ids: Ids; authorization?: string },
): Promise<void> {
  const headers = authorization === undefined ? {} : { Authorization: authorization };
  const answer = await server.call(operation.operationId, { ...exampleCall(operation, ids), headers });
  const what = `${operation.operationId} with ${authorization ?? "no Authorization"}: ${JSON.stringify(answer.body)}`;
  assert.equal((answer.body as { code?: string }).code, code, what);
  assert.equal(answer.status, 401, what);
  const challenge = code === "token_missing" ? "Bearer" : 'Bearer error="invalid_token"';
  assert.equal(answer.headers.get("WWW-Authenticate"), challenge, what);
}

/** Runs `check`, after which the tables must be as they were. */
async function assertNothingChanges(server: TestServer, check: () => Promise<void>): Promise<void> {
  const before = await allRows(server.db);
  await check();
  assert.deepEqual(await allRows(server.db), before);
}

const protectedOperations = contractOperations.filter((operation) => accessOf(operation) !== "public");
const publicOperations = contractOperations.filter((operation) => accessOf(operation) === "public");
const adminOperations = contractOperations.filter((operation) => accessOf(operation) === "admin");

Deno.test("the access of each operation is what the contract's security says", () => {
  const enforced = Object.values(operations).map(({ id, access }) => [id, access]);
  const written = contractOperations.map((operation) => [operation.operationId, accessOf(operation)]);
  assert.deepEqual(enforced, written);
  assert(protectedOperations.length > 0 && publicOperations.length > 0 && adminOperations.length > 0);
});

Deno.test("an operation that is not public answers 401 and changes nothing without a valid token", async (t) => {
  await using server = await startServer();
  const ids = await newExampleRows(server);
  await server.ok("getMe", { token: await sign(good) });

  const cases: [string, ProblemCode, string | undefined][] = [
    ["without a token", "token_missing", undefined],
    ["with an empty header", "token_missing", ""],
    ["with the scheme alone", "token_missing", "Bearer"],
    ["with the scheme Basic", "token_missing", `Basic ${btoa("alice:secret")}`],
    ["with a good token under another scheme", "token_missing", `Token ${await sign(good)}`],
    ["with a good token without a scheme", "token_missing", await sign(good)],
    ["with an expired token", "token_expired", `Bearer ${await sign({ ...good, exp: anHourAgo })}`],
  ];
  for (const [name, token] of Object.entries(invalidTokens)) {
    cases.push([`with a token ${name}`, "token_invalid", `Bearer ${await token()}`]);
  }
  for (const [name, code, authorization] of cases) {
    await t.step(`${code} ${name}`, () =>
      assertNothingChanges(server, async () => {
        for (const operation of protectedOperations) {
          await assertUnauthorized(server, code, {
            operation,
            ids,
            ...(authorization === undefined ? {} : { authorization }),
          });
        }
      }));
  }
});

Deno.test("a token of another issuer or for another audience is refused where these are configured", async (t) => {
  const [iss, aud] = ["https://issuer.example", "slotkeeper"];
  await using server = await startServer({ env: { AUTH_ISSUER: iss, AUTH_AUDIENCE: aud } });
  const ids = await newExampleRows(server);
  await server.ok("getMe", { token: await sign({ ...good, iss, aud }) });
  await server.ok("getMe", { token: await sign({ ...good, iss, aud: ["somebody", aud] }) });

  const cases: Record<string, JWTPayload> = {
    "another issuer": { ...good, iss: "https://issuer.example/", aud },
    "no issuer": { ...good, aud },
    "another audience": { ...good, iss, aud: "slotkeepers" },
    "no audience": { ...good, iss },
    "an empty list of audiences": { ...good, iss, aud: [] },
  };
  for (const [name, claims] of Object.entries(cases)) {
    await t.step(name, () =>
      assertNothingChanges(server, async () => {
        const authorization = `Bearer ${await sign(claims)}`;
        for (const operation of protectedOperations) {
          await assertUnauthorized(server, "token_invalid", { operation, ids, authorization });
        }
      }));
  }
});

Deno.test("an accepted token is refused once it has expired", async () => {
  await using server = await startServer();
  const token = await sign(good);
  await server.ok("getMe", { token });
  const Today = Date;
  try {
    // The time of tokens is the machine's, which a test cannot move but by standing in for it.
    globalThis.Date = class extends Today {
      constructor(...given: [] | [number]) {
        super(...(given.length === 0 ? [Today.now() + 7_200_000] as const : given));
      }
      static override now(): number {
        return Today.now() + 7_200_000;
      }
    } as DateConstructor;
    await server.refused("token_expired", "getMe", { token });
  } finally {
    globalThis.Date = Today;
  }
});

Deno.test("an admin operation answers 403 admin_required and changes nothing without the role admin", async (t) => {
  await using server = await startServer();
  const ids = await newExampleRows(server);
  const roles = [undefined, null, "user", "", "ADMIN", " admin", "administrator", ["admin"], { admin: true }, true, 1];
  for (const role of roles) {
    await t.step(`role ${JSON.stringify(role)}`, () =>
      assertNothingChanges(server, async () => {
        const token = await sign({ sub: "alice", exp: inAnHour, role, roles: ["admin"], scope: "admin" });
        for (const operation of adminOperations) {
          await server.refused("admin_required", operation.operationId, { ...exampleCall(operation, ids), token });
        }
      }));
  }
});

Deno.test("who may not call an operation is told so before anything else about the request", async () => {
  await using server = await startServer();
  const token = await server.token("alice");
  const wrong = { params: { roomId: "x", bookingId: "x", timeslotId: "x" }, query: { nonsense: 1 } };
  for (const { operationId: id, method } of protectedOperations) {
    const call = { ...wrong, ...(method === "GET" ? {} : { body: "{", headers: { "Content-Type": "text/plain" } }) };
    await server.refused("token_missing", id, call);
    if (operations[id].access === "admin") await server.refused("admin_required", id, { ...call, token });
  }
});

Deno.test("another user's booking answers 403 not_booking_owner and stays as it is", async () => {
  await using server = await startServer();
  const ids = await newExampleRows(server);
  const mallory = await server.token("mallory");
  const admin = await server.token("admin", "admin");
  await server.ok("getMe", { token: mallory });
  const ofOneBooking = contractOperations
    .filter((operation) => accessOf(operation) === "user" && operation.path.includes("{bookingId}"));
  assert(ofOneBooking.length > 0);
  /** The contract lets an admin read anybody's booking, and change it through the admin operations only. */
  const adminMay = ["getBooking", "getCancellation"];

  await assertNothingChanges(server, async () => {
    for (const operation of ofOneBooking) {
      const [id, call] = [operation.operationId, exampleCall(operation, ids)];
      await server.refused("not_booking_owner", id, { ...call, token: mallory });
      if (adminMay.includes(id)) await server.ok(id, { ...call, token: admin });
      else await server.refused("not_booking_owner", id, { ...call, token: admin });
    }
  });
});

Deno.test("a public operation works without a token and does not look at a bad one", async () => {
  await using server = await startServer();
  const ids = await newExampleRows(server);
  for (const operation of exampleOperations.filter((each) => accessOf(each) === "public")) {
    for (const headers of [{}, { Authorization: "Bearer garbage" }, { Authorization: "Basic x" }]) {
      await server.ok(operation.operationId, { ...exampleCall(operation, ids), headers });
    }
  }
});
