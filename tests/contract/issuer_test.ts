/** Tokens of an issuer, verified with the keys that it publishes (`AUTH_JWKS_URL`). */
import assert from "node:assert/strict";
import { type CryptoKey, exportJWK, exportSPKI, generateKeyPair, type JWTPayload, SignJWT, UnsecuredJWT } from "jose";
import { startServer, testSecret } from "../support/server.ts";

const now = Math.floor(Date.now() / 1000);
const good = { sub: "alice", exp: now + 3_600 };

interface IssuerKey {
  alg: string;
  kid: string;
  publicKey: CryptoKey;
  privateKey: CryptoKey;
}

async function newKey(alg: string, kid: string): Promise<IssuerKey> {
  return { alg, kid, ...await generateKeyPair(alg, { extractable: true }) };
}

let rsaKey: Promise<IssuerKey> | undefined;
/** The RSA key of the tests. Generating one takes long. */
const sharedRsaKey = (): Promise<IssuerKey> => rsaKey ??= newKey("RS256", "rsa");

async function published({ alg, kid, publicKey }: IssuerKey): Promise<Record<string, unknown>> {
  return { ...await exportJWK(publicKey), alg, kid, use: "sig" };
}

function sign(
  claims: JWTPayload,
  { alg, kid, privateKey }: { alg: string; kid?: string; privateKey: CryptoKey | Uint8Array },
): Promise<string> {
  return new SignJWT(claims).setProtectedHeader({ alg, ...(kid === undefined ? {} : { kid }) }).sign(privateKey);
}

/** Signs a token with a shared secret. */
function signWithSecret(secret: string, kid: string): Promise<string> {
  return sign(good, { alg: "HS256", kid, privateKey: new TextEncoder().encode(secret) });
}

/** Starts an issuer that answers with `reply`. Returns it with the configuration of a server that trusts it. */
function startIssuer(reply: () => Response): { env: Record<string, string>; stop(): Promise<void> } {
  const http = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen: () => {} }, reply);
  const env = { AUTH_JWT_SECRET: "", AUTH_JWKS_URL: `http://127.0.0.1:${http.addr.port}/jwks.json` };
  return { env, stop: () => http.shutdown() };
}

Deno.test("issuer: token signed with a published key -> accepted, any other token -> 401", async (t) => {
  const [rsa, ec] = [await sharedRsaKey(), await newKey("ES256", "ec")];
  const keys = [await published(rsa), await published(ec)];
  const issuer = startIssuer(() => Response.json({ keys }));
  await using server = await startServer({ env: issuer.env });

  for (const key of [rsa, ec]) {
    const me = await server.ok("getMe", { token: await sign({ ...good, role: "admin" }, key) });
    assert.equal(me.subject, "alice");
    assert.equal(me.role, "admin");
    const expired = await sign({ ...good, exp: now - 3_600 }, key);
    await server.refused("token_expired", "getMe", { token: expired });
  }
  const stranger = await newKey("RS256", "stranger");
  const refused: Record<string, string> = {
    "HS256 with the text of the public key": await signWithSecret(await exportSPKI(rsa.publicKey), "rsa"),
    "HS256 with the published key": await signWithSecret(JSON.stringify(keys[0]), "rsa"),
    "HS256 with the secret of other servers": await signWithSecret(testSecret, "rsa"),
    "no signature (alg none)": new UnsecuredJWT(good).encode(),
    "an unknown key": await sign(good, stranger),
    "an unknown key under a known id": await sign(good, { ...stranger, kid: "rsa" }),
    "a known key under the id of another": await sign(good, { ...ec, kid: "rsa" }),
    "a known key and no sub": await sign({ exp: good.exp }, rsa),
    "a known key and no exp": await sign({ sub: good.sub }, rsa),
  };
  for (const [name, token] of Object.entries(refused)) {
    await t.step(`${name}: token_invalid`, async () => {
      await server.refused("token_invalid", "getMe", { token });
    });
  }
  await issuer.stop();
});

Deno.test("issuer: keys cannot be fetched -> 503 service_unavailable with Retry-After", async (t) => {
  const key = await sharedRsaKey();
  const token = await sign(good, key);
  let reply = () => new Response("no", { status: 500 });
  const issuer = startIssuer(() => reply());
  await using server = await startServer({ env: issuer.env });
  const assertUnavailable = async () => {
    await server.refused("service_unavailable", "getMe", { token });
    const { headers } = await server.call("getMe", { token });
    assert(Number(headers.get("Retry-After")) > 0);
  };

  await t.step("answers 500", assertUnavailable);
  reply = () => new Response("<html>", { headers: { "Content-Type": "text/html" } });
  await t.step("answers HTML", assertUnavailable);
  reply = () => Response.json({ keys: "none" });
  await t.step("answers no key set", assertUnavailable);
  await issuer.stop();
  await t.step("is down", assertUnavailable);
});

Deno.test("issuer: first down, then up, then down -> 503, then known and new tokens accepted", async () => {
  const key = await sharedRsaKey();
  const keys = [await published(key)];
  let reply = () => new Response("no", { status: 503 });
  const issuer = startIssuer(() => reply());
  await using server = await startServer({ env: issuer.env });

  await server.refused("service_unavailable", "getMe", { token: await sign(good, key) });
  reply = () => Response.json({ keys });
  await server.ok("getMe", { token: await sign(good, key) });
  await issuer.stop();
  // The fetched keys also verify tokens that the server has not seen.
  await server.ok("getMe", { token: await sign({ ...good, sub: "bob" }, key) });
});
