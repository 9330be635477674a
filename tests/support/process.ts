/** Starts the tasks of `deno.json` as processes. */
import assert from "node:assert/strict";
import { join } from "node:path";
import denoJson from "../../deno.json" with { type: "json" };
import { parseTaskCommand } from "../../scripts/task_command.ts";
import { startEmbeddedPostgres } from "../../src/boot/embedded.ts";

type Task = "start" | "serve" | "migrate" | "token" | "admin";
type Environment = Record<string, string>;

/** Longest wait in {@link eventually}, in ms. */
const patienceMs = 30_000;
/** Longest pause between two polls, in ms. Without a pause, polling takes a core from the server under test. */
const longestPauseMs = 16;
/** Longest wait for a process, in ms. A first start makes a Postgres, which takes long on a slow disk. */
const processPatienceMs = 120_000;

/** Variables that `deno` itself needs. A process gets no others, so it is the same everywhere. */
const inherited = ["PATH", "HOME", "DENO_DIR", "XDG_CACHE_HOME", "LD_LIBRARY_PATH"];

export interface TaskProcess extends AsyncDisposable {
  /** Its standard output so far. */
  stdout(): string;
  /** Waits until standard output matches `pattern`. Fails with all output if the process ends first. */
  until(pattern: RegExp): Promise<RegExpExecArray>;
  signal(signal: Deno.Signal): void;
  /** Waits for the end. `code` is above 128 if a signal ended the process, as in a shell. */
  end(): Promise<{ code: number; stdout: string; stderr: string }>;
}

interface TaskOptions {
  env?: Environment;
  args?: string[];
  /** The user of the process instead of ours. Only root may name one. */
  uid?: number;
}

