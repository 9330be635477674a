/** Authenticates the caller of an API key. */
import type { Kysely } from "kysely";
import { LRUCache } from "lru-cache";
import { toScopes } from "../contract/access.ts";
import type { Caller } from "../contract/caller.ts";
import { Problem } from "../contract/problems.ts";
import type { Database } from "../database/connect.ts";
import { listLiveApiKeys, useApiKey } from "./api_key_queries.ts";
import { hashOf, isApiKey } from "./secrets.ts";

/** Milliseconds for which a lookup is valid. A revocation may take effect that much later. */
const trustMs = 500;
/** Milliseconds. The last use of a key is stored with this precision. */
const usePrecisionMs = 60_000;
/** Seconds since 1970. The expiry of a key without one, later than any other. */
const never = Date.UTC(9999, 0) / 1_000;

const invalid = () => new Problem("token_invalid", "The API key is not valid: it was revoked, or is unknown.");
const expired = () => new Problem("token_expired", "The API key has expired. Get a new one from an admin.");

interface Lookup {
  /** Milliseconds of a monotonic clock. */
  startedAt: number;
  caller: Promise<Caller>;
}

const isFresh = ({ startedAt }: { startedAt: number }): boolean => performance.now() - startedAt < trustMs;

/**
 * Callers by API key. Only valid keys are cached, so bad ones cannot fill the cache. A lookup is as old as its start,
 * because a key may be revoked while a slow one runs.
 */
export class KeyCallers {
  private readonly found: LRUCache<string, { startedAt: number; caller: Caller }>;
  private readonly lookups = new Map<string, Lookup>();

  /** `limit` is the most keys in the cache. The least recently used one is removed first. */
  constructor(private readonly db: Kysely<Database>, limit: number) {
    this.found = new LRUCache({ max: limit });
  }

  /** @throws {Problem} `token_invalid` or `token_expired`. */
  async find(key: string): Promise<Caller> {
    if (!isApiKey(key)) throw invalid();
    const found = this.found.get(key);
    if (found === undefined || !isFresh(found)) return await this.lookUp(key);
    if (hasExpired(found.caller.expiresAt)) throw expired();
    return found.caller;
  }

  /** Returns the caller if the last lookup of the key is valid. */
  recall(key: string): Caller | undefined {
    const found = this.found.get(key);
    return found !== undefined && isFresh(found) && !hasExpired(found.caller.expiresAt) ? found.caller : undefined;
  }

  /** Returns whether the last lookup found the key, and it has not expired. */
  remembers(key: string): boolean {
    const found = this.found.peek(key);
    return found !== undefined && !hasExpired(found.caller.expiresAt);
  }

  /** @throws {Problem} `token_invalid` if the key is revoked. */
  async assertLive(id: number): Promise<void> {
    if (!(await listLiveApiKeys(this.db, [id])).includes(id)) throw invalid();
  }

  /** Simultaneous requests with the same key share a lookup. */
  private lookUp(key: string): Promise<Caller> {
    const running = this.lookups.get(key);
    if (running !== undefined && isFresh(running)) return running.caller;
    const startedAt = performance.now();
    const caller = this.readCaller(key).then((caller) => {
      this.found.set(key, { startedAt, caller });
      return caller;
    }, (failure: unknown) => {
      if (failure instanceof Problem) this.found.delete(key);
      throw failure;
    }).finally(() => {
      if (this.lookups.get(key) === lookup) this.lookups.delete(key);
    });
    const lookup = { startedAt, caller };
    this.lookups.set(key, lookup);
    return caller;
  }

  private async readCaller(key: string): Promise<Caller> {
    const now = new Date();
    const recordedBefore = new Date(now.getTime() - usePrecisionMs);
    const row = await useApiKey(this.db, { hash: await hashOf(key), now, recordedBefore });
    if (row === undefined || row.revoked_at !== null) throw invalid();
    const expiresAt = row.expires_at === null ? never : Date.parse(row.expires_at) / 1_000;
    if (hasExpired(expiresAt)) throw expired();
    const { id, scopes, user_id: userId, subject, name, email } = row;
    return { userId, subject, role: "admin", name, email, expiresAt, apiKey: { id, scopes: toScopes(scopes) } };
  }
}

/** `expiresAt` in seconds since 1970. */
function hasExpired(expiresAt: number): boolean {
  return Date.now() >= expiresAt * 1_000;
}
