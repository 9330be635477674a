/** Opens the configured database, and the secret file of a server with the embedded one. */
import type { Kysely } from "kysely";
import { type Config, ConfigError } from "../config.ts";
import { connect, type Database } from "../database/connect.ts";
import { readOrMakeSecret } from "./secret_file.ts";

export interface OpenDatabase {
  url: string;
  db: Kysely<Database>;
  close(): Promise<void>;
}

/** Connects to `DATABASE_URL`, or starts the embedded Postgres first. `close` also stops that Postgres. */
export async function openDatabase({ databaseUrl, dataDir, databasePool: pool }: Config): Promise<OpenDatabase> {
  if (databaseUrl !== undefined) {
    const db = connect({ url: databaseUrl, pool });
    return { url: databaseUrl, db, close: () => db.destroy() };
  }
  await assertMayWrite(dataDir);
  // Imported here because the production image has no embedded Postgres.
  const { startEmbeddedPostgres } = await import("./embedded.ts");
  const server = await startEmbeddedPostgres({ directory: dataDir });
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
  await assertMayWrite(dataDir);
  await Deno.mkdir(dataDir, { recursive: true });
  return { ...config, auth: { ...auth, secret: await readOrMakeSecret(`${dataDir}/jwt_secret`) } };
}

async function assertMayWrite(path: string): Promise<void> {
  if ((await Deno.permissions.query({ name: "write", path })).state === "granted") return;
  throw new ConfigError(
    "DATABASE_URL: set it, because this server may not write files and cannot start a Postgres of its own",
  );
}
