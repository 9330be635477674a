/** Runs statements by pgbench, where it is installed: Postgres without any server of ours. */
import { join } from "node:path";
import { connections } from "./load.ts";
import type { Load } from "./operations.ts";

/** Debian has the programs of each version here, and not in PATH. */
const debianFolder = "/usr/lib/postgresql";

/** Returns the path of pgbench, or undefined. */
export async function findPgbench(): Promise<string | undefined> {
  const versions: string[] = [];
  try {
    for await (const { name } of Deno.readDir(debianFolder)) versions.push(name);
  } catch (failure) {
    if (!(failure instanceof Deno.errors.NotFound)) throw failure;
  }
  const folders = [
    ...(Deno.env.get("PATH") ?? "").split(":"),
    ...versions.sort().reverse().map((version) => join(debianFolder, version, "bin")),
  ];
  for (const folder of folders) {
    const path = join(folder, "pgbench");
    if (await Deno.stat(path).then(({ isFile }) => isFile, () => false)) return path;
  }
  return undefined;
}

export interface PgbenchRun {
  databaseUrl: string;
  script: string;
  variables: Load["variables"];
  /** Statements of all clients. Undefined means one second. */
  statements: number | undefined;
}

/** Returns the statements per second. There are as many clients as a load has connections. */
export async function runPgbench(pgbench: string, run: PgbenchRun): Promise<number> {
  const { databaseUrl, script, variables, statements } = run;
  const file = await Deno.makeTempFile({ prefix: "slotkeeper_bench_", suffix: ".sql" });
  try {
    await Deno.writeTextFile(file, script);
    const { success, stdout, stderr } = await new Deno.Command(pgbench, {
      args: [
        ...["--no-vacuum", "--protocol=prepared", `--client=${connections}`, "--jobs=2", `--file=${file}`],
        statements === undefined ? "--time=1" : `--transactions=${Math.ceil(statements / connections)}`,
        ...Object.entries(variables).map(([name, value]) => `--define=${name}=${value}`),
        databaseUrl,
      ],
    }).output();
    const [printed = "", complaints = ""] = [stdout, stderr].map((bytes) => new TextDecoder().decode(bytes));
    const rate = /^tps = ([\d.]+)/m.exec(printed)?.[1];
    if (!success || rate === undefined) throw new Error(`pgbench failed:\n${complaints}`);
    return Number(rate);
  } finally {
    await Deno.remove(file);
  }
}
