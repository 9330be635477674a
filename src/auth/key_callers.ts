/** From an API key to the caller. */
import type { Kysely } from "kysely";
import type { Database } from "../database/connect.ts";
import { Problem } from "../contract/problems.ts";
import { toScopes } from "../contract/access.ts";
import { listLiveApiKeys, useApiKey } from "./api_key_queries.ts";
import type { Caller } from "../contract/caller.ts";
import { hashOf, isApiKey } from "./secrets.ts";

/** Milliseconds for which a key that was found good is taken without a look. A revocation may take effect that much later. */
const trustMs = 500;
/** Milliseconds. The last use of a key is written down so exactly. */
const usePrecisionMs = 60_000;
/** Seconds since 1970. Until when a key may act that does not expire: further than any that does. */
const never = Date.UTC(9999, 0) / 1_000;

const invalid = () => new Problem("token_invalid", "The API key is not valid: it was revoked, or is unknown.");
const expired = () => new Problem("token_expired", "The API key has expired. Get a new one from an admin.");

interface Look {
  /** By a clock that is never set back. */
  startedAt: number;
  caller: Promise<Caller>;
}

const isFresh = ({ startedAt }: { startedAt: number }): boolean => performance.now() - startedAt < trustMs;

/**
 * Callers by the keys that they send. Only good keys are remembered, so nobody can fill the memory with rubbish. What a look
 * found counts from its beginning, since a revocation may overtake a slow one.
 */
export class KeyCallers {
  private readonly known = new Map<string, { startedAt: number; caller: Caller }>();
  private readonly looks = new Map<string, Look>();

  constructor(private readonly db: Kysely<Database>, private readonly limit: number) {}

  /** @throws {Problem} `token_invalid` or `token_expired`. */
  async find(key: string): Promise<Caller> {
    if (!isApiKey(key)) throw invalid();
    const known = this.known.get(key);
    if (known === undefined || !isFresh(known)) return await this.look(key);
    assertUnexpired(known.caller.expiresAt);
    return known.caller;
  }

  /** Whether the key was good when it was looked at last, and has not expired. */
  remembers(key: string): boolean {
    const known = this.known.get(key);
    return known !== undefined && Date.now() < known.caller.expiresAt * 1_000;
  }

  /** @throws {Problem} `token_invalid` when the key is no longer good. */
  async assertLive(id: number): Promise<void> {
    if (!(await listLiveApiKeys(this.db, [id])).includes(id)) throw invalid();
  }

  /** Those who send the same key at once share a look. */
  private look(key: string): Promise<Caller> {
    const running = this.looks.get(key);
    if (running !== undefined && isFresh(running)) return running.caller;
    const startedAt = performance.now();
    const caller = this.lookUp(key).then((found) => {
      this.remember(key, { startedAt, caller: found });
      return found;
    }, (failure: unknown) => {
      if (failure instanceof Problem) this.known.delete(key);
      throw failure;
    }).finally(() => {
      if (this.looks.get(key) === look) this.looks.delete(key);
    });
    const look = { startedAt, caller };
    this.looks.set(key, look);
    return caller;
  }

  private async lookUp(key: string): Promise<Caller> {
    const now = new Date();
    const recordedBefore = new Date(now.getTime() - usePrecisionMs);
    const row = await useApiKey(this.db, { hash: await hashOf(key), now, recordedBefore });
    if (row === undefined || row.revoked_at !== null) throw invalid();
    const expiresAt = row.expires_at === null ? never : row.expires_at.getTime() / 1_000;
    assertUnexpired(expiresAt);
    const { id, scopes, user_id: userId, subject, name, email } = row;
    return { userId, subject, role: "admin", name, email, expiresAt, apiKey: { id, scopes: toScopes(scopes) } };
  }

  private remember(key: string, found: { startedAt: number; caller: Caller }): void {
    if (!this.known.has(key) && this.known.size >= this.limit) this.known.delete(this.known.keys().next().value ?? "");
    this.known.set(key, found);
  }
}

function assertUnexpired(expiresAt: number): void {
  if (Date.now() >= expiresAt * 1_000) throw expired();
}
