/** From a bearer token to the user of ours who is calling. */
import type { Kysely } from "kysely";
import type { Database } from "../database/connect.ts";
import { Problem } from "../problems.ts";
import { upsertUser } from "./queries.ts";
import type { Role, VerifyToken } from "./tokens.ts";

/** Who is calling. `userId` is ours and stays the same for a `subject`. */
export interface Caller {
  userId: number;
  subject: string;
  role: Role;
  name: string | null;
  email: string | null;
  /** Until when the caller may act, in seconds since 1970. */
  expiresAt: number;
}

/** Takes the Authorization header. Throws `token_missing`, `token_invalid` or `token_expired`. */
export type Authenticate = (authorization: string | undefined) => Promise<Caller>;

/** Tokens remembered at most; the one that came in first goes first. */
const cacheLimit = 5_000;

/**
 * Verification costs several times the rest of a request, and knowing the user costs a round trip. Both are done once a
 * token and remembered until it expires. Only verified tokens are remembered, so nobody can fill the cache with rubbish.
 */
export function createAuthenticator({ db, verify }: { db: Kysely<Database>; verify: VerifyToken }): Authenticate {
  const known = new Map<string, Caller>();

  return async (authorization) => {
    const token = /^Bearer +([^ ]+) *$/i.exec(authorization ?? "")?.[1];
    if (token === undefined) {
      throw new Problem("token_missing", "Send a token in the header `Authorization: Bearer <token>`.");
    }
    const remembered = known.get(token);
    if (remembered !== undefined && Date.now() < remembered.expiresAt * 1000) return remembered;
    known.delete(token);

    const { subject, role, name, email, expiresAt } = await verify(token);
    const user = await upsertUser(db, { subject, name, email });
    const caller = { userId: user.id, subject, role, name: user.name, email: user.email, expiresAt };
    if (known.size >= cacheLimit) known.delete(known.keys().next().value ?? "");
    known.set(token, caller);
    return caller;
  };
}
