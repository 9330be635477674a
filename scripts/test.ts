/**
 * Runs the tests against a Postgres of their own, or the one of `TEST_DATABASE_URL` (whose user may create databases).
 *
 * - `deno task test`: all tests but the long ones.
 * - `deno task test tests/api`: these files and folders.
 * - `deno task test createBooking`: the tests with this name, and the files named after it.
 * - `deno task test:long`: the long tests, the fuzz and the property tests at full size.
 *
 * Options go to `deno test`. `TEST_SHARDS` sets the number of shards, `DENO_JOBS` how many of them run at once.
 */
import { join } from "node:path";
import { answerHelp } from "../src/boot/arguments.ts";
import { migrate } from "../src/boot/migrate.ts";
import { createDatabase, databaseUrl, dropDatabase, templateDatabase } from "../tests/support/database.ts";
import { startTemporaryPostgres } from "./temporary_postgres.ts";
import { dealShards, readTestFiles, selectByName, shardSource, type TestFile } from "./test_selection.ts";
import { summarize } from "./test_summary.ts";

/** Importing the app costs 0.8 CPU seconds a shard. With more shards the last one leaves the cores idle for less time. */
const shardCount = Number(Deno.env.get("TEST_SHARDS") ?? 8);
/** Selected files and names run in fewer shards, so that fewer import the app. */
const smallShardCount = Math.min(3, shardCount);

/**
 * The long files that take longest, in shards that start first. The first two shards mostly wait: for limits of time, and
 * for processes. They run beside those that use the cores. The files with a browser share one.
 */
const longest = [
  ["slow_clients", "edge", "retries_servers", "lock_timeout", "start"],
  ["payments_crash", "subscribe_servers", "drain", "rate_limits_redis"],
  ["docs", "checkout_page", "sdk_runtimes", "client_generators", "readme"],
  ["tests/contract/fuzz_test.ts", "injection"],
  ["idempotency_crash", "loss"],
].map((names) => names.map((name) => name.includes("/") ? name : `tests/long/${name}_test.ts`));
/** The other long files run in this many shards. */
const longShardCount = 3;

interface Selection {
  shards: TestFile[][];
  options: string[];
  env: Record<string, string>;
  /** Whether to print each test. A run of everything prints failures only. */
  isVerbose: boolean;
}

const isLong = ({ path }: TestFile) => path.startsWith("tests/long/");
/** Files that also run in `test:long`, at full size. */
const hasFullSize = ({ path }: TestFile) => /(_property|\/fuzz)_test\.ts$/.test(path);
const jobs = (count: number) => ({ DENO_JOBS: Deno.env.get("DENO_JOBS") ?? String(count) });

function fileAt(files: TestFile[], path: string): TestFile {
  const file = files.find((each) => each.path === path);
  if (file === undefined) throw new Error(`There is no test file ${path}.`);
  return file;
}

/** Sorts the arguments into paths, names, and options for `deno test`. */
async function parseArguments(args: string[]): Promise<{ paths: string[]; names: string[]; options: string[] }> {
  const [paths, names, options]: [string[], string[], string[]] = [[], [], []];
  for (const [index, arg] of args.entries()) {
    if (arg === "--") continue;
    const exists = await Deno.stat(arg).then(() => true, () => false);
    // `--filter text`: the text belongs to the option.
    const isValue = /^--[^=]+$/.test(args[index - 1] ?? "");
    (arg.startsWith("-") ? options : exists ? paths : isValue ? options : names).push(arg);
  }
  return { paths, names, options };
}

/** @throws {Error} when no test has a name that is asked for. */
async function select(args: string[]): Promise<Selection> {
  const { paths, names, options } = await parseArguments(args.filter((arg) => arg !== "--long"));
  // More jobs than cores: many tests wait for the database or for a limit of time.
  const env = jobs(navigator.hardwareConcurrency + 1);
  const all = await readTestFiles(["tests"]);
  if (args.includes("--long")) {
    const files = all.filter((file) => isLong(file) || hasFullSize(file));
    const first = longest.map((paths) => paths.map((path) => fileAt(files, path)));
    const others = dealShards(files.filter((file) => !first.flat().includes(file)), longShardCount);
    // Two jobs use the cores, and two wait for limits of time.
    const longEnv = { ...jobs(navigator.hardwareConcurrency + 2), FULL_PROPERTIES: "1" };
    return { shards: [...first, ...others], options, env: longEnv, isVerbose: true };
  }
  const [name, ...more] = names;
  if (name !== undefined) {
    const selected = selectByName(all.filter((file) => !isLong(file)), name);
    if (selected === undefined || more.length > 0) {
      const fault = more.length > 0 ? "Only one name can be selected." : `No test or test file has the name ${name}.`;
      const advice =
        "Give an operation (createBooking), an existing path (tests/api), or --filter with a part of a name.";
      throw new Error(`${fault} ${advice}`);
    }
    const { files, filter } = selected;
    const shards = dealShards(files, smallShardCount);
    return { shards, options: [...options, "--filter", filter], env, isVerbose: true };
  }
  const files = paths.length > 0 ? await readTestFiles(paths) : all.filter((file) => !isLong(file));
  const count = paths.length > 0 ? smallShardCount : shardCount;
  return { shards: dealShards(files, count), options, env, isVerbose: paths.length > 0 };
}

async function run(adminUrl: string, { shards, options, env, isVerbose }: Selection): Promise<number> {
  await dropDatabase(adminUrl, templateDatabase);
  await createDatabase(adminUrl, templateDatabase);
  await migrate(databaseUrl(adminUrl, templateDatabase));
  const folder = await Deno.makeTempDir({ prefix: "slotkeeper_tests_" });
  try {
    const paths = await Promise.all(shards.map(async (files, index) => {
      const path = join(folder, `shard_${index + 1}_test.ts`);
      await Deno.writeTextFile(path, shardSource(files));
      return path;
    }));
    const report = join(folder, "report.xml");
    // `deno task check` looks at the types, of the tests too.
    const tests = new Deno.Command(Deno.execPath(), {
      args: [
        "test",
        "--allow-all",
        "--parallel",
        "--quiet",
        "--no-check",
        `--junit-path=${report}`,
        ...options,
        ...paths,
      ],
      env: { TEST_DATABASE_URL: adminUrl, ...(Deno.stdout.isTerminal() ? { FORCE_COLOR: "1" } : {}), ...env },
      stdout: "piped",
    });
    const running = tests.spawn();
    // A terminal sends its signals to the tests as well. We stay until they are gone, to stop Postgres.
    for (const signal of ["SIGINT", "SIGTERM"] as const) Deno.addSignalListener(signal, () => running.kill(signal));
    await summarize(running.stdout, { report, isVerbose });
    return (await running.status).code;
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

answerHelp(`Usage: deno task test [name | path ...] [options of deno test]
       deno task test:long

Runs all tests except the long ones, or those of a path (tests/api) or of a name (createBooking).`);
let selection: Selection;
try {
  selection = await select(Deno.args);
} catch (failure) {
  console.error(failure instanceof Error ? failure.message : failure);
  Deno.exit(2);
}
const external = Deno.env.get("TEST_DATABASE_URL");
if (external !== undefined) Deno.exit(await run(external, selection));
const server = await startTemporaryPostgres();
const code = await run(server.url("postgres"), selection).finally(() => server.stop());
Deno.exit(code);
