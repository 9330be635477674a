/**
 * Checks the other services of the environment before anything is started. The server starts also if one of them is down, and
 * works without it meanwhile. A service that refuses us is a wrong setting.
 */
import { type Config, ConfigError } from "../config.ts";
import type { Log } from "../log.ts";

/** Milliseconds. */
const patienceMs = 3_000;

/** @throws {ConfigError} if Redis or the issuer of tokens answers, but not as it must. */
export async function checkServices({ auth, redisUrl, rateLimit }: Config, log: Log): Promise<void> {
  const faults = await Promise.all([
    auth.jwksUrl === undefined ? undefined : faultOfIssuer(auth.jwksUrl, log),
    redisUrl === undefined || !rateLimit ? undefined : faultOfRedis(redisUrl),
  ]);
  const found = faults.filter((fault) => fault !== undefined);
  if (found.length > 0) throw new ConfigError(found.join("\n"));
}

async function faultOfIssuer(jwksUrl: string, log: Log): Promise<string | undefined> {
  const wrong = (what: string) => `AUTH_JWKS_URL: ${jwksUrl} ${what}. Set the address of the issuer's public keys.`;
  try {
    // The verifier follows no redirect either.
    const answer = await fetch(jwksUrl, { redirect: "manual", signal: AbortSignal.timeout(patienceMs) });
    const text = await answer.text();
    if (answer.status === 200) {
      return hasKeys(text) ? undefined : wrong("answers with something else than a set of keys");
    }
    if (answer.status < 500 && answer.status !== 429) return wrong(`answers with the status ${answer.status}`);
    log.warn("issuer gives no keys now, tokens are refused with 503", { status: answer.status });
  } catch (failure) {
    const cause = failure instanceof Error && failure.cause instanceof Error ? failure.cause : failure;
    log.warn("issuer cannot be reached now, tokens are refused with 503", { reason: String(cause) });
  }
  return undefined;
}

function hasKeys(text: string): boolean {
  try {
    const set: unknown = JSON.parse(text);
    return typeof set === "object" && set !== null && "keys" in set && Array.isArray(set.keys);
  } catch {
    return false;
  }
}

async function faultOfRedis(redisUrl: string): Promise<string | undefined> {
  const { findRefusal } = await import("../http/shared_counts.ts");
  const refusal = await findRefusal(redisUrl, patienceMs);
  if (refusal === undefined) return undefined;
  return `REDIS_URL: Redis at ${new URL(redisUrl).host} refuses us (${refusal}). ` +
    "Correct the user, the password or the number of the database.";
}
