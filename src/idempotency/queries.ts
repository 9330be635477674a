import { type Kysely, type RawBuilder, type Selectable, sql, type Transaction } from "kysely";
import type { IdempotencyKeys } from "../../generated/database.d.ts";
import type { NewKey } from "../contract/handlers.ts";
import type { Database } from "../database/connect.ts";
import { instant } from "../database/instants.ts";
import { prepared } from "../database/prepared.ts";
import { isAmongEarliest } from "../database/sweep.ts";

export type IdempotencyRow = Selectable<IdempotencyKeys>;
export type IdempotencyId = Pick<IdempotencyRow, "user_id" | "key_hash">;

/** A key in a transaction. */
export interface Claim extends IdempotencyId {
  /** The number of its lock. */
  lock: string;
  /** An older row has expired. */
  since: Date;
}

/** Whether the lock was free, and the row of the key, if there is one. */
export type Claimed =
  & { is_free: boolean }
  & Nullable<Pick<IdempotencyRow, "request_hash" | "status" | "answer" | "result" | "pending_until">>;

type Nullable<Row> = { [Name in keyof Row]: Row[Name] | null };

/** Locks a key until the transaction ends, and then reads its row. */
export async function claimKeyRow(trx: Transaction<Database>, claim: Claim): Promise<Claimed> {
  const [claimed] = await claimStatement(trx, claim);
  if (claimed === undefined) throw new Error("lock_idempotency_key returned no row");
  return claimed;
}

const claimStatement = prepared((_db, { lock, user_id, key_hash, since }: Claim) =>
  sql<Claimed>`
    select * from lock_idempotency_key(
      ${lock}::text::bigint, ${user_id}::bigint, ${key_hash}::text, ${since}::timestamptz
    )`
);

/**
 * A condition of a change: no other request has its key, if it has one. It locks the key until the end of the statement. If
 * a request with the key commits just before, {@link insertKey} violates the constraint `idempotencyKey`.
 */
export function keyIsNew(key: NewKey | undefined): RawBuilder<boolean> {
  if (key === undefined) return sql`true`;
  return sql`(
    select pg_try_advisory_xact_lock(${key.keyLock}::text::bigint) and not exists (
      select from idempotency_keys k where k.user_id = ${key.keyUserId}::bigint and k.key_hash = ${key.keyHash}::text
    )
  )`;
}

/** Returns the statement, for a `with`, that stores `result` of the relation `changed` under a key. */
export function insertKey(key: NewKey): RawBuilder<object> {
  const { keyUserId, keyHash, requestHash, keyCreatedAt } = key;
  return sql`(
    insert into idempotency_keys (user_id, key_hash, request_hash, result, created_at)
    select ${keyUserId}::bigint, ${keyHash}::text, ${requestHash}::text, result, ${keyCreatedAt}::timestamptz
    from changed
  )`;
}

/** Stores the answer of a key, instead of an expired or released one. */
export async function storeKey(trx: Transaction<Database>, row: StoredKey): Promise<void> {
  await storeStatement(trx, row);
}

interface StoredKey extends IdempotencyId {
  request_hash: string;
  status: number | null;
  answer: Uint8Array | null;
  pending_until: Date | null;
  created_at: Date;
}

const storeStatement = prepared((db, row: StoredKey) => {
  const { user_id, key_hash, request_hash, status, answer, pending_until, created_at } = row;
  const stored = { request_hash, status, answer, result: null, pending_until, created_at };
  return db.insertInto("idempotency_keys").values({ user_id, key_hash, ...stored })
    .onConflict((conflict) => conflict.constraint("idempotency_keys_pkey").doUpdateSet(stored));
});

/** Makes the answer so far the final one. */
export async function finalizeKey(trx: Transaction<Database>, { user_id, key_hash }: IdempotencyId): Promise<void> {
  await trx.updateTable("idempotency_keys").set({ pending_until: null })
    .where("user_id", "=", user_id).where("key_hash", "=", key_hash).execute();
}

/** One attempt of a request. Its `pending_until` is unique, because the next attempt begins after it. */
export type IdempotencyAttempt = IdempotencyId & { pending_until: Date };

/** Writes the final answer of a pending attempt. */
export async function finishKey(
  db: Kysely<Database>,
  { user_id, key_hash, pending_until, ...answer }: IdempotencyAttempt & Pick<IdempotencyRow, "status" | "answer">,
): Promise<void> {
  await db.updateTable("idempotency_keys").set({ ...answer, pending_until: null })
    .where("user_id", "=", user_id).where("key_hash", "=", key_hash).where("pending_until", "=", instant(pending_until))
    .execute();
}

/** Removes the key of an attempt without an answer. */
export async function releaseKey(
  db: Kysely<Database>,
  { user_id, key_hash, pending_until }: IdempotencyAttempt,
): Promise<void> {
  await db.deleteFrom("idempotency_keys")
    .where("user_id", "=", user_id).where("key_hash", "=", key_hash).where("pending_until", "=", instant(pending_until))
    .execute();
}

/** Removes at most `limit` keys that were stored at `before` or earlier. Returns their number. */
export async function removeKeys(
  db: Kysely<Database>,
  due: { before: Date; limit: number },
): Promise<number> {
  const { numDeletedRows } = await db.deleteFrom("idempotency_keys").where(
    isAmongEarliest("idempotency_keys", "created_at", due),
  )
    .executeTakeFirstOrThrow();
  return Number(numDeletedRows);
}
