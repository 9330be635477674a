/** Brings a database up to date. */
import { Migrator } from "kysely/migration";
import { connect } from "../database/connect.ts";
import { isMigrated, migrations } from "../database/migrations.ts";
import { Logger, runMigrations } from "../jobs/graphile_worker.ts";
import { queueUrl } from "../jobs/queue_url.ts";

const provider = { getMigrations: () => Promise.resolve(migrations) };

/**
 * Runs the missing migrations, all or none, and returns their names. Kysely's migrator holds an advisory lock meanwhile: of
 * several servers that start together, one migrates and the others wait.
 */
export async function migrate(url: string): Promise<string[]> {
  // One connection, because the lock belongs to it.
  const db = connect({ url, pool: 1, isPatient: true });
  try {
    // The job queue has its own schema and migrations. They run first: if they fail, nothing has changed.
    await runMigrations({ connectionString: await queueUrl(url), logger: new Logger(() => () => {}) })
      .catch((cause) => {
        throw new Error("The schema of the job queue could not be created or migrated", { cause });
      });
    // Also true after a later version has migrated. Until it replaces this version, this one may start again.
    if (await isMigrated(db)) return [];
    const { error, results = [] } = await new Migrator({ db, provider }).migrateToLatest();
    if (error !== undefined) throw new Error("The database could not be migrated", { cause: error });
    return results.map((result) => result.migrationName);
  } finally {
    await db.destroy();
  }
}
