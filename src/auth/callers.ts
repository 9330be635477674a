/** Authenticates the caller of a request by a JSON Web Token or an API key in the Authorization header. */
import type { Kysely } from "kysely";
import { LRUCache } from "lru-cache";
import type { Caller } from "../contract/caller.ts";
import { Problem } from "../contract/problems.ts";
import type { Database } from "../database/connect.ts";
import { KeyCallers } from "./key_callers.ts";
import { upsertUser } from "./queries.ts";
import { looksLikeApiKey } from "./secrets.ts";
import type { VerifyToken } from "./tokens.ts";

export interface Authenticator {
  /** Returns the caller of an Authorization header that was valid a moment ago and has not expired. Asks nobody. */
  recall(authorization: string): Caller | undefined;
  /** Returns the caller of an Authorization header. Throws `token_missing`, `token_invalid` or `token_expired`. */
  authenticate(authorization: string | undefined): Promise<Caller>;
  /** Returns the kind of credential by its form, valid or not. */
  kindOf(authorization: string | undefined): "token" | "key";
  /**
   * Returns whether the header has a token or key that was valid before and has not expired. A key may have been revoked
   * since. Only `authenticate` notices that.
   */
  remembers(authorization: string | undefined): boolean;
  /** Throws `token_expired` or `token_invalid` if the caller may no longer act. */
  assertCurrent(caller: Caller): Promise<void>;
}

/** Most callers in each cache. The least recently used one is removed first. */
const cacheLimit = 5_000;

/**
 * Verification costs several times the rest of a request, and finding the user costs a round trip. So the caller of a
 * token is cached until the token expires. Only verified tokens are cached, so bad ones cannot fill the cache. Keys can be
 * revoked, so they are looked up again. See {@link KeyCallers}.
 */
export function createAuthenticator({ db, verify }: { db: Kysely<Database>; verify: VerifyToken }): Authenticator {
  /** By the whole Authorization header, so that a known one needs no parsing. */
  const tokens = new LRUCache<string, Caller>({ max: cacheLimit });
  const keys = new KeyCallers(db, cacheLimit);

  const recall = (authorization: string): Caller | undefined => {
    const caller = tokens.get(authorization);
    if (caller === undefined) return keys.recall(tokenOf(authorization) ?? "");
    if (!hasExpired(caller)) return caller;
    tokens.delete(authorization);
    return undefined;
  };

  return {
    recall,

    async authenticate(authorization) {
      const token = tokenOf(authorization);
      if (authorization === undefined || token === undefined) {
        throw new Problem("token_missing", "Send a token in the header `Authorization: Bearer <token>`.");
      }
      if (looksLikeApiKey(token)) return await keys.find(token);
      // One token has one entry, in any spelling of the header.
      const header = `Bearer ${token}`;
      const recalled = recall(header);
      if (recalled !== undefined) return recalled;
      const { subject, role, name, email, expiresAt } = await verify(token);
      const { id: userId, ...known } = await upsertUser(db, { subject, name, email });
      const caller = { userId, subject, role, ...known, expiresAt, apiKey: undefined };
      tokens.set(header, caller);
      return caller;
    },

    kindOf: (authorization) => looksLikeApiKey(tokenOf(authorization) ?? "") ? "key" : "token",

    remembers(authorization = "") {
      const cached = tokens.peek(`Bearer ${tokenOf(authorization) ?? ""}`);
      return cached === undefined ? keys.remembers(tokenOf(authorization) ?? "") : !hasExpired(cached);
    },

    async assertCurrent(caller) {
      if (hasExpired(caller)) {
        throw new Problem("token_expired", "The token or API key expired during the request. Get a new one.");
      }
      if (caller.apiKey !== undefined) await keys.assertLive(caller.apiKey.id);
    },
  };
}

function tokenOf(authorization: string | undefined): string | undefined {
  return /^Bearer +([^ ]+) *$/i.exec(authorization ?? "")?.[1];
}

const hasExpired = ({ expiresAt }: Caller): boolean => Date.now() >= expiresAt * 1_000;
