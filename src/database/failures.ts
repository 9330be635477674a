/** Classifies failures of the database. Codes are SQLSTATE (PostgreSQL, appendix A) and those of postgres.js. */

/** The connection broke or was never opened. */
const broken = new Set([
  "CONNECTION_CLOSED",
  "CONNECTION_DESTROYED",
  "CONNECTION_ENDED",
  "CONNECT_TIMEOUT",
  "EAI_AGAIN",
  "ECONNREFUSED",
  "ECONNRESET",
  "EHOSTUNREACH",
  "ENETUNREACH",
  "ENOTFOUND",
  "EPIPE",
  "ETIMEDOUT",
  "08000", // connection_exception
  "08003", // connection_does_not_exist
  "08006", // connection_failure
  "57P01", // admin_shutdown
  "57P02", // crash_shutdown
  "57P03", // cannot_connect_now
]);
/** The database answers but cannot serve now. */
const refused = new Set([
  "25P03", // idle_in_transaction_session_timeout
  "55P03", // lock_not_available: lock_timeout
  "57014", // query_canceled: statement_timeout
  "25006", // read_only_sql_transaction: a standby that is not the primary yet
  "3D000", // invalid_catalog_name: the database is gone
  "53300", // too_many_connections
]);
const conflicts = new Set(["40001", "40P01"]);

function codeOf(failure: unknown): string | undefined {
  const code = failure instanceof Error && "code" in failure ? failure.code : undefined;
  return typeof code === "string" ? code : undefined;
}

/** Returns whether the connection broke or could not be opened. */
export function isConnectionLost(failure: unknown): boolean {
  return broken.has(codeOf(failure) ?? "");
}

/** Returns whether Postgres refused or ended the connection. */
export function isFatal(failure: unknown): boolean {
  return failure instanceof Error && "severity" in failure && failure.severity === "FATAL";
}

/** Returns whether the database could not be reached or cannot serve now. The same request may succeed later. */
export function isUnavailable(failure: unknown): boolean {
  return isConnectionLost(failure) || refused.has(codeOf(failure) ?? "");
}

/** Returns whether a transaction lost against another one: an error of Postgres or a {@link Conflict}. A retry may succeed. */
export function isConflict(failure: unknown): boolean {
  return failure instanceof Conflict || conflicts.has(codeOf(failure) ?? "");
}

/** Returns whether a statement failed because a table is missing. */
export function isMissingTable(failure: unknown): boolean {
  return codeOf(failure) === "42P01";
}

/** Returns whether `failure` is a violation of the constraint or index with this name. */
export function violates(failure: unknown, constraint: string): boolean {
  return failure instanceof Error && "constraint_name" in failure && failure.constraint_name === constraint;
}

/**
 * Thrown if the rows that a transaction or statement has read have changed, so that it must retry. See `retryConflicts`.
 * The answer after the last attempt is its `cause`, if that is a problem.
 */
export class Conflict extends Error {
  override name = "Conflict";
}
