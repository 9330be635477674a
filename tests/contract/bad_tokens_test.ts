/** Bad tokens: refused with the code of their fault, nothing changes. */
import assert from "node:assert/strict";
import pLimit from "p-limit";
import type { ProblemCode } from "../../generated/contract.ts";
import { newApiKey, revoke } from "../support/api_keys.ts";
import { sharedServer, type TestServer } from "../support/server.ts";
import { handshake } from "../support/socket.ts";
import { type BadTokens, expiredTokens, goodClaims, hmacToken, inAnHour, invalidTokens } from "./bad_tokens.ts";
import { contractOperations } from "./document.ts";
import { contractServer, exampleCall, type Ids, newExampleRows } from "./example_calls.ts";
import { rawRequest } from "./injection_calls.ts";
import { assertAll, assertNothingChanges, assertUnauthorized } from "./refusals.ts";

const limit = pLimit(8);
const protectedOperations = contractOperations.filter(({ security }) => security.length > 0);
/** One operation of each kind of `security`, with getMe among them. */
const kinds = Map.groupBy(
  protectedOperations,
  ({ operationId, security }) =>
    operationId === "getMe"
      ? operationId
      : security.map((way) => `${Object.keys(way)} ${way.bearer} ${way.apiKey?.length}`).join(),
);
const oneOfEach = [...kinds.values()].flatMap((operations) => operations.slice(0, 1));

/**
 * Fails unless each token is refused by an operation of each kind, and by the handshake of a WebSocket. Each token is also
 * sent to a ninth of all operations, so that each operation refuses some.
 */
function assertRefused(server: TestServer, ids: Ids, code: ProblemCode, tokens: BadTokens): Promise<void> {
  return assertAll(
    Object.entries(tokens).flatMap(([name, token], index) => {
      const some = protectedOperations.filter((_, place) => place % 9 === index % 9);
      const calls = [...new Set([...oneOfEach, ...some])].map((operation) =>
        limit(async () => {
          const answer = await server.call(operation.operationId, { ...exampleCall(operation, ids), token });
          assertUnauthorized(answer, code, `${operation.operationId}, ${name},`);
        })
      );
      const socket = limit(async () => {
        using answer = await handshake(server, { token });
        assertUnauthorized(answer, code, `a handshake, ${name},`);
      });
      return [...calls, socket];
    }),
  );
}

/** Headers `Authorization` that hold no bearer token. `…` stands for a good token. */
const notBearer: Record<string, string> = {
  "an empty header": "",
  "the scheme alone": "Bearer",
  "no scheme": "…",
  "the scheme Basic": `Basic ${btoa("alice:secret")}`,
  "another scheme": "Token …",
  "a scheme that begins like it": "Bearers …",
  "a scheme that only looks like it": "Веarer …",
  "a tab behind the scheme": "Bearer\t…",
  "a colon behind the scheme": "Bearer: …",
  "nothing between": "Bearer…",
  "two tokens": "Bearer … …",
  "two headers": "Bearer …\r\nAuthorization: Bearer …",
  "a header behind an empty one": "\r\nAuthorization: Bearer …",
  "a good header behind a bad one": "Bearer garbage\r\nAuthorization: Bearer …",
  "a good header before a bad one": "Bearer …\r\nAuthorization: Bearer garbage",
};

/** Headers that the runtime refuses, because they are not HTTP or are too long. */
const notHttp: Record<string, string> = {
  "a folded header": "Bearer\r\n …",
  "a line end in the token": "Bearer ey\n…",
  "a NUL in the token": "Bearer ey\0…",
  "100 KB": `Bearer ${"a".repeat(100_000)}`,
};

