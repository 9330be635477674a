/** Transactions, and what is part of one when there is one already. */
import type { Kysely, Transaction } from "kysely";
import type { Database } from "./connect.ts";
import { retryConflicts } from "./failures.ts";

/** Runs `change` as one transaction, again after a conflict. Within a transaction it is a part of that. */
export function inTransaction<T>(
  db: Kysely<Database>,
  change: (trx: Transaction<Database>) => Promise<T>,
): Promise<T> {
  return isTransaction(db) ? change(db) : retryConflicts(() => db.transaction().execute(change));
}

/** Runs a statement, again after a conflict. Within a transaction a conflict ends that, and whoever began it begins again. */
export function runStatement<T>(db: Kysely<Database>, statement: () => Promise<T>): Promise<T> {
  return db.isTransaction ? statement() : retryConflicts(statement);
}

function isTransaction(db: Kysely<Database>): db is Transaction<Database> {
  return db.isTransaction;
}
