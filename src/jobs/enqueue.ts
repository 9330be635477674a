/** Adds jobs: work after a transaction, retried until it succeeds. */
import { type RawBuilder, sql } from "kysely";

/** The name of a task. The payload of a job is `{ id }`, the id of the row that it is about. */
export type JobName = "refund_payment" | "close_checkout";

/**
 * Attempts of a job. After the n-th attempt graphile-worker waits e^n seconds, at most e^10. The last attempt is more than
 * a day after the first.
 */
const maxAttempts = 14;

/**
 * Returns an SQL expression that adds the job in the transaction of its statement. Its value is the job's id. `id` is an
 * expression for the id in the payload.
 */
export function enqueue(job: JobName, id: RawBuilder<string>): RawBuilder<number> {
  return sql<number>`(graphile_worker.add_job(
    ${sql.lit(job)}, json_build_object('id', ${id}), max_attempts => ${sql.lit(maxAttempts)}
  )).id`;
}
