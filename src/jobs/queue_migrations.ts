/** The schema of the job queue, which has its own migrations. */
import { type Kysely, sql } from "kysely";
import type { Database } from "../database/connect.ts";
import { isMissingTable } from "../database/failures.ts";
import { queueUrl } from "./queue_url.ts";

/** The last migration of the installed `graphile-worker`. */
export const lastQueueMigration = 20;

/**
 * Creates the schema of the job queue, or migrates it. Loads the package only if the schema is not that of this version: it
 * takes 20 MiB.
 */
export async function migrateQueue(db: Kysely<Database>, url: string): Promise<void> {
  if (await findLastMigration(db) === lastQueueMigration) return;
  const { Logger, runMigrations } = await import("./graphile_worker.ts");
  await runMigrations({ connectionString: await queueUrl(url), logger: new Logger(() => () => {}) });
}

async function findLastMigration(db: Kysely<Database>): Promise<number | undefined> {
  try {
    const { rows } = await sql<{ id: number }>`select id from graphile_worker.migrations order by id desc limit 1`
      .execute(db);
    return rows[0]?.id;
  } catch (failure) {
    if (isMissingTable(failure)) return undefined;
    throw failure;
  }
}
