/** Migrations of a database. */
import { Migrator } from "kysely/migration";
import { connect } from "../database/connect.ts";
import { isMigrated, migrations } from "../database/migrations.ts";
import { Logger, runMigrations } from "../jobs/graphile_worker.ts";
import { queueUrl } from "../jobs/queue_url.ts";

const provider = { getMigrations: () => Promise.resolve(migrations) };

/**
 * Runs all missing migrations, or none if one fails, and returns their names. Kysely's migrator holds an advisory lock: if
 * several servers start together, one migrates and the others wait.
 */
export async function migrate(url: string): Promise<string[]> {
  // The lock belongs to one connection.
  const db = connect({ url, pool: 1, hasTimeLimits: false });
  try {
    // The job queue has its own schema and migrations. They run first, so that nothing has changed if they fail.
    await runMigrations({ connectionString: await queueUrl(url), logger: new Logger(() => () => {}) })
      .catch((cause) => {
        throw new Error("The schema of the job queue could not be created or migrated", { cause });
      });
    // Also true if a later version has migrated: this version may still restart during a rolling update.
    if (await isMigrated(db)) return [];
    const { error, results = [] } = await new Migrator({ db, provider }).migrateToLatest();
    if (error !== undefined) throw new Error("The database could not be migrated", { cause: error });
    return results.map((result) => result.migrationName);
  } finally {
    await db.destroy();
  }
}
