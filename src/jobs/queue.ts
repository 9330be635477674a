/** Looking at the queue of jobs. Its times are Postgres's own: how long a job waits has nothing to do with bookings. */
import { type Kysely, sql } from "kysely";
import type { Database } from "../database/connect.ts";

/** Whether there is a job to do now. */
export async function hasDueJobs(db: Kysely<Database>): Promise<boolean> {
  const { rows } = await sql<{ due: boolean }>`
    select exists (
      select from graphile_worker.jobs where run_at <= now() and locked_at is null and attempts < max_attempts
    ) as due
  `.execute(db);
  return rows[0]?.due ?? false;
}

/**
 * Frees the jobs of servers that died with a job in their hands, which the queue itself would keep locked for four hours.
 * No job takes nearly as long as a minute: the provider's answers are waited for by seconds.
 */
export async function freeAbandonedJobs(db: Kysely<Database>): Promise<void> {
  await sql`
    select graphile_worker.force_unlock_workers(array_agg(distinct locked_by))
    from graphile_worker.jobs where locked_at < now() - interval '1 minute'
    having count(*) > 0
  `.execute(db);
}

export interface GivenUpJob {
  id: number;
  name: string;
  lastError: string | null;
}

/** Jobs that had their last try. */
export async function listGivenUpJobs(db: Kysely<Database>): Promise<GivenUpJob[]> {
  const { rows } = await sql<GivenUpJob>`
    select id, task_identifier as name, last_error as "lastError" from graphile_worker.jobs
    where attempts >= max_attempts and locked_at is null order by id limit 1000
  `.execute(db);
  return rows;
}

export async function removeJob(db: Kysely<Database>, id: number): Promise<void> {
  await sql`select graphile_worker.complete_jobs(array[${id}::bigint])`.execute(db);
}
