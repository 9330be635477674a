/** Doing jobs, on every server: the queue gives each job to one of them. */
import type { Kysely } from "kysely";
import pg from "pg";
import type { Database } from "../database/connect.ts";
import { describeFailure, type Log } from "../log.ts";
import { Repeater } from "../time/repeater.ts";
import type { JobName } from "./enqueue.ts";
import { Logger, runTaskListOnce } from "./graphile_worker.ts";
import { hasDueJobs } from "./queue.ts";
import { queueUrl } from "./queue_url.ts";

/** Milliseconds between two looks at the queue. */
const intervalMs = 2_000;

const queueOptions = {
  noHandleSignals: true,
  // A PgBouncer that pools transactions may not keep prepared statements.
  noPreparedStatements: true,
  // Without a batch nobody would wait for the statement that marks a job as done or failed: when it fails, as the database is
  // gone or the pool closed, the process would end.
  preset: { worker: { completeJobBatchDelay: 0, failJobBatchDelay: 0 } },
};

/** Does a job, or fails and is tried again later. `attempt` counts from 1. */
export type Task = (id: string, job: { attempt: number }) => Promise<void>;

export interface WorkerOptions {
  db: Kysely<Database>;
  url: string;
  log: Log;
  tasks: Record<JobName, Task>;
}

/** Looks for jobs when it is told to, so that no connection is held for a queue that is mostly empty. */
export class Worker {
  private pool: pg.Pool | undefined;
  private readonly rounds: Repeater;
  private running: ReturnType<typeof runTaskListOnce> | undefined;

  constructor(private readonly options: WorkerOptions) {
    const { log } = options;
    this.rounds = new Repeater(
      () => this.work().catch((failure) => log.error("no jobs can be done", { failure: describeFailure(failure) })),
      intervalMs,
    );
  }

  /** Works now and again. */
  start(): void {
    this.rounds.start();
  }

  /** Does all jobs that are due, one after the other. What fails is logged, and left in the queue. */
  async work(): Promise<void> {
    const { db, log, tasks } = this.options;
    if (!await hasDueJobs(db)) return;
    const client = await (await this.connected()).connect();
    // That it broke is told to the statement that is under way, or to the next one.
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
        if (level === "error" || level === "warning") log.warn("a job failed", { reason: message.split("\n")[0] });
      });
      this.running = runTaskListOnce({ ...queueOptions, logger }, list, client);
      await this.running.promise;
    } finally {
      this.running = undefined;
      client.off("error", ignore);
      client.release();
    }
  }

  /** Lets the job that is being done end, or breaks it off after 5 seconds, and begins no other. */
  async stop(): Promise<void> {
    const ended = this.rounds.stop();
    const { log } = this.options;
    await Promise.resolve(this.running?.gracefulShutdown("the server stops"))
      .catch((failure: unknown) => log.warn("a job was broken off", { failure: describeFailure(failure) }));
    await ended;
    await this.pool?.end();
  }

  private async connected(): Promise<pg.Pool> {
    if (this.pool !== undefined) return this.pool;
    const connectionString = await queueUrl(this.options.url);
    this.pool = new pg.Pool({ connectionString, max: 1, idleTimeoutMillis: 10_000 });
    // A connection that breaks while nobody uses it. Whoever needs the next one is told if that fails, too.
    this.pool.on("error", () => {});
    return this.pool;
  }
}

function idOf(payload: unknown): string {
  const id = typeof payload === "object" && payload !== null && "id" in payload ? payload.id : undefined;
  if (typeof id !== "string") throw new Error("a job without the id of what it is about");
  return id;
}
