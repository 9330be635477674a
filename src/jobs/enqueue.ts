/** Handing out work that is done after the transaction, again and again until it succeeds. */
import { type RawBuilder, sql } from "kysely";

/** What there is to do, by the name of the task. The payload is the id of a row, which says the rest. */
export type JobName = "refund_payment" | "close_checkout";

/**
 * How often a job is tried. Between two tries lie e to the power of the number of tries so far, in seconds, at most e^10
 * (the rule of graphile-worker): the last try comes a good day after the first.
 */
const tries = 14;

/**
 * An expression for a statement that changes something: adds the job in the same transaction and gives the job's id.
 * `id` is an expression for the payload.
 */
export function enqueue(job: JobName, id: RawBuilder<string>): RawBuilder<number> {
  return sql<number>`(graphile_worker.add_job(
    ${sql.lit(job)}, json_build_object('id', ${id}), max_attempts => ${sql.lit(tries)}
  )).id`;
}
