/** Migrations of a database. */
import { sql } from "kysely";
import { Migrator } from "kysely/migration";
import { connect } from "../database/connect.ts";
import { isMigrated, migrations } from "../database/migrations.ts";
import { retryConflicts } from "../database/transactions.ts";
import { migrateQueue } from "../jobs/queue_migrations.ts";
import { databaseFault } from "./check_database.ts";

const provider = { getMigrations: () => Promise.resolve(migrations) };

/**
 * Runs all missing migrations and returns their names. An advisory lock is held meanwhile: if several servers start together,
 * one migrates and the others wait.
 *
 * Each migration is a transaction of its own, so that it keeps few locks for a short time. Requests of a server of the
 * previous version may take the same locks in another order. A migration that loses to them is retried.
 *
 * @throws {ConfigError} if the role lacks a right, or the database cannot be reached.
 */
export async function migrate(url: string): Promise<string[]> {
  // The lock belongs to one connection.
  const db = connect({ url, pool: 1, hasTimeLimits: false });
  try {
    // The job queue has its own schema and migrations. They run first, so that nothing has changed if they fail.
    await migrateQueue(db, url).catch((cause) => {
      throw new Error("The schema of the job queue could not be created or migrated", { cause });
    });
    // Also true if a later version has migrated: this version may still restart during a rolling update.
    if (await isMigrated(db)) return [];
    // Held until the connection is closed. Kysely's own lock is held for one migration only.
    await sql`select pg_advisory_lock(hashtextextended('migrations of slotkeeper', 0))`.execute(db);
    if (await isMigrated(db)) return [];
    const migrator = new Migrator({ db, provider });
    const ran: string[] = [];
    for (;;) {
      const names = await retryConflicts(db, () => migrateOne(migrator)).catch((cause: unknown) => {
        throw new Error("The database could not be migrated", { cause });
      });
      if (names.length === 0) return ran;
      ran.push(...names);
    }
  } catch (failure) {
    const cause = failure instanceof Error && failure.cause instanceof Error ? failure.cause : failure;
    throw databaseFault(cause, url) ?? failure;
  } finally {
    await db.destroy();
  }
}

/** Runs the next missing migration. Returns its name, or nothing if none is missing. */
async function migrateOne(migrator: Migrator): Promise<string[]> {
  const { error, results = [] } = await migrator.migrateUp();
  if (error !== undefined) throw error;
  return results.map((result) => result.migrationName);
}
