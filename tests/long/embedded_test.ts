/** The embedded Postgres after a machine that lost its power: the file says that it runs, but its number is another's. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { startEmbeddedPostgres } from "../../src/boot/embedded.ts";

Deno.test("a postmaster.pid with the number of another process is cleared away, and that process is left alone", async () => {
  const directory = await Deno.makeTempDir({ prefix: "slotkeeper_embedded_" });
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
