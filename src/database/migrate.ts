/** Bringing a database up to date, and knowing whether it is. */
import type { Kysely } from "kysely";
import { type Migration, Migrator } from "kysely/migration";
import { Logger, runMigrations } from "../jobs/graphile_worker.ts";
import { queueUrl } from "../jobs/queue_url.ts";
import { connect, type Database } from "./connect.ts";
import * as m0001 from "./migrations/0001_rooms_timeslots_bookings.ts";
import * as m0002 from "./migrations/0002_events.ts";
import * as m0003 from "./migrations/0003_payments.ts";

/** In order. One that has landed is never edited; a change is a new one. */
const migrations: Record<string, Migration> = {
  "0001_rooms_timeslots_bookings": m0001,
  "0002_events": m0002,
  "0003_payments": m0003,
};

function migratorOf(db: Kysely<Database>): Migrator {
  return new Migrator({ db, provider: { getMigrations: () => Promise.resolve(migrations) } });
}

/**
 * Runs what is missing, all or nothing, and returns the names of the migrations that it ran. Kysely's migrator holds an
 * advisory lock meanwhile: of several servers that start together one migrates and the others wait.
 */
export async function migrate(url: string): Promise<string[]> {
  // One connection, because the lock belongs to it.
  const db = connect({ url, pool: 1 });
  try {
    // The queue of jobs has a schema and migrations of its own. They come first: where they may not run, nothing has changed.
    // What they say meanwhile is no news.
    await runMigrations({ connectionString: await queueUrl(url), logger: new Logger(() => () => {}) })
      .catch((cause) => {
        throw new Error("The schema of the queue of jobs could not be made or migrated", { cause });
      });
    const { error, results = [] } = await migratorOf(db).migrateToLatest();
    if (error !== undefined) throw new Error("The database could not be migrated", { cause: error });
    return results.map((result) => result.migrationName);
  } finally {
    await db.destroy();
  }
}

/** Whether the database answers and has every migration. */
export async function isMigrated(db: Kysely<Database>): Promise<boolean> {
  const state = await migratorOf(db).getMigrations();
  return state.every((migration) => migration.executedAt !== undefined);
}
