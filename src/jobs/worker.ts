/** Runs jobs. Every server has a worker, and the queue gives each job to one of them. */
import type { Kysely } from "kysely";
import type pg from "pg";
import type { Database } from "../database/connect.ts";
import { describeFailure, type Log } from "../log.ts";
import { Repeater } from "../time/repeater.ts";
import type { JobName } from "./enqueue.ts";
import type { runTaskListOnce } from "./graphile_worker.ts";
import { hasDueJobs } from "./queue.ts";
import { queueUrl } from "./queue_url.ts";

/** Milliseconds between two polls of the queue. */
const intervalMs = 2_000;

const queueOptions = {
  noHandleSignals: true,
  // A PgBouncer in transaction mode may not support prepared statements.
  noPreparedStatements: true,
  // Without a batch the package does not await the statement that marks a job as done or failed. If the database is gone or
  // the pool closed, that rejection would end the process.
  preset: { worker: { completeJobBatchDelay: 0, failJobBatchDelay: 0 } },
};

/** Runs a job for the row `id`. If it rejects, the job is retried later. `attempt` counts from 1. */
export type Task = (id: string, job: { attempt: number }) => Promise<void>;

export interface WorkerOptions {
  db: Kysely<Database>;
  url: string;
  log: Log;
  tasks: Record<JobName, Task>;
}

/** Polls the queue, so that no connection is held for a queue that is mostly empty. */
export class Worker {
  private pool: pg.Pool | undefined;
  private readonly rounds: Repeater;
  private running: ReturnType<typeof runTaskListOnce> | undefined;

  constructor(private readonly options: WorkerOptions) {
    const { log } = options;
    this.rounds = new Repeater(
      () => this.work().catch((failure) => log.error("jobs cannot be run", { failure: describeFailure(failure) })),
      intervalMs,
    );
  }

  /** Begins to poll. */
  start(): void {
    this.rounds.start();
  }

  /** Runs all due jobs, one after another. A failed job is logged and stays in the queue. */
  async work(): Promise<void> {
    const { db, log, tasks } = this.options;
    if (!await hasDueJobs(db)) return;
    // Loaded with the first job, because it takes 20 MiB.
    const { Logger, runTaskListOnce } = await import("./graphile_worker.ts");
    const client = await (await this.connected()).connect();
    // A broken connection also rejects the current statement or the next one.
    const ignore = () => {};
    client.on("error", ignore);
    try {
      const list = Object.fromEntries(
        Object.entries(tasks).map(([name, task]) => [
          name,
          (payload: unknown, { job }: { job: { attempts: number } }) => task(idOf(payload), { attempt: job.attempts }),
        ]),
      );
      const logger = new Logger(() => (level, message) => {
        if (level === "error" || level === "warning") log.warn("job failed", { reason: message.split("\n")[0] });
      });
      this.running = runTaskListOnce({ ...queueOptions, logger }, list, client);
      await this.running.promise;
    } finally {
      this.running = undefined;
      client.off("error", ignore);
      client.release();
    }
  }

  /** Starts no other job. Waits for the current one to end, and aborts it after 5 seconds. */
  async stop(): Promise<void> {
    const ended = this.rounds.stop();
    const { log } = this.options;
    await Promise.resolve(this.running?.gracefulShutdown("the server stops"))
      .catch((failure: unknown) => log.warn("job aborted", { failure: describeFailure(failure) }));
    await ended;
    await this.pool?.end();
  }

  private async connected(): Promise<pg.Pool> {
    if (this.pool !== undefined) return this.pool;
    const connectionString = await queueUrl(this.options.url);
    const { default: pg } = await import("pg");
    this.pool = new pg.Pool({ connectionString, max: 1, idleTimeoutMillis: 10_000 });
    // An idle connection broke. The next job opens another one, and reports if that fails.
    this.pool.on("error", () => {});
    return this.pool;
  }
}

function idOf(payload: unknown): string {
  const id = typeof payload === "object" && payload !== null && "id" in payload ? payload.id : undefined;
  if (typeof id !== "string") throw new Error("The payload of the job has no id");
  return id;
}
