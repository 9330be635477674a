/** Whatever is sent in the place of a good token: it is refused with the code that says why, and nothing happens. */
import assert from "node:assert/strict";
import pLimit from "p-limit";
import type { ProblemCode } from "../../generated/contract.ts";
import { newApiKey, revoke } from "../support/api_keys.ts";
import { startServer, type TestServer } from "../support/server.ts";
import { handshake } from "../support/socket.ts";
import { type BadTokens, expiredTokens, goodClaims, hmacToken, inAnHour, invalidTokens } from "./bad_tokens.ts";
import { contractOperations } from "./document.ts";
import { exampleCall, type Ids, newExampleRows } from "./example_calls.ts";
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
 * Fails unless each of the tokens is refused, by an operation of each kind, by the handshake of a WebSocket, and by some of
 * all the other operations, so that each of these meets a few.
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

/** What is not sent as a token in the header is none, however good it is. The header as it is written, `…` for the token. */
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

/** The runtime refuses these before we see them: they are no HTTP, or longer than it reads. */
const notHttp: Record<string, string> = {
  "a folded header": "Bearer\r\n …",
  "a line end in the token": "Bearer ey\n…",
  "a NUL in the token": "Bearer ey\0…",
  "100 KB": `Bearer ${"a".repeat(100_000)}`,
};

Deno.test("no bad token is accepted anywhere, nor told to the log, and good ones still are", async (t) => {
  await using server = await startServer();
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
  // To be good to the end, which on a busy machine comes later than 30 seconds.
  await server.db.updateTable("socket_tickets").set({ expires_at: new Date(inAnHour * 1_000) }).execute();

  let asked = 0;
  /** Somebody else's keys, to which some tokens point. */
  await using stranger = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen: () => {} }, () => {
    asked++;
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
      `${code} for ${Object.keys(tokens).length} tokens with a wrong ${kind}`,
      () => assertNothingChanges(server, () => assertRefused(server, ids, code, tokens)),
    );
  }

  await t.step(
    "token_missing for a good token that is not sent as one",
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
  await t.step("what is no HTTP is not read at all", () =>
    assertNothingChanges(server, async () => {
      for (const [name, text] of Object.entries(notHttp)) {
        const headers = { Authorization: text.replaceAll("…", good) };
        const { status } = await rawRequest(server, { target: "/api/v1/me", headers });
        assert([400, 431].includes(status), `${name} is answered ${status}`);
      }
    }));
  await t.step("nothing but a ticket is one", () =>
    assertNothingChanges(server, async () => {
      for (const wrong of [good, key, expiredKey, ticket.slice(0, -1), `${ticket}=`, ticket.toUpperCase()]) {
        using answer = await handshake(server, { query: `?ticket=${encodeURIComponent(wrong)}` });
        assertUnauthorized(answer, "ticket_invalid", "a handshake with a wrong ticket");
      }
    }));
  await t.step("good ones are accepted, known or not", async () => {
    for (const token of [good, hmacToken({ alg: "HS256", typ: "JWT" }), key]) await server.ok("getMe", { token });
    for (const scheme of ["bearer", "BEARER ", "bEaReR"]) {
      await server.ok("getMe", { headers: { Authorization: `${scheme} ${good}` } });
    }
    using socket = await handshake(server, { query: `?ticket=${ticket}` });
    assert.equal(socket.status, 101);
  });
  await t.step("nobody was asked for a key, and nothing was told to the log", () => {
    assert.equal(asked, 0);
    const log = server.logged.join("\n");
    // Shorter ones are words that may be there for another reason.
    const telling = [...all, good, key].filter((token) => token.length >= 20);
    assert.deepEqual(telling.filter((token) => log.includes(token)), []);
  });
});

Deno.test("what a good token says beside the claims that we ask for changes nothing", async (t) => {
  await using server = await startServer();
  const [header, claims] = [{ alg: "HS256" }, { ...goodClaims, role: "user" }];
  const alike: BadTokens = {
    "typ JWT": hmacToken({ ...header, typ: "JWT" }, claims),
    "typ in small letters": hmacToken({ ...header, typ: "jwt" }, claims),
    "typ of an access token (RFC 9068)": hmacToken({ ...header, typ: "at+jwt" }, claims),
    "typ in full": hmacToken({ ...header, typ: "application/at+jwt" }, claims),
    // We have one key, and look for it nowhere.
    "a kid and the address of a key": hmacToken({ ...header, kid: "../x", jku: "http://127.0.0.1:1/" }, claims),
    // RFC 7519 lets an issuer's clock be ahead of ours.
    "iat in the future": hmacToken(header, { ...claims, iat: goodClaims.exp }),
    "an exp with a fraction": hmacToken(header, { ...claims, exp: goodClaims.exp + 0.5 }),
    // It counts as the year 9999.
    "an exp beyond all numbers": hmacToken(header, '{"sub":"alice","exp":1e400}'),
    // RFC 7519 leaves the choice between none of two and the last.
    "a role twice": hmacToken(header, `{"sub":"alice","exp":${goodClaims.exp},"role":"admin","role":"user"}`),
    "a role in the prototype": hmacToken(
      header,
      `{"sub":"alice","exp":${goodClaims.exp},"__proto__":{"role":"admin"}}`,
    ),
  };
  const me = await server.ok("getMe", { token: await server.token("alice") });
  for (const [name, token] of Object.entries(alike)) {
    await t.step(name, async () => {
      assert.deepEqual(await server.ok("getMe", { token }), me);
      await server.refused("admin_required", "listApiKeys", { token });
    });
  }
});

Deno.test("a token of another issuer or for another audience is refused where these are configured", async () => {
  const [iss, aud] = ["https://issuer.example", "slotkeeper"];
  await using server = await startServer({ env: { AUTH_ISSUER: iss, AUTH_AUDIENCE: aud } });
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
