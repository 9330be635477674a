/** The embedded Postgres after a power failure: postmaster.pid names a process that is not Postgres. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { makeTemporaryFolder } from "../../scripts/temporary_postgres.ts";
import { startEmbeddedPostgres } from "../../src/boot/embedded.ts";

Deno.test("embedded Postgres: postmaster.pid of another process -> starts, that process lives", async () => {
  const directory = await makeTemporaryFolder("slotkeeper_embedded_");
  const other = new Deno.Command("sleep", { args: ["600"] }).spawn();
  try {
    await (await startEmbeddedPostgres({ directory })).stop();
    const data = join(directory, "postgres");
    await Deno.writeTextFile(
      join(data, "postmaster.pid"),
      [other.pid, data, 0, 1, "", "127.0.0.1", "", "ready"].join("\n"),
    );
    await (await startEmbeddedPostgres({ directory })).stop();
    Deno.kill(other.pid, "SIGCONT");
  } finally {
    other.kill("SIGKILL");
    assert.equal((await other.status).signal, "SIGKILL");
    await Deno.remove(directory, { recursive: true });
  }
});
