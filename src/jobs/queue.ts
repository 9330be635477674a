/** Queries of the job queue. Its times are those of Postgres, not of the sandbox clock. */
import { type Kysely, sql } from "kysely";
import type { Database } from "../database/connect.ts";

/** Returns whether a job is due. */
export async function hasDueJobs(db: Kysely<Database>): Promise<boolean> {
  const { rows } = await sql<{ due: boolean }>`
    select exists (
      select from graphile_worker.jobs where run_at <= now() and locked_at is null and attempts < max_attempts
    ) as due
  `.execute(db);
  return rows[0]?.due ?? false;
}

/**
 * Unlocks jobs that have been locked for over a minute, because their server crashed. The queue itself unlocks them after
 * four hours. No live job takes a minute, because calls of a provider time out after seconds.
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

/** Lists up to `limit` jobs whose last attempt failed. */
export async function listGivenUpJobs(db: Kysely<Database>, { limit }: { limit: number }): Promise<GivenUpJob[]> {
  const { rows } = await sql<GivenUpJob>`
    select id, task_identifier as name, last_error as "lastError" from graphile_worker.jobs
    where attempts >= max_attempts and locked_at is null order by id limit ${limit}
  `.execute(db);
  return rows;
}

export async function removeJob(db: Kysely<Database>, id: number): Promise<void> {
  await sql`select graphile_worker.complete_jobs(array[${id}::bigint])`.execute(db);
}
