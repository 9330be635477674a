/** From what is sent as a bearer token, a JSON Web Token or an API key, to the user of ours who is calling. */
import type { Kysely } from "kysely";
import type { Caller } from "../contract/caller.ts";
import type { Database } from "../database/connect.ts";
import { Problem } from "../contract/problems.ts";
import { KeyCallers } from "./key_callers.ts";
import { upsertUser } from "./queries.ts";
import { looksLikeApiKey } from "./secrets.ts";
import type { VerifyToken } from "./tokens.ts";

export interface Authenticator {
  /** Takes the Authorization header. Throws `token_missing`, `token_invalid` or `token_expired`. */
  authenticate(authorization: string | undefined): Promise<Caller>;
  /** What the header has, or pretends to have. */
  kindOf(authorization: string | undefined): "token" | "key";
  /**
   * Whether the header has a token or key that was found good before and has not expired since. A key may have been revoked
   * since: that is for `authenticate` to find out.
   */
  remembers(authorization: string | undefined): boolean;
  /** Throws `token_expired` or `token_invalid` when the caller may no longer act. */
  assertCurrent(caller: Caller): Promise<void>;
}

/** Tokens, and keys, remembered at most; the one that came in first goes first. */
const cacheLimit = 5_000;

/**
 * Verification costs several times the rest of a request, and knowing the user costs a round trip. Both are done once a
 * token and remembered until it expires. Only verified tokens are remembered, so nobody can fill the cache with rubbish.
 * Keys can be revoked, so they are looked up again and again; see {@link KeyCallers}.
 */
export function createAuthenticator({ db, verify }: { db: Kysely<Database>; verify: VerifyToken }): Authenticator {
  const tokens = new Map<string, Caller>();
  const keys = new KeyCallers(db, cacheLimit);

  return {
    async authenticate(authorization) {
      const token = tokenOf(authorization);
      if (token === undefined) {
        throw new Problem("token_missing", "Send a token in the header `Authorization: Bearer <token>`.");
      }
      if (looksLikeApiKey(token)) return await keys.find(token);
      const remembered = tokens.get(token);
      if (remembered !== undefined && !hasExpired(remembered)) return remembered;
      tokens.delete(token);

      const { subject, role, name, email, expiresAt } = await verify(token);
      const user = await upsertUser(db, { subject, name, email });
      const known = { name: user.name, email: user.email };
      const caller = { userId: user.id, subject, role, ...known, expiresAt, apiKey: undefined };
      if (tokens.size >= cacheLimit) tokens.delete(tokens.keys().next().value ?? "");
      tokens.set(token, caller);
      return caller;
    },

    kindOf: (authorization) => looksLikeApiKey(tokenOf(authorization) ?? "") ? "key" : "token",

    remembers(authorization) {
      const token = tokenOf(authorization) ?? "";
      const remembered = tokens.get(token);
      return remembered === undefined ? keys.remembers(token) : !hasExpired(remembered);
    },

    async assertCurrent(caller) {
      if (hasExpired(caller)) throw new Problem("token_expired", "What you sent has expired meanwhile. Get a new one.");
      if (caller.apiKey !== undefined) await keys.assertLive(caller.apiKey.id);
    },
  };
}

function tokenOf(authorization: string | undefined): string | undefined {
  return /^Bearer +([^ ]+) *$/i.exec(authorization ?? "")?.[1];
}

const hasExpired = ({ expiresAt }: Caller): boolean => Date.now() >= expiresAt * 1_000;
