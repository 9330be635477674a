/** Tokens that must be refused. Each differs from a good one in one thing. Most are signed with the server's secret. */
import { createHmac } from "node:crypto";
import { EncryptJWT, exportJWK, generateKeyPair, type JWTHeaderParameters, SignJWT } from "jose";
import { testSecret } from "../support/server.ts";

export const inAnHour = Math.floor(Date.now() / 1_000) + 3_600;
/** Claims that every operation accepts. */
export const goodClaims = { sub: "alice", role: "admin", exp: inAnHour };

type Bytes = Uint8Array<ArrayBuffer>;
/** Tokens by their fault. */
export type BadTokens = Record<string, string>;

/** JSON as text or bytes, or a value to serialize as JSON. */
type Written = string | Bytes | object;

const bytesOf = (part: Written): Bytes =>
  part instanceof Uint8Array ? part : new TextEncoder().encode(typeof part === "string" ? part : JSON.stringify(part));

export const encoded = (part: Written): string => bytesOf(part).toBase64({ alphabet: "base64url", omitPadding: true });

/** Returns a token with an HMAC. Built manually, because libraries refuse to build most of these. */
export function hmacToken(
  header: Written = { alg: "HS256" },
  claims: Written = goodClaims,
  { secret = testSecret, hash = "sha256" }: { secret?: string | Bytes; hash?: string } = {},
): string {
  const content = `${encoded(header)}.${encoded(claims)}`;
  return `${content}.${createHmac(hash, secret).update(content).digest("base64url")}`;
}

const unsigned = (alg: string): string => `${encoded({ alg })}.${encoded(goodClaims)}.`;

async function ownKeyToken(alg: string, header: Partial<JWTHeaderParameters> = {}): Promise<string> {
  const { privateKey } = await generateKeyPair(alg);
  return await new SignJWT(goodClaims).setProtectedHeader({ alg, ...header }).sign(privateKey);
}

/** Tokens whose header has the key of their signature, or its address. `elsewhere` is a URL. */
async function keyInHeader(elsewhere: string): Promise<BadTokens> {
  const { privateKey, publicKey } = await generateKeyPair("RS256");
  const jwk = await exportJWK(publicKey);
  const sign = (header: object) =>
    new SignJWT(goodClaims).setProtectedHeader({ alg: "RS256", ...header }).sign(privateKey);
  const secret = "a secret that the attacker chose, 32 bytes or more";
  return {
    "with its public key in the header (jwk)": await sign({ jwk: { ...jwk, alg: "RS256", use: "sig" } }),
    "with its secret in the header (jwk)": hmacToken(
      { alg: "HS256", jwk: { kty: "oct", k: encoded(secret), alg: "HS256" } },
      goodClaims,
      { secret },
    ),
    "with its key at an address (jku)": await sign({ jku: elsewhere, kid: "own" }),
    "with its certificate at an address (x5u)": await sign({ x5u: elsewhere }),
    "with its certificate in the header (x5c)": await sign({ x5c: [btoa("a certificate")], x5t: "own" }),
  };
}

/** Values of `kid` that a careless look-up turns into a known key. */
export const kidTricks: Record<string, [kid: unknown, secret: string]> = {
  "a path to an empty file": ["../../../../../../dev/null", ""],
  "a path to a known file": ["file:///proc/version", "Linux"],
  SQL: ["' union select 'known' -- ", "known"],
  "a command": ["key; echo known", "known"],
  "no text": ["", ""],
  "a name that every object has": ["__proto__", "[object Object]"],
  "7 KB": ["k".repeat(7_000), ""],
  "a list": [["HS256"], ""],
  "an object": [{ alg: "HS256" }, ""],
  "a number": [0, ""],
};

