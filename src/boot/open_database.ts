/** Opens the configured database, and the secret file of a server with the embedded one. */
import type { Kysely } from "kysely";
import type { Config } from "../config.ts";
import { connect, type Database } from "../database/connect.ts";
import { checkDatabase } from "./check_database.ts";
import { assertFitsPostgres, explainFolder, makeDataFolder } from "./data_folder.ts";
import { readOrMakeSecret } from "./secret_file.ts";

export interface OpenDatabase {
  url: string;
  db: Kysely<Database>;
  close(): Promise<void>;
}

/**
 * Connects to `DATABASE_URL`, or starts the embedded Postgres first. `close` also stops that Postgres.
 *
 * @throws {ConfigError} if the database or the folder cannot be used.
 */
export async function openDatabase({ databaseUrl, dataDir, databasePool: pool }: Config): Promise<OpenDatabase> {
  if (databaseUrl !== undefined) {
    await checkDatabase(databaseUrl);
    const db = connect({ url: databaseUrl, pool });
    return { url: databaseUrl, db, close: () => db.destroy() };
  }
  await makeDataFolder(dataDir);
  await assertFitsPostgres(dataDir);
  // Imported here because the production image has no embedded Postgres.
  const { startEmbeddedPostgres } = await import("./embedded.ts");
  const server = await explainFolder(dataDir, () => startEmbeddedPostgres({ directory: dataDir }));
  const url = server.url("postgres");
  const db = connect({ url, pool });
  const close = async () => {
    try {
      await db.destroy();
    } finally {
      await server.stop();
    }
  };
  return { url, db, close };
}

/** Adds the secret in `DATA_DIR` to a configuration without keys. A server with the embedded Postgres creates that secret. */
export async function withSecret(config: Config): Promise<Config> {
  const { auth, dataDir } = config;
  if (auth.secret !== undefined || auth.jwksUrl !== undefined) return config;
  await makeDataFolder(dataDir);
  const secret = await explainFolder(dataDir, () => readOrMakeSecret(`${dataDir}/jwt_secret`));
  return { ...config, auth: { ...auth, secret } };
}
