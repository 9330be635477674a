/**
 * Runs the tests against a Postgres of their own, or the one of `TEST_DATABASE_URL` (whose user may create databases).
 * Arguments go to `deno test`: `deno task test tests/api`.
 */
import { migrate } from "../src/database/migrate.ts";
import { createDatabase, databaseUrl, dropDatabase, templateDatabase } from "../tests/support/database.ts";
import { startTemporaryPostgres } from "./temporary_postgres.ts";

async function run(adminUrl: string): Promise<number> {
  await dropDatabase(adminUrl, templateDatabase);
  await createDatabase(adminUrl, templateDatabase);
  await migrate(databaseUrl(adminUrl, templateDatabase));
  // The longest files begin first, so that none of them is left over when everything else has ended.
  const all = ["tests/server", "tests/rules", "tests/events", "tests"];
  const paths = Deno.args.some((arg) => !arg.startsWith("-")) ? [] : all;
  // `deno task check` looks at the types, of the tests too.
  const tests = new Deno.Command(Deno.execPath(), {
    args: ["test", "--allow-all", "--parallel", "--quiet", "--no-check", ...Deno.args, ...paths],
    env: { TEST_DATABASE_URL: adminUrl },
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
