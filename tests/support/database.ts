/** Databases for tests, copied from a template that has every migration. */
import { type Kysely, sql, type Transaction } from "kysely";
import postgres from "postgres";
import type { Database } from "../../src/database/connect.ts";
import { eventually } from "./process.ts";

export const templateDatabase = "slotkeeper_template";

/** `url` with another database. */
export function databaseUrl(url: string, database: string): string {
  const changed = new URL(url);
  changed.pathname = `/${database}`;
  return changed.href;
}

/** A database at a port where nobody listens. A free port could be handed to another process, port 1 is not. */
export const nowhere = "postgres://nobody:nothing@127.0.0.1:1/nowhere";

const asAdmin = (adminUrl: string): postgres.Sql => postgres(adminUrl, { max: 1, onnotice: () => {} });

async function execute(adminUrl: string, statement: string): Promise<void> {
  const sql = asAdmin(adminUrl);
  try {
    await sql.unsafe(statement);
  } finally {
    await sql.end();
  }
}

/** `file_copy` takes a sixth of the time of the default strategy, which logs every page. */
const creation = (name: string, template: string) => `create database ${name} template ${template} strategy file_copy`;
const removal = (name: string) => `drop database if exists ${name} with (force)`;

/** Creates `name`, empty or as a copy of `template`. */
export function createDatabase(adminUrl: string, name: string, template = "template0"): Promise<void> {
  return execute(adminUrl, creation(name, template));
}

export function dropDatabase(adminUrl: string, name: string): Promise<void> {
  return execute(adminUrl, removal(name));
}

export interface TestDatabase extends AsyncDisposable {
  url: string;
}

/** One connection for all databases of a shard. Opening one takes as long as making a database. */
let admin: postgres.Sql | undefined;
const removals: Promise<unknown>[] = [];
Deno.test.afterAll(async () => {
  await Promise.all(removals.splice(0));
  await admin?.end();
  admin = undefined;
});

/** A database of its own, migrated unless `migrated` is false. Disposing of it starts its removal and does not wait. */
export async function newDatabase({ migrated = true } = {}): Promise<TestDatabase> {
  const adminUrl = Deno.env.get("TEST_DATABASE_URL");
  if (adminUrl === undefined) throw new Error("Run the tests with `deno task test`, which starts their Postgres.");
  const name = `test_${crypto.randomUUID().replaceAll("-", "")}`;
  const client = admin ??= asAdmin(adminUrl);
  await client.unsafe(creation(name, migrated ? templateDatabase : "template0"));
  return {
    url: databaseUrl(adminUrl, name),
    [Symbol.asyncDispose]() {
      const removing = client.unsafe(removal(name)).execute();
      // A failure is reported at the end of the shard. Without a handler it would end the shard at once.
      removing.catch(() => {});
      removals.push(removing);
      return Promise.resolve();
    },
  };
}

/** Waits until exactly `count` statements on this database wait for a lock. */
export async function untilWaiting(db: Kysely<Database>, count: number): Promise<void> {
  await eventually(async () => {
    const { rows } = await sql`
      select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'
    `.execute(db);
    return rows.length === count;
  });
}

/** Locks rows until `release()`. */
export async function lockRows(
  db: Kysely<Database>,
  lock: (trx: Transaction<Database>) => Promise<unknown>,
): Promise<{ release: () => Promise<void> }> {
  const [locked, released] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
  const transaction = db.transaction().execute(async (trx) => {
    await lock(trx);
    locked.resolve();
    await released.promise;
  });
  await Promise.race([locked.promise, transaction]);
  return {
    async release() {
      released.resolve();
      await transaction;
    },
  };
}