/** Starts a task, a server on a free port. Disposing of it sends SIGTERM and waits for the end. */
export function startTask(task: Task, { env = {}, args = [], uid }: TaskOptions): TaskProcess {
  const { variables, args: taskArgs } = parseTaskCommand(denoJson.tasks[task].command);
  const kept = inherited.flatMap((name) => Deno.env.has(name) ? [[name, Deno.env.get(name) ?? ""]] : []);
  const child = new Deno.Command(Deno.execPath(), {
    args: [...taskArgs, ...args],
    cwd: new URL("../../", import.meta.url),
    ...(uid === undefined ? {} : { uid, gid: uid }),
    clearEnv: true,
    env: { ...Object.fromEntries(kept), ...variables, DENO_NO_UPDATE_CHECK: "1", NO_COLOR: "1", PORT: "0", ...env },
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  const out = collect(child.stdout);
  const err = collect(child.stderr);

  const signal = (name: Deno.Signal) => {
    try {
      child.kill(name);
    } catch (failure) {
      // The process has ended already.
      if (!(failure instanceof TypeError)) throw failure;
    }
  };
  const withLimit = async <Result>(wait: () => Promise<Result>): Promise<Result> => {
    const limit = setTimeout(() => signal("SIGKILL"), processPatienceMs);
    try {
      return await wait();
    } finally {
      clearTimeout(limit);
    }
  };
  const end = () =>
    withLimit(async () => {
      const [{ code }] = await Promise.all([child.status, out.ended, err.ended]);
      return { code, stdout: out.text(), stderr: err.text() };
    });
  return {
    stdout: out.text,
    signal,
    end,
    until: (pattern) =>
      withLimit(async () => {
        for (;;) {
          const found = pattern.exec(out.text());
          if (found !== null) return found;
          if (await out.more()) continue;
          const { code, stdout, stderr } = await end();
          assert.fail(`The task ${task} ended with ${code} and never printed ${pattern}:\n${stdout}${stderr}`);
        }
      }),
    async [Symbol.asyncDispose]() {
      signal("SIGTERM");
      await end();
    },
  };
}

/** Runs a task to its end. */
export async function runTask(
  task: Task,
  options: TaskOptions,
): Promise<{ code: number; stdout: string; stderr: string }> {
  await using running = startTask(task, options);
  return await running.end();
}

export interface ServerProcess extends TaskProcess {
  url: string;
}

/** Starts a server on a free port and waits until it listens and, in the sandbox, has printed its welcome. */
export async function startServerProcess(task: "start" | "serve", env: Environment): Promise<ServerProcess> {
  const server = startTask(task, { env });
  try {
    const [, url] = await server.until(/"message":"listening","address":"(.+?)"/);
    assert(url);
    if (task === "start") await server.until(/^curl .+\n/m);
    return { ...server, url };
  } catch (failure) {
    await server[Symbol.asyncDispose]();
    throw failure;
  }
}

export interface DataFolder extends AsyncDisposable {
  /** For `DATA_DIR`. */
  path: string;
  /** Whether an embedded Postgres runs on this folder, or was not stopped. */
  hasPostgres(): Promise<boolean>;
  /** URL of that Postgres. */
  databaseUrl(): Promise<string>;
}

/** A new folder for the embedded Postgres. Disposing of it stops a Postgres that still runs. */
export async function newDataFolder(): Promise<DataFolder> {
  const path = await Deno.makeTempDir({ prefix: "slotkeeper_process_" });
  const read = (file: string) => Deno.readTextFile(join(path, file));
  const hasPostgres = () => read("postgres/postmaster.pid").then(() => true, () => false);
  return {
    path,
    hasPostgres,
    async databaseUrl() {
      const port = (await read("postgres/postmaster.pid")).split("\n")[3];
      return `postgres://slotkeeper:${(await read("postgres_password")).trim()}@127.0.0.1:${port}/postgres`;
    },
    async [Symbol.asyncDispose]() {
      if (await hasPostgres()) await (await startEmbeddedPostgres({ directory: path })).stop();
      await Deno.remove(path, { recursive: true });
    },
  };
}

/** Polls until `isSo` returns true, at most for {@link patienceMs}. Other tasks run between two polls. */
export async function eventually(isSo: () => Promise<boolean>): Promise<void> {
  const patience = AbortSignal.timeout(patienceMs);
  const tooLate = new Error(`not true within ${patienceMs} ms: ${isSo}`);
  for (let pauseMs = 1; !await isSo(); pauseMs = Math.min(2 * pauseMs, longestPauseMs)) {
    if (patience.aborted) throw tooLate;
    await new Promise((turn) => setTimeout(turn, pauseMs));
  }
}

/** Whether a server listens at the host and port of `url`. */
export async function isListening(url: string): Promise<boolean> {
  const { hostname, port } = new URL(url);
  try {
    (await Deno.connect({ hostname, port: Number(port) })).close();
    return true;
  } catch (failure) {
    // A connection accepted while the listener closes is reset.
    const { ConnectionRefused, ConnectionReset } = Deno.errors;
    if (failure instanceof ConnectionRefused || failure instanceof ConnectionReset) return false;
    throw failure;
  }
}

/** A free port for a server that starts later or again. It is below 32768, where the ports begin that the system assigns. */
export function freePort(): number {
  for (;;) {
    const port = 20_000 + Math.floor(Math.random() * 12_000);
    try {
      Deno.listen({ hostname: "127.0.0.1", port }).close();
      return port;
    } catch (failure) {
      if (!(failure instanceof Deno.errors.AddrInUse)) throw failure;
    }
  }
}

function collect(stream: ReadableStream<Uint8Array<ArrayBuffer>>) {
  let text = "";
  let open = true;
  let next = Promise.withResolvers<boolean>();
  const ended = (async () => {
    for await (const chunk of stream.pipeThrough(new TextDecoderStream())) {
      text += chunk;
      next.resolve(true);
      next = Promise.withResolvers();
    }
    open = false;
    next.resolve(false);
  })();
  /** Waits for more text. Returns false at the end of the stream. */
  const more = () => open ? next.promise : Promise.resolve(false);
  return { text: () => text, more, ended };
}
