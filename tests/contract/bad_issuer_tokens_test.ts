/** Bad tokens for a server with the published keys of an issuer (`AUTH_JWKS_URL`). Attackers can read these keys. */
import assert from "node:assert/strict";
import { exportJWK, exportSPKI, generateKeyPair, importJWK, type JWTHeaderParameters, SignJWT } from "jose";
import pLimit from "p-limit";
import { startServer, testSecret } from "../support/server.ts";
import { handshake } from "../support/socket.ts";
import { type BadTokens, encoded, goodClaims, hmacToken, kidTricks } from "./bad_tokens.ts";
import { assertAll, assertNothingChanges, assertUnauthorized } from "./refusals.ts";

const limit = pLimit(8);

Deno.test("issuer: token not signed with the key and algorithm that it names -> 401 token_invalid", async () => {
  const [rsa, ec, ed, own] = await Promise.all([
    generateKeyPair("RS256", { extractable: true }),
    generateKeyPair("ES256", { extractable: true }),
    generateKeyPair("EdDSA", { extractable: true }),
    generateKeyPair("RS256"),
  ]);
  const keys = [
    { ...await exportJWK(rsa.publicKey), alg: "RS256", kid: "rsa", use: "sig" },
    { ...await exportJWK(ec.publicKey), alg: "ES256", kid: "ec", use: "sig" },
    { ...await exportJWK(ed.publicKey), alg: "EdDSA", kid: "ed", use: "sig" },
  ];
  let keyRequests = 0;
  await using issuer = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen: () => {} }, () => {
    keyRequests++;
    return Response.json({ keys });
  });
  const env = { AUTH_JWT_SECRET: "", AUTH_JWKS_URL: `http://127.0.0.1:${issuer.addr.port}/keys` };
  await using server = await startServer({ env });
  const sign = (key: Parameters<SignJWT["sign"]>[0], header: JWTHeaderParameters) =>
    new SignJWT(goodClaims).setProtectedHeader(header).sign(key);
  const otherwise = async (alg: string) => await importJWK(await exportJWK(rsa.privateKey), alg);

  const good = {
    rsa: await sign(rsa.privateKey, { alg: "RS256", kid: "rsa" }),
    ec: await sign(ec.privateKey, { alg: "ES256", kid: "ec", typ: "at+jwt" }),
    ed: await sign(ed.privateKey, { alg: "EdDSA", kid: "ed" }),
  };
  for (const token of Object.values(good)) await server.ok("getMe", { token });

  const pem = await exportSPKI(rsa.publicKey);
  const der = Uint8Array.fromBase64(pem.replaceAll(/-----.*-----|\s/g, ""));
  const modulus = Uint8Array.fromBase64(keys[0]?.n ?? "", { alphabet: "base64url" });
  /** Public texts that the server must not use as a secret. */
  const published: [string, string | Uint8Array<ArrayBuffer>][] = [
    ["PEM", pem],
    ["PEM with a line end", `${pem}\n`],
    ["DER", der],
    ["modulus", modulus],
    ["JWK", JSON.stringify(keys[0])],
    ["key set", JSON.stringify({ keys })],
    ["secret of other servers", testSecret],
    ["nothing", ""],
  ];
  const content = (alg: string, kid: string) => `${encoded({ alg, kid })}.${encoded(goodClaims)}`;
  const cutOff = (token: string) => token.slice(0, token.lastIndexOf(".") + 1);
  const bad: BadTokens = {
    none: `${content("none", "rsa")}.`,
    "none with a good signature": `${content("none", "rsa")}.${good.rsa.split(".")[2]}`,
    "RS256 without a signature": cutOff(good.rsa),
    "ES256 without a signature": cutOff(good.ec),
    "EdDSA without a signature": cutOff(good.ed),
    "ES256 with a signature of zeros": cutOff(good.ec) + encoded(new Uint8Array(64)),
    "EdDSA with a signature of zeros": cutOff(good.ed) + encoded(new Uint8Array(64)),
    "a signature with padding": `${good.rsa}==`,
    "a tab in the signature": `${good.ec.slice(0, -9)}\t${good.ec.slice(-9)}`,
    "another signature of the same issuer": cutOff(good.rsa) + good.ec.split(".")[2],
    "the key's other hash": await sign(await otherwise("RS512"), { alg: "RS512", kid: "rsa" }),
    "the key's other padding": await sign(await otherwise("PS256"), { alg: "PS256", kid: "rsa" }),
    "the id of another key": await sign(rsa.privateKey, { alg: "RS256", kid: "ec" }),
    "another key under a known id": await sign(own.privateKey, { alg: "RS256", kid: "rsa" }),
    "another key under no id": await sign(own.privateKey, { alg: "RS256" }),
    "another key in the header": await sign(own.privateKey, {
      alg: "RS256",
      kid: "rsa",
      jwk: await exportJWK(own.publicKey),
    }),
    "another type": await sign(rsa.privateKey, { alg: "RS256", kid: "rsa", typ: "logout+jwt" }),
  };
  for (const [name, secret] of published) {
    for (const hash of ["sha256", "sha512"]) {
      const alg = hash.replace("sha", "HS");
      bad[`${alg} with the issuer's ${name}`] = hmacToken({ alg, kid: "rsa" }, goodClaims, { secret, hash });
    }
  }
  for (const [name, [kid]] of Object.entries(kidTricks)) {
    // Some of these are not text, which the type requires.
    bad[`a kid that is ${name}`] = await sign(own.privateKey, { alg: "RS256", kid: kid as string });
  }
  await assertNothingChanges(server, () =>
    assertAll(
      Object.entries(bad).map(([name, token]) =>
        limit(async () => {
          assertUnauthorized(await server.call("getMe", { token }), "token_invalid", `getMe, ${name},`);
          using answer = await handshake(server, { token });
          assertUnauthorized(answer, "token_invalid", `a handshake, ${name},`);
        })
      ),
    ));
  for (const token of Object.values(good)) await server.ok("getMe", { token });
  assert(keyRequests <= 2, `unknown key ids caused ${keyRequests} requests to the issuer`);
});
