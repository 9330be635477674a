/** Transactions and their retries after a conflict. */
import type { IsolationLevel, Kysely, Transaction } from "kysely";
import type { Database } from "./connect.ts";
import { pipeline } from "./driver.ts";
import { isConflict } from "./failures.ts";

/** Each lost attempt means that another transaction succeeded. */
const maxAttempts = 10;

/**
 * Runs a transaction or statement, and retries it after a conflict (a serialization failure, a deadlock or a
 * {@link Conflict}). A failed attempt changes nothing, so the retry is safe. After {@link maxAttempts} the conflict is
 * thrown.
 *
 * Within a transaction it runs once. The conflict ends the transaction, and its owner retries all of it.
 */
export async function retryConflicts<T>(db: Kysely<Database>, run: () => Promise<T>): Promise<T> {
  if (db.isTransaction) return await run();
  for (let attempt = 1;; attempt++) {
    try {
      return await run();
    } catch (failure) {
      if (attempt === maxAttempts || !isConflict(failure)) throw failure;
    }
  }
}

/** Runs `change` as one transaction, and retries it after a conflict. Within a transaction it becomes part of that one. */
export function inTransaction<T>(
  db: Kysely<Database>,
  change: (trx: Transaction<Database>) => Promise<T>,
): Promise<T> {
  return isTransaction(db) ? change(db) : retryConflicts(db, () => runTransaction(db, "read committed", change));
}

/** Runs `change` as one transaction, once. Its prepared statements are pipelined. */
export function runTransaction<T>(
  db: Kysely<Database>,
  isolation: IsolationLevel,
  change: (trx: Transaction<Database>) => Promise<T>,
): Promise<T> {
  return db.transaction().setIsolationLevel(isolation).execute(async (trx) => {
    await pipeline(trx);
    return await change(trx);
  });
}

function isTransaction(db: Kysely<Database>): db is Transaction<Database> {
  return db.isTransaction;
}
