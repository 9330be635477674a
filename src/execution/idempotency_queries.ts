import { type Insertable, type Kysely, type Selectable, sql, type Transaction } from "kysely";
import type { IdempotencyKeys } from "../../generated/database.d.ts";
import type { Database } from "../database/connect.ts";
import { instant } from "../database/instants.ts";
import { isAmongEarliest } from "../database/sweep.ts";

export type IdempotencyRow = Selectable<IdempotencyKeys>;
export type IdempotencyId = Pick<IdempotencyRow, "user_id" | "key_hash">;

/** Locks a key until the transaction ends. Returns false if another transaction has the lock. */
export async function lockKey(trx: Transaction<Database>, lock: bigint): Promise<boolean> {
  const { rows } = await sql<{ locked: boolean }>`select pg_try_advisory_xact_lock(${
    String(lock)
  }::text::bigint) as locked`
    .execute(trx);
  return rows[0]?.locked === true;
}

/** The row of a key that was stored after `since`. */
export function findKey(
  trx: Transaction<Database>,
  { user_id, key_hash, since }: IdempotencyId & { since: Date },
): Promise<IdempotencyRow | undefined> {
  return trx.selectFrom("idempotency_keys").selectAll()
    .where("user_id", "=", user_id).where("key_hash", "=", key_hash).where("created_at", ">", instant(since))
    .executeTakeFirst();
}

/** Stores the answer of a key, instead of an expired or released one. */
export async function storeKey(trx: Transaction<Database>, row: Insertable<IdempotencyKeys>): Promise<void> {
  const { user_id: _user, key_hash: _key, ...answer } = row;
  await trx.insertInto("idempotency_keys").values(row)
    .onConflict((conflict) => conflict.constraint("idempotency_keys_pkey").doUpdateSet(answer)).execute();
}

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
