import { type Insertable, type Kysely, type Selectable, sql, type Transaction } from "kysely";
import type { IdempotencyKeys } from "../../generated/database.d.ts";
import type { Database } from "../database/connect.ts";

export type IdempotencyRow = Selectable<IdempotencyKeys>;
export type IdempotencyId = Pick<IdempotencyRow, "user_id" | "key_hash">;

/** Whether nobody else has this key at work. If so, nobody will until the transaction ends. */
export async function lockKey(trx: Transaction<Database>, lock: bigint): Promise<boolean> {
  const { rows } = await sql<{ locked: boolean }>`select pg_try_advisory_xact_lock(${
    String(lock)
  }::text::bigint) as locked`
    .execute(trx);
  return rows[0]?.locked === true;
}

/** What is stored of a key since `since`. */
export function findKey(
  trx: Transaction<Database>,
  { user_id, key_hash, since }: IdempotencyId & { since: Date },
): Promise<IdempotencyRow | undefined> {
  return trx.selectFrom("idempotency_keys").selectAll()
    .where("user_id", "=", user_id).where("key_hash", "=", key_hash).where("created_at", ">", since)
    .executeTakeFirst();
}

/** Stores what is answered to a key, in the place of what may be left of it from before. */
export async function storeKey(trx: Transaction<Database>, row: Insertable<IdempotencyKeys>): Promise<void> {
  const { user_id: _user, key_hash: _key, ...answer } = row;
  await trx.insertInto("idempotency_keys").values(row)
    .onConflict((conflict) => conflict.constraint("idempotency_keys_pkey").doUpdateSet(answer)).execute();
}

/** Makes the answer so far the final one. */
export async function settleKey(trx: Transaction<Database>, { user_id, key_hash }: IdempotencyId): Promise<void> {
  await trx.updateTable("idempotency_keys").set({ pending_until: null })
    .where("user_id", "=", user_id).where("key_hash", "=", key_hash).execute();
}

/** Who may still finish a key. Each attempt has another time, since it begins when that of the one before is over. */
export type IdempotencyAttempt = IdempotencyId & { pending_until: Date };

/** Writes the answer that a key was waiting for. */
export async function finishKey(
  db: Kysely<Database>,
  { user_id, key_hash, pending_until, ...answer }: IdempotencyAttempt & Pick<IdempotencyRow, "status" | "answer">,
): Promise<void> {
  await db.updateTable("idempotency_keys").set({ ...answer, pending_until: null })
    .where("user_id", "=", user_id).where("key_hash", "=", key_hash).where("pending_until", "=", pending_until)
    .execute();
}

/** Forgets a key whose request came to nothing. */
export async function releaseKey(
  db: Kysely<Database>,
  { user_id, key_hash, pending_until }: IdempotencyAttempt,
): Promise<void> {
  await db.deleteFrom("idempotency_keys")
    .where("user_id", "=", user_id).where("key_hash", "=", key_hash).where("pending_until", "=", pending_until)
    .execute();
}

/** Removes at most `limit` keys from before, and says how many. */
export async function removeKeys(
  db: Kysely<Database>,
  { before, limit }: { before: Date; limit: number },
): Promise<number> {
  const { numDeletedRows } = await db.deleteFrom("idempotency_keys")
    .where(sql<boolean>`ctid = any(array(
      select ctid from idempotency_keys where created_at <= ${before} order by created_at limit ${limit} for update skip locked
    ))`).executeTakeFirstOrThrow();
  return Number(numDeletedRows);
}
