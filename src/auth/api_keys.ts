/**
 * Rules of API keys. Programs call us with them. Keys expire by the machine's time, as tokens do. So a change of the
 * sandbox clock neither expires a key nor revives one.
 */
import type { Kysely } from "kysely";
import type { ApiKey, ApiKeyCreated, CreateApiKey } from "../../generated/contract.ts";
import { toScopes } from "../contract/access.ts";
import type { Caller } from "../contract/caller.ts";
import type { Audit } from "../contract/handlers.ts";
import { invalidFields, Problem } from "../contract/problems.ts";
import type { Database } from "../database/connect.ts";
import { Conflict } from "../database/failures.ts";
import { type ApiKeyRow, insertApiKey, lockApiKey, markRevoked } from "./api_key_queries.ts";
import { hashOf, newApiKey, subjectOfKey } from "./secrets.ts";

export interface AuthRules {
  /** For a change, the transaction that `audit` writes in. */
  db: Kysely<Database>;
  audit: Audit;
}

/** From this time on, and in some time zones a little earlier, the API cannot format every time. */
const end = new Date("9999-01-01T00:00:00Z");

/**
 * Creates a key, and a user of its own that it acts as.
 *
 * @throws {Problem} `validation_failed` if the expiry is in the past, or in the year 9999 or later.
 */
export async function createApiKey(
  { db, audit }: AuthRules,
  caller: Caller,
  { name, scopes, expiresAt }: CreateApiKey,
): Promise<ApiKeyCreated> {
  const now = new Date();
  const { key, prefix } = newApiKey();
  const row = await insertApiKey(db, {
    hash: await hashOf(key),
    prefix,
    subject: subjectOfKey(prefix),
    name,
    scopes: toScopes(scopes),
    createdBy: caller.userId,
    expiresAt: expiresAt === null ? null : toExpiry(expiresAt, now),
    now,
  });
  if (row === undefined) throw new Conflict("another API key has the same random prefix");
  const apiKey = toApiKey(row);
  await audit({ resource: "api_key", resourceId: row.id, before: null, after: apiKey });
  return { apiKey, key, message: "Store the key now, it is not shown again." };
}

/**
 * Revokes a key for good. A revoked key stays as it is.
 *
 * @throws {Problem} `api_key_not_found`.
 */
export async function revokeApiKey({ db, audit }: AuthRules, id: number): Promise<void> {
  const row = await lockApiKey(db, id);
  if (row === undefined) throw new Problem("api_key_not_found", `API key not found: there is no API key ${id}.`);
  if (row.revoked_at !== null) return;
  const revoked = await markRevoked(db, id, new Date());
  await audit({ resource: "api_key", resourceId: id, before: toApiKey(row), after: toApiKey(revoked) });
}

function toExpiry(text: string, now: Date): Date {
  const expiry = new Date(text);
  if (expiry > now && expiry < end) return expiry;
  const message = expiry >= end ? "must be before the year 9999" : "must be in the future";
  throw invalidFields([{ in: "body", path: "expiresAt", message }]);
}

export function toApiKey(row: ApiKeyRow): ApiKey {
  return {
    id: row.id,
    name: row.name,
    prefix: row.prefix,
    scopes: toScopes(row.scopes),
    userId: row.user_id,
    createdBy: row.created_by,
    createdAt: row.created_at,
    expiresAt: row.expires_at,
    lastUsedAt: row.last_used_at,
    revokedAt: row.revoked_at,
  };
}
