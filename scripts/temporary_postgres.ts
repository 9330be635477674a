/** A Postgres for one run of a script or of the tests. Its data is deleted at the end, so it runs without fsync. */
import { statfs } from "node:fs/promises";
import postgres from "postgres";
import { type EmbeddedServer, startEmbeddedPostgres } from "../src/boot/embedded.ts";

/** Bytes. The tests need less than a fifth of this. */
const roomNeeded = 2 ** 30;

/**
 * Makes a folder for the files of a Postgres, in memory where there is enough of it. A database is hundreds of files, which
 * take 20 times as long on some disks.
 */
export async function makeTemporaryFolder(prefix: string): Promise<string> {
  const memory = "/dev/shm";
  const { bavail, bsize } = await statfs(memory).catch(() => ({ bavail: 0, bsize: 0 }));
  return await Deno.makeTempDir({ prefix, ...(bavail * bsize < roomNeeded ? {} : { dir: memory }) });
}

/** Hashing a random password 4,096 times adds no safety, and the tests connect thousands of times. */
async function hastenLogins(url: string): Promise<void> {
  const { username, password } = new URL(url);
  const sql = postgres(url, { max: 1 });
  try {
    await sql.unsafe(`set scram_iterations = 1; alter role ${username} password '${password}'`);
  } finally {
    await sql.end();
  }
}

export async function startTemporaryPostgres(): Promise<EmbeddedServer> {
  const directory = await makeTemporaryFolder("slotkeeper_");
  const settings = { fsync: "off", synchronous_commit: "off", full_page_writes: "off", max_connections: "500" };
  const server = await startEmbeddedPostgres({ directory, settings });
  await hastenLogins(server.url("postgres"));
  const stop = async () => {
    await server.stop();
    await Deno.remove(directory, { recursive: true });
  };
  return { ...server, stop, [Symbol.asyncDispose]: stop };
}
