/** A Postgres for one run of a script or of the tests. It forgets everything, so it need not wait for the disk. */
import { type EmbeddedServer, startEmbeddedPostgres } from "../src/database/embedded.ts";

export async function startTemporaryPostgres(): Promise<EmbeddedServer> {
  const directory = await Deno.makeTempDir({ prefix: "slotkeeper_" });
  const settings = { fsync: "off", synchronous_commit: "off", full_page_writes: "off", max_connections: "500" };
  const server = await startEmbeddedPostgres({ directory, settings });
  const stop = async () => {
    await server.stop();
    await Deno.remove(directory, { recursive: true });
  };
  return { ...server, stop, [Symbol.asyncDispose]: stop };
}
