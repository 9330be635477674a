/** Bringing a database up to date, and knowing whether it is. */
import { type Kysely, sql } from "kysely";
import { type Migration, Migrator } from "kysely/migration";
import { Logger, runMigrations } from "../jobs/graphile_worker.ts";
import { queueUrl } from "../jobs/queue_url.ts";
import { connect, type Database } from "../database/connect.ts";
import { isMissingTable } from "../database/failures.ts";
import * as m0001 from "../database/migrations/0001_rooms_timeslots_bookings.ts";
import * as m0002 from "../database/migrations/0002_events.ts";
import * as m0003 from "../database/migrations/0003_payments.ts";
import * as m0004 from "../database/migrations/0004_access.ts";

/** In order. One that has landed is never edited; a change is a new one. */
const migrations: Record<string, Migration> = {
  "0001_rooms_timeslots_bookings": m0001,
  "0002_events": m0002,
  "0003_payments": m0003,
  "0004_access": m0004,
};

const provider = { getMigrations: () => Promise.resolve(migrations) };

/**
 * Runs what is missing, all or nothing, and returns the names of the migrations that it ran. Kysely's migrator holds an
 * advisory lock meanwhile: of several servers that start together one migrates and the others wait.
 */
export async function migrate(url: string): Promise<string[]> {
  // One connection, because the lock belongs to it.
  const db = connect({ url, pool: 1, isPatient: true });
  try {
    // The queue of jobs has a schema and migrations of its own. They come first: where they may not run, nothing has changed.
    // What they say meanwhile is no news.
    await runMigrations({ connectionString: await queueUrl(url), logger: new Logger(() => () => {}) })
      .catch((cause) => {
        throw new Error("The schema of the queue of jobs could not be made or migrated", { cause });
      });
    // Also when a later version has run more of them: until it has replaced this one, this one may be started again.
    if (await isMigrated(db)) return [];
    const { error, results = [] } = await new Migrator({ db, provider }).migrateToLatest();
    if (error !== undefined) throw new Error("The database could not be migrated", { cause: error });
    return results.map((result) => result.migrationName);
  } finally {
    await db.destroy();
  }
}

/** Whether the database answers and has every migration. They run in order, so the last one says it, at the cost of one look. */
export async function isMigrated(db: Kysely<Database>): Promise<boolean> {
  const last = Object.keys(migrations).at(-1) ?? "";
  try {
    const { rows } = await sql`select from kysely_migration where name = ${last}`.execute(db);
    return rows.length > 0;
  } catch (failure) {
    if (isMissingTable(failure)) return false;
    throw failure;
  }
}
