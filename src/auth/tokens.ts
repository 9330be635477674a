/** Bearer tokens: JSON Web Tokens (RFC 7519), verified with `jose`. */
import {
  base64url,
  createRemoteJWKSet,
  errors,
  jwtVerify,
  type JWTVerifyGetKey,
  type JWTVerifyOptions,
  type JWTVerifyResult,
  SignJWT,
} from "jose";
import type { AuthConfig } from "../config.ts";
import type { Role } from "../contract/caller.ts";
import { Problem } from "../contract/problems.ts";
import { isSubjectOfKey } from "./secrets.ts";

/** The claims of a verified token. `expiresAt` is in seconds since 1970, as in the token. */
export interface Claims {
  subject: string;
  role: Role;
  name: string | null;
  email: string | null;
  expiresAt: number;
}

export type VerifyToken = (token: string) => Promise<Claims>;

/** Characters. Longer tokens are refused without parsing. */
const tokenLimit = 8_192;
const textLimit = 255;
/** Seconds since 1970 of the start of 9999, the last year that every program can format. */
const latestExpiry = 253_370_764_800;
/** `typ` of an access token. Issuers sign other tokens with the same keys, such as logout tokens (RFC 8725, 3.11). */
const tokenType = /^(application\/)?(at\+)?jwt$/i;
/** A verifier must never use a public key as an HMAC secret. So each kind of key has its own algorithms. */
const publicKeyAlgorithms = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"];

const invalid = () =>
  new Problem(
    "token_invalid",
    "The token is not valid here: its form, signature, issuer, audience or dates are wrong.",
  );

/**
 * Returns the verifier for this configuration. It imports the key once, and uses the machine's time.
 *
 * The verifier throws {@link Problem} `token_expired` or `token_invalid`, or `service_unavailable` if the issuer cannot be
 * reached.
 */
export async function createTokenVerifier(auth: AuthConfig): Promise<VerifyToken> {
  const options = {
    requiredClaims: ["exp", "sub"],
    ...(auth.issuer === undefined ? {} : { issuer: auth.issuer }),
    ...(auth.audience === undefined ? {} : { audience: auth.audience }),
  };
  const verify = auth.jwksUrl === undefined
    ? await secretVerifier(auth.secret ?? "", options)
    : issuerVerifier(new URL(auth.jwksUrl), options);

  return async (token) => {
    if (token.length > tokenLimit) throw invalid();
    const { payload, protectedHeader: { typ = "JWT" } } = await verify(token).catch((failure: unknown) => {
      if (failure instanceof errors.JWTExpired) {
        throw new Problem("token_expired", "The token has expired. Get a new one.");
      }
      throw failure instanceof errors.JOSEError ? invalid() : failure;
    });
    if (typeof typ !== "string" || !tokenType.test(typ) || !isCanonical(token)) throw invalid();
    const subject = storableText(payload.sub);
    // Otherwise a token could act as the user of an API key.
    if (subject === null || isSubjectOfKey(subject) || payload.exp === undefined) throw invalid();
    return {
      subject,
      role: payload.role === "admin" ? "admin" : "user",
      name: storableText(payload.name),
      email: storableText(payload.email),
      expiresAt: Math.min(payload.exp, latestExpiry),
    };
  };
}

/** Returns whether the signature has the one form of RFC 7515. jose also accepts padding, tabs and stray bits. */
function isCanonical(token: string): boolean {
  const signature = token.slice(token.lastIndexOf(".") + 1);
  return base64url.encode(base64url.decode(signature)) === signature;
}

type JoseVerify = (token: string) => Promise<JWTVerifyResult>;

async function secretVerifier(secret: string, options: JWTVerifyOptions): Promise<JoseVerify> {
  const key = await importSecret(secret);
  return (token) => jwtVerify(token, key, { ...options, algorithms: ["HS256"] });
}

function issuerVerifier(url: URL, options: JWTVerifyOptions): JoseVerify {
  const keySet = createRemoteJWKSet(url);
  const keyOf: JWTVerifyGetKey = async (header, token) => {
    try {
      return await keySet(header, token);
    } catch (failure) {
      // An unknown key is a fault of the token. Other failures are not.
      if (failure instanceof errors.JWKSNoMatchingKey || failure instanceof errors.JWKSMultipleMatchingKeys) {
        throw failure;
      }
      const detail = "The token cannot be verified now, because its issuer's keys cannot be fetched. Try again.";
      throw new Problem("service_unavailable", detail, { cause: failure });
    }
  };
  return (token) => jwtVerify(token, keyOf, { ...options, algorithms: publicKeyAlgorithms });
}

/** A character that people see. U+2800 is a Braille cell without dots. */
const visible = /[^\p{White_Space}\p{Cf}\p{Default_Ignorable_Code_Point}\u2800]/u;

function storableText(value: unknown): string | null {
  if (typeof value !== "string" || value.length > textLimit || !visible.test(value)) return null;
  return value.isWellFormed() && !/\p{Cc}/u.test(value) ? value : null;
}

function importSecret(secret: string): Promise<CryptoKey> {
  const bytes = new TextEncoder().encode(secret);
  return crypto.subtle.importKey("raw", bytes, { name: "HMAC", hash: "SHA-256" }, false, ["sign", "verify"]);
}

export interface TokenRequest {
  subject: string;
  role: Role;
  name?: string;
  email?: string;
  /** Seconds from now. */
  lifetimeSeconds: number;
}

/** Signs a token (HS256) that this server's verifier accepts. Needs `auth.secret`. */
export async function mintToken(
  auth: AuthConfig,
  { subject, role, name, email, lifetimeSeconds }: TokenRequest,
): Promise<string> {
  if (auth.secret === undefined) throw new Error("With AUTH_JWKS_URL only the issuer can mint tokens. Ask it for one.");
  const now = Math.floor(Date.now() / 1000);
  const token = new SignJWT({
    role,
    ...(name === undefined ? {} : { name }),
    ...(email === undefined ? {} : { email }),
  })
    .setProtectedHeader({ alg: "HS256", typ: "JWT" })
    .setSubject(subject)
    .setIssuedAt(now)
    .setExpirationTime(now + lifetimeSeconds);
  if (auth.issuer !== undefined) token.setIssuer(auth.issuer);
  if (auth.audience !== undefined) token.setAudience(auth.audience);
  return await token.sign(await importSecret(auth.secret));
}