async function signatures(elsewhere: string): Promise<BadTokens> {
  const good = hmacToken();
  const content = good.slice(0, good.lastIndexOf("."));
  const signature = good.slice(content.length + 1);
  const wrong: BadTokens = {
    "HS256 without a signature": `${content}.`,
    "none with a good signature": hmacToken({ alg: "none" }),
    "HS384 with our secret": hmacToken({ alg: "HS384" }, goodClaims, { hash: "sha384" }),
    "HS512 with our secret": hmacToken({ alg: "HS512" }, goodClaims, { hash: "sha512" }),
    "hs256 in small letters": hmacToken({ alg: "hs256" }),
    "an alg that is a list": hmacToken({ alg: ["HS256"] }),
    "an alg that is null": hmacToken({ alg: null }),
    "no alg": hmacToken({ typ: "JWT" }),
    "alg twice, none last": hmacToken('{"alg":"HS256","alg":"none"}'),
    "another secret": hmacToken(undefined, undefined, { secret: `${testSecret}!` }),
    "our secret cut off": hmacToken(undefined, undefined, { secret: testSecret.slice(0, -1) }),
    "an empty secret": hmacToken(undefined, undefined, { secret: "" }),
    "half of a signature": `${content}.${signature.slice(0, 22)}`,
    "a signature of zeros": `${content}.${encoded(new Uint8Array(32))}`,
    "a signature in hexadecimal": `${content}.${Uint8Array.fromBase64(signature, { alphabet: "base64url" }).toHex()}`,
    ...await keyInHeader(elsewhere),
  };
  for (const alg of ["none", "None", "NONE", "nOnE"]) wrong[`unsigned (${alg})`] = unsigned(alg);
  for (const alg of ["RS256", "PS256", "ES256", "EdDSA"]) {
    wrong[`${alg} with a key of its own`] = await ownKeyToken(alg);
  }
  for (const [name, [kid, secret]] of Object.entries(kidTricks)) {
    wrong[`a kid that is ${name}`] = hmacToken({ alg: "HS256", kid }, goodClaims, { secret });
  }
  return wrong;
}

/** Tokens whose header needs an extension or encoding that the server does not support. */
const headers: BadTokens = {
  "crit of an unknown extension": hmacToken({ alg: "HS256", crit: ["urn:example:unknown"], "urn:example:unknown": 1 }),
  "crit of a registered header": hmacToken({ alg: "HS256", typ: "JWT", crit: ["typ"] }),
  "an empty crit": hmacToken({ alg: "HS256", crit: [] }),
  "a crit that is no list": hmacToken({ alg: "HS256", crit: "b64", b64: true }),
  "a payload that is not encoded (b64)": rawPayload(),
  "b64 with a payload that is encoded": hmacToken({ alg: "HS256", crit: ["b64"], b64: false }),
  "a header that is null": hmacToken("null"),
  "a header that is a list": hmacToken('["HS256"]'),
  "a header that is no JSON": hmacToken("{alg:HS256}"),
};

/** A payload that is not encoded (RFC 7797). It must have no dot. */
function rawPayload(): string {
  const content = `${encoded({ alg: "HS256", crit: ["b64"], b64: false })}.${JSON.stringify(goodClaims)}`;
  return `${content}.${createHmac("sha256", testSecret).update(content).digest("base64url")}`;
}

/** Good signatures of tokens for another purpose (RFC 8725, 3.11 and 3.12). */
const types: BadTokens = Object.fromEntries(
  ["JWE", "logout+jwt", "secevent+jwt", "dpop+jwt", "application/token-introspection+jwt", "", ["JWT"], 1, null]
    .map((typ) => [`typ ${JSON.stringify(typ)}`, hmacToken({ alg: "HS256", typ })]),
);

/** Good signatures in another encoding. RFC 7515 allows one: base64url without padding or other characters. */
function spellings(): BadTokens {
  const good = hmacToken();
  const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
  // 43 characters hold 2 bits more than 32 bytes. These bits of the last character are zero.
  const last = alphabet.indexOf(good.slice(-1));
  return {
    "a signature with padding": `${good}=`,
    "a tab in the signature": `${good.slice(0, -9)}\t${good.slice(-9)}`,
    "stray bits at the end of the signature": good.slice(0, -1) + alphabet.charAt(last + 1),
    "other stray bits at the end of the signature": good.slice(0, -1) + alphabet.charAt(last + 3),
  };
}

