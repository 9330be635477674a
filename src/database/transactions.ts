/** Transactions and their repetition after a conflict. */
import type { Kysely, Transaction } from "kysely";
import type { Database } from "./connect.ts";
import { isConflict } from "./failures.ts";

/** Attempts in all. Each lost attempt means that another transaction got through. */
const maxAttempts = 10;

/**
 * Runs a transaction or statement, again after a conflict (a serialization failure, a deadlock or a {@link Conflict}). A failed
 * attempt leaves nothing behind, so the repetition is safe. The conflict of the last attempt is thrown.
 *
 * Within a transaction it runs once: the conflict ends the transaction, and the code that began it repeats all of it.
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

/** Runs `change` as one transaction, again after a conflict. Within a transaction it becomes a part of that one. */
export function inTransaction<T>(
  db: Kysely<Database>,
  change: (trx: Transaction<Database>) => Promise<T>,
): Promise<T> {
  return isTransaction(db) ? change(db) : retryConflicts(db, () => db.transaction().execute(change));
}

function isTransaction(db: Kysely<Database>): db is Transaction<Database> {
  return db.isTransaction;
}
