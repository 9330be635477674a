/**
 * Time limits in Postgres. A server that freezes or loses its network in a transaction keeps its locks. It also delays the
 * events of all servers. TCP would only notice after two hours.
 */
import { sql } from "kysely";

/** Longest wait for a lock. */
const lockLimit = "5s";

/** A statement that limits its transaction: 10 s idle, 30 s for a statement, {@link lockLimit} for a lock. */
export const transactionLimits = `select set_config('idle_in_transaction_session_timeout', '10s', true),
  set_config('statement_timeout', '30s', true), set_config('lock_timeout', '${lockLimit}', true)`;

/**
 * A condition that is always true, for the part of a change that locks rows. Then the change waits for {@link lockLimit} at
 * most, also without a transaction. Reads share its connection and would wait too. Postgres evaluates it before it reads
 * the first row, because it depends on none.
 */
export const limitsLockWait = sql<boolean>`(select set_config('lock_timeout', ${
  sql.lit(lockLimit)
}, true)) is not null`;