async function shapes(): Promise<BadTokens> {
  const good = hmacToken();
  const [header = "", payload = "", signature = ""] = good.split(".");
  const other = hmacToken({ alg: "HS256" }, { ...goodClaims, role: "user" }).split(".");
  const key = new TextEncoder().encode(testSecret).slice(0, 32);
  return {
    garbage: "garbage",
    "garbage in three parts": "e30.e30.e30",
    dots: "..",
    "no header": `.${payload}.${signature}`,
    "no payload": `${header}..${signature}`,
    "cut off in the header": header.slice(0, -3),
    "cut off behind the header": header,
    "cut off in the payload": `${header}.${payload.slice(0, -3)}`,
    "cut off behind the payload": `${header}.${payload}`,
    "cut off in the signature": good.slice(0, -6),
    "cut off by one character": good.slice(0, -1),
    "one character more": `${good}A`,
    "an empty fourth part": `${good}.`,
    "a fourth part": `${good}.${signature}`,
    "a part in front": `${header}.${good}`,
    "parts in another order": `${payload}.${header}.${signature}`,
    "another payload": `${header}.${payload}.${other[2]}`,
    "another header": `${encoded({ alg: "HS256", kid: "own" })}.${payload}.${signature}`,
    "the header with padding": `${header}=.${payload}.${signature}`,
    "a tab in the payload": `${header}.${payload.slice(0, 9)}\t${payload.slice(9)}.${signature}`,
    "a letter that only looks right": `${header}.${payload.replace("e", "é")}.${signature}`,
    "dots in percent": good.replaceAll(".", "%2E"),
    "quotation marks": `"${good}"`,
    "a comma behind it": `${good},`,
    "JSON instead of the compact form": JSON.stringify({ protected: header, payload, signature }),
    "a good token as the payload": hmacToken({ alg: "HS256", cty: "JWT" }, good),
    "an encrypted token": await new EncryptJWT(goodClaims)
      .setProtectedHeader({ alg: "dir", enc: "A256GCM" }).encrypt(key),
    "9 KB": hmacToken({ alg: "HS256" }, { ...goodClaims, padding: "x".repeat(6_700) }),
    "9 KB of one letter": "a".repeat(9_216),
    "a payload that is null": hmacToken(undefined, "null"),
    "a payload that is a list": hmacToken(undefined, [goodClaims]),
    "a payload that is a text": hmacToken(undefined, '"alice"'),
    "a payload that is no JSON": hmacToken(undefined, "sub=alice"),
    "a payload that is no UTF-8": hmacToken(undefined, Uint8Array.of(0xff, 0xfe)),
    "an empty payload": hmacToken(undefined, ""),
  };
}

const claim = (changed: object): string => hmacToken({ alg: "HS256" }, { ...goodClaims, ...changed });
/** `exp` is JSON as text, because JavaScript cannot serialize most of these values. */
const withExp = (exp: string): string => hmacToken({ alg: "HS256" }, `{"sub":"alice","role":"admin"${exp}}`);

const claims: BadTokens = {
  "no exp": withExp(""),
  "an exp that is null": claim({ exp: null }),
  "an exp that is a text": claim({ exp: String(inAnHour) }),
  "an exp that is NaN": withExp(',"exp":NaN'),
  "an exp that is a list": claim({ exp: [inAnHour] }),
  "an exp that is true": claim({ exp: true }),
  "nbf in the future": claim({ nbf: inAnHour - 1_800 }),
  "nbf beyond all numbers": withExp(`,"exp":${inAnHour},"nbf":1e400`),
  "nbf that is a text": claim({ nbf: "0" }),
  "iat that is a text": claim({ iat: "0" }),
  "no sub": hmacToken(undefined, { role: "admin", exp: inAnHour }),
  "a sub in the prototype": hmacToken(undefined, `{"__proto__":{"sub":"alice"},"exp":${inAnHour}}`),
  "sub twice, empty last": hmacToken(undefined, `{"sub":"alice","exp":${inAnHour},"sub":""}`),
  "256 characters of sub": claim({ sub: "a".repeat(256) }),
  "a sub of an API key": claim({ sub: "api-key:slk_00000000" }),
  ...Object.fromEntries(
    ["", " \u00a0", "\u200b\u{e0020}", null, 7, true, {}, ["alice"], "alice\0", "alice\n", "\ud800", "alice\udc00"]
      .map((sub) => [`sub ${JSON.stringify(sub)}`, claim({ sub })]),
  ),
};

/** Tokens that were good before their `exp`. */
export const expiredTokens: BadTokens = {
  "an hour ago": claim({ exp: inAnHour - 7_200 }),
  "in 1970": claim({ exp: 0 }),
  "before 1970": claim({ exp: -inAnHour }),
  "before all numbers": withExp(',"exp":-1e400'),
  "half a second after 1970": claim({ exp: 0.5 }),
  "in the last of two": withExp(`,"exp":${inAnHour},"exp":1`),
};

/** Bad tokens by kind of fault. Some name the URL `elsewhere`, which the server must not ask for keys. */
export async function invalidTokens(elsewhere: string): Promise<Record<string, BadTokens>> {
  return {
    signature: await signatures(elsewhere),
    header: headers,
    type: types,
    spelling: spellings(),
    shape: await shapes(),
    claim: claims,
  };
}