Deno.test("tokens: over 100 bad ones -> each refused with its code and not in the log, good ones still accepted", async (t) => {
  await using server = await contractServer();
  const ids = await newExampleRows(server);
  const good = hmacToken();
  await server.ok("getMe", { token: good });
  const { apiKey: revoked, key: revokedKey } = await newApiKey(server);
  await revoke(server, revoked);
  const { apiKey: expiring, key: expiredKey } = await newApiKey(server);
  await server.db.updateTable("api_keys").set({ expires_at: new Date(0) }).where("id", "=", expiring.id).execute();
  const { key } = await newApiKey(server);
  await server.ok("getMe", { token: key });
  const { ticket } = await server.ok("createSocketTicket", { token: good });
  // A ticket lasts 30 seconds. The test may take longer.
  await server.db.updateTable("socket_tickets").set({ expires_at: new Date(inAnHour * 1_000) }).execute();

  let keyRequests = 0;
  /** The host of foreign keys, which some tokens name. */
  await using stranger = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen: () => {} }, () => {
    keyRequests++;
    return Response.json({ keys: [] });
  });
  const invalid = await invalidTokens(`http://127.0.0.1:${stranger.addr.port}/keys`);
  const keys = {
    "a revoked key": revokedKey,
    "a key with another first character": `${key.slice(0, 13)}${key[13] === "A" ? "B" : "A"}${key.slice(14)}`,
    "a key with other last bits": key.slice(0, -1) + (key.endsWith("A") ? "B" : "A"),
    "a key cut off": key.slice(0, -1),
    "a key and more": `${key}A`,
    "a key with padding": `${key}=`,
    "a key in capitals": key.toUpperCase(),
    "a key with another prefix": `slk_00000000${key.slice(12)}`,
    "the prefix of a key": key.slice(0, 12),
    "a made-up key": `slk_00000000_${"A".repeat(43)}`,
    "a key with a tab": `${key.slice(0, -9)}\t${key.slice(-9)}`,
    "two keys": `${key},${key}`,
    "a ticket": ticket,
  };
  const kindsOfBad: [string, ProblemCode, BadTokens][] = [
    ...Object.entries(invalid).map((
      [kind, tokens],
    ): [string, ProblemCode, BadTokens] => [kind, "token_invalid", tokens]),
    ["key", "token_invalid", keys],
    ["expiry", "token_expired", { ...expiredTokens, "an expired key": expiredKey }],
  ];
  const all = kindsOfBad.flatMap(([, , tokens]) => Object.values(tokens));
  assert.equal(new Set(all).size, all.length);
  assert(all.length >= 100);
  for (const [kind, code, tokens] of kindsOfBad) {
    await t.step(
      `${Object.keys(tokens).length} tokens with a wrong ${kind}: ${code}`,
      () => assertNothingChanges(server, () => assertRefused(server, ids, code, tokens)),
    );
  }

  await t.step(
    "good token outside of a bearer header: token_missing",
    () =>
      assertNothingChanges(server, async () => {
        for (const [name, text] of Object.entries(notBearer)) {
          const headers = { Authorization: text.replaceAll("…", good) };
          const { text: body, ...answer } = await rawRequest(server, { target: "/api/v1/me", headers });
          assertUnauthorized({ ...answer, body }, "token_missing", name);
          using socket = await handshake(server, { headers });
          assertUnauthorized(socket, "token_missing", name);
        }
        for (const credential of [good, key]) {
          const headers = {
            Cookie: `token=${credential}`,
            "X-Api-Key": credential,
            "Proxy-Authorization": `Bearer ${credential}`,
          };
          for (const name of ["access_token", "token", "authorization", "key"]) {
            await server.refused("token_missing", "getMe", { headers, query: { [name]: credential } });
          }
        }
      }),
  );
  await t.step("header that is not HTTP: 400 or 431", () =>
    assertNothingChanges(server, async () => {
      for (const [name, text] of Object.entries(notHttp)) {
        const headers = { Authorization: text.replaceAll("…", good) };
        const { status } = await rawRequest(server, { target: "/api/v1/me", headers });
        assert([400, 431].includes(status), `${name} is answered ${status}`);
      }
    }));
  await t.step(
    "token, key or changed ticket instead of a ticket: ticket_invalid",
    () =>
      assertNothingChanges(server, async () => {
        for (const wrong of [good, key, expiredKey, ticket.slice(0, -1), `${ticket}=`, ticket.toUpperCase()]) {
          using answer = await handshake(server, { query: `?ticket=${encodeURIComponent(wrong)}` });
          assertUnauthorized(answer, "ticket_invalid", "a handshake with a wrong ticket");
        }
      }),
  );
  await t.step("good tokens, key and ticket: accepted", async () => {
    for (const token of [good, hmacToken({ alg: "HS256", typ: "JWT" }), key]) await server.ok("getMe", { token });
    for (const scheme of ["bearer", "BEARER ", "bEaReR"]) {
      await server.ok("getMe", { headers: { Authorization: `${scheme} ${good}` } });
    }
    using socket = await handshake(server, { query: `?ticket=${ticket}` });
    assert.equal(socket.status, 101);
  });
  await t.step("foreign host and log: not asked, no tokens", () => {
    assert.equal(keyRequests, 0);
    const log = server.logged.join("\n");
    // The log may have shorter ones for another reason.
    const secrets = [...all, good, key].filter((token) => token.length >= 20);
    assert.deepEqual(secrets.filter((token) => log.includes(token)), []);
  });
});

