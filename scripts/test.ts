/**
 * Runs the tests against a Postgres of their own, or the one of `TEST_DATABASE_URL` (whose user may create databases).
 * Arguments go to `deno test`: `deno task test tests/api`.
 */
import { readdir } from "node:fs/promises";
import { migrate } from "../src/boot/migrate.ts";
import { createDatabase, databaseUrl, dropDatabase, templateDatabase } from "../tests/support/database.ts";
import { startTemporaryPostgres } from "./temporary_postgres.ts";

/** Folders and files that take longest. They begin first, so that none of them is left over when all others have ended. */
const longest = ["server", "payments", "idempotency", "rules", "events"];

async function testFiles(): Promise<string[]> {
  const names = (await readdir("tests", { recursive: true }))
    // Long runs have a task of their own.
    .filter((name) => name.endsWith("_test.ts") && !name.startsWith("long/"));
  const rank = (name: string) => longest.findIndex((folder) => name.startsWith(folder)) >>> 0;
  return names.sort((a, b) => rank(a) - rank(b) || (a < b ? -1 : 1)).map((name) => `tests/${name}`);
}

async function run(adminUrl: string): Promise<number> {
  await dropDatabase(adminUrl, templateDatabase);
  await createDatabase(adminUrl, templateDatabase);
  await migrate(databaseUrl(adminUrl, templateDatabase));
  const paths = Deno.args.some((arg) => !arg.startsWith("-")) ? [] : await testFiles();
  // `deno task check` looks at the types, of the tests too.
  const tests = new Deno.Command(Deno.execPath(), {
    args: ["test", "--allow-all", "--parallel", "--quiet", "--no-check", ...Deno.args, ...paths],
    // Many tests wait for a process or a limit of time, and leave their core to others.
    env: {
      TEST_DATABASE_URL: adminUrl,
      DENO_JOBS: Deno.env.get("DENO_JOBS") ?? String(navigator.hardwareConcurrency + 1),
    },
  });
  const running = tests.spawn();
  // A terminal sends its signals to the tests as well. We stay until they are gone, to stop Postgres.
  for (const signal of ["SIGINT", "SIGTERM"] as const) Deno.addSignalListener(signal, () => running.kill(signal));
  return (await running.status).code;
}

const external = Deno.env.get("TEST_DATABASE_URL");
if (external !== undefined) Deno.exit(await run(external));
const server = await startTemporaryPostgres();
const code = await run(server.url("postgres")).finally(() => server.stop());
Deno.exit(code);