Deno.test("tokens: good one with other headers or claims -> same user, same role", async (t) => {
  await using server = await sharedServer();
  const [header, claims] = [{ alg: "HS256" }, { ...goodClaims, role: "user" }];
  const alike: BadTokens = {
    "typ JWT": hmacToken({ ...header, typ: "JWT" }, claims),
    "typ in small letters": hmacToken({ ...header, typ: "jwt" }, claims),
    "typ of an access token (RFC 9068)": hmacToken({ ...header, typ: "at+jwt" }, claims),
    "typ in full": hmacToken({ ...header, typ: "application/at+jwt" }, claims),
    // The server has one key.
    "a kid and the address of a key": hmacToken({ ...header, kid: "../x", jku: "http://127.0.0.1:1/" }, claims),
    // RFC 7519 lets an issuer's clock be ahead of ours.
    "iat in the future": hmacToken(header, { ...claims, iat: goodClaims.exp }),
    "an exp with a fraction": hmacToken(header, { ...claims, exp: goodClaims.exp + 0.5 }),
    // It is the year 9999 for the server.
    "an exp beyond all numbers": hmacToken(header, '{"sub":"alice","exp":1e400}'),
    // RFC 7519 allows to refuse it, or to take the last one.
    "a role twice": hmacToken(header, `{"sub":"alice","exp":${goodClaims.exp},"role":"admin","role":"user"}`),
    "a role in the prototype": hmacToken(
      header,
      `{"sub":"alice","exp":${goodClaims.exp},"__proto__":{"role":"admin"}}`,
    ),
  };
  const me = await server.ok("getMe", { token: hmacToken(header, claims) });
  for (const [name, token] of Object.entries(alike)) {
    await t.step(name, async () => {
      assert.deepEqual(await server.ok("getMe", { token }), me);
      await server.refused("admin_required", "listApiKeys", { token });
    });
  }
});

Deno.test("tokens: AUTH_ISSUER and AUTH_AUDIENCE, another issuer or audience -> 401 token_invalid", async () => {
  const [iss, aud] = ["https://issuer.example", "slotkeeper"];
  await using server = await sharedServer({ env: { AUTH_ISSUER: iss, AUTH_AUDIENCE: aud } });
  const ids = await newExampleRows(server);
  const sign = (own: object) => hmacToken({ alg: "HS256" }, { ...goodClaims, ...own });
  await server.ok("getMe", { token: sign({ iss, aud }) });
  await server.ok("getMe", { token: sign({ iss, aud: ["somebody", aud] }) });
  await assertNothingChanges(server, () =>
    assertRefused(server, ids, "token_invalid", {
      "another issuer": sign({ iss: `${iss}/`, aud }),
      "an issuer in capitals": sign({ iss: iss.toUpperCase(), aud }),
      "a list of issuers": sign({ iss: [iss], aud }),
      "no issuer": sign({ aud }),
      "another audience": sign({ iss, aud: "slotkeepers" }),
      "an audience in capitals": sign({ iss, aud: "Slotkeeper" }),
      "no audience": sign({ iss }),
      "an audience that is null": sign({ iss, aud: null }),
      "an empty list of audiences": sign({ iss, aud: [] }),
      "a list of other audiences": sign({ iss, aud: ["somebody", "slotkeepers"] }),
      "a list in a list": sign({ iss, aud: [[aud]] }),
      "an object of audiences": sign({ iss, aud: { [aud]: true, includes: aud } }),
    }));
});
