/** Postgres and the server as processes, with their CPU time and memory from Linux. */
import connectTo from "postgres";
import denoJson from "../../deno.json" with { type: "json" };
import { type EmbeddedServer, startEmbeddedPostgres } from "../../src/boot/embedded.ts";
import { parseTaskCommand } from "../task_command.ts";
import { readLines } from "./lines.ts";

const startLimitMs = 30_000;
const stopLimitMs = 20_000;
/** The environment variables that `deno` itself needs. */
const inherited = ["PATH", "HOME", "DENO_DIR", "XDG_CACHE_HOME", "LD_LIBRARY_PATH"];
/** Linux reports the CPU time of a process in hundredths of a second, for every kernel configuration. */
const ticksPerSecond = 100;

export interface BenchPostgres extends EmbeddedServer {
  pid: number;
}

/** A Postgres in its own folder, with the settings of the embedded one: fsync is on. */
export async function startPostgres(): Promise<BenchPostgres> {
  const directory = await Deno.makeTempDir({ prefix: "slotkeeper_bench_" });
  const removed = () => Deno.remove(directory, { recursive: true });
  try {
    const server = await startEmbeddedPostgres({ directory });
    const pid = parseInt(await Deno.readTextFile(`${directory}/postgres/postmaster.pid`));
    const stop = () => server.stop().finally(removed);
    return { ...server, pid, stop, [Symbol.asyncDispose]: stop };
  } catch (failure) {
    await removed();
    throw failure;
  }
}

export interface BenchServer extends AsyncDisposable {
  url: string;
  pid: number;
  /** Warnings and errors from its log. */
  complaints(): string[];
  /** Resolves when the process is gone. */
  stop(): Promise<void>;
}

export interface ServerOptions {
  /** Options of `deno run`, such as `--inspect=127.0.0.1:9229`. */
  flags?: string[];
  /** Whether the server logs requests, and the log is thrown away. Default: it logs warnings, for `complaints()`. */
  logsRequests?: boolean;
}

/** Starts the server like the task `serve`, on a free port of 127.0.0.1, and waits until it is ready. */
export async function startServer(
  env: Record<string, string>,
  { flags = [], logsRequests = false }: ServerOptions = {},
): Promise<BenchServer> {
  const { variables, args: [run = "", ...args] } = parseTaskCommand(denoJson.tasks.serve.command);
  const LOG_LEVEL = logsRequests ? "info" : "warn";
  return await start([run, ...flags, ...args], {
    env: { ...variables, LOG_LEVEL, ...env },
    stdout: logsRequests ? "null" : "piped",
  });
}

/** Starts another server, a script that reads `input` as JSON and serves `/readyz` on `PORT`. */
export async function startScript(
  script: URL,
  { env, input }: { env: Record<string, string>; input: unknown },
): Promise<BenchServer> {
  return await start(["run", "--no-check", "--allow-net", "--allow-env", script.href], { env, input, stdout: "piped" });
}

interface Start {
  env: Record<string, string>;
  input?: unknown;
  stdout: "piped" | "null";
}

async function start(args: string[], { env, input, stdout }: Start): Promise<BenchServer> {
  const port = freePort();
  const child = new Deno.Command(Deno.execPath(), {
    args,
    cwd: new URL("../../", import.meta.url),
    clearEnv: true,
    env: {
      ...Object.fromEntries(inherited.map((name) => [name, Deno.env.get(name) ?? ""]).filter(([, value]) => value)),
      DENO_NO_UPDATE_CHECK: "1",
      NO_COLOR: "1",
      HOST: "127.0.0.1",
      PORT: String(port),
      ...env,
    },
    stdin: input === undefined ? "null" : "piped",
    stdout,
    stderr: "piped",
  }).spawn();
  if (input !== undefined) await new Blob([JSON.stringify(input)]).stream().pipeTo(child.stdin);
  const lines: string[] = [];
  const streams = stdout === "piped" ? [child.stdout, child.stderr] : [child.stderr];
  const collected = Promise.all(streams.map((stream) => collectLines(stream, lines)));
  let hasEnded = false;
  const ended = child.status.then(() => collected).finally(() => hasEnded = true);
  const kill = (signal: Deno.Signal) => {
    if (!hasEnded) child.kill(signal);
  };

  const stop = async () => {
    kill("SIGTERM");
    const limit = setTimeout(() => kill("SIGKILL"), stopLimitMs);
    await ended.finally(() => clearTimeout(limit));
  };
  const server = {
    url: `http://127.0.0.1:${port}`,
    pid: child.pid,
    complaints: () => lines.filter((line) => !line.startsWith("Warning Permissions in the config file")),
    stop,
    [Symbol.asyncDispose]: stop,
  };
  const deadline = performance.now() + startLimitMs;
  while (!await isReady(server.url)) {
    if (hasEnded || performance.now() > deadline) {
      await server.stop();
      throw new Error(`The server did not start:\n${lines.join("\n")}`);
    }
    await delay(100);
  }
  return server;
}

async function collectLines(stream: ReadableStream<Uint8Array<ArrayBuffer>>, lines: string[]): Promise<void> {
  for await (const line of readLines(stream)) lines.push(line);
}

async function isReady(url: string): Promise<boolean> {
  try {
    const response = await fetch(`${url}/readyz`, { signal: AbortSignal.timeout(1_000) });
    await response.body?.cancel();
    return response.ok;
  } catch {
    return false;
  }
}

export function freePort(): number {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  return listener.addr.port;
}

/** CPU time of a process so far, in user and kernel mode. */
export async function cpuSeconds(pid: number): Promise<number> {
  const { user, system } = await readStat(pid);
  return user + system;
}

interface ProcessStat {
  parent: number;
  /** Seconds. Only children that have ended count. */
  user: number;
  system: number;
  childUser: number;
  childSystem: number;
}

async function readStat(pid: number): Promise<ProcessStat> {
  const stat = await Deno.readTextFile(`/proc/${pid}/stat`);
  // The name in brackets may contain spaces. The third field follows it; see proc_pid_stat(5).
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  const seconds = (field: number) => Number(fields[field - 3]) / ticksPerSecond;
  return {
    parent: Number(fields[1]),
    user: seconds(14),
    system: seconds(15),
    childUser: seconds(16),
    childSystem: seconds(17),
  };
}

/** CPU time of a process and its children, including those that have ended. */
async function familyCpuSeconds(pid: number): Promise<number> {
  let sum = 0;
  for await (const { name } of Deno.readDir("/proc")) {
    if (!/^\d+$/.test(name)) continue;
    try {
      const { parent, user, system, childUser, childSystem } = await readStat(Number(name));
      if (Number(name) === pid) sum += user + system + childUser + childSystem;
      else if (parent === pid) sum += user + system;
    } catch (failure) {
      if (!(failure instanceof Deno.errors.NotFound) && !isGone(failure)) throw failure;
    }
  }
  return sum;
}

/** ESRCH: a process ended while it was read. */
function isGone(failure: unknown): boolean {
  return failure instanceof Error && "code" in failure && failure.code === "ESRCH";
}

/** CPU time of all cores: used by all processes, and stolen by the hypervisor. */
async function machineCpuSeconds(): Promise<{ busy: number; stolen: number }> {
  const [line = ""] = (await Deno.readTextFile("/proc/stat")).split("\n", 1);
  const [, user = 0, nice = 0, system = 0, , , irq = 0, softIrq = 0, steal = 0] = line.split(/ +/).map(Number);
  return { busy: (user + nice + system + irq + softIrq) / ticksPerSecond, stolen: steal / ticksPerSecond };
}

export interface CpuUse {
  seconds: number;
  server: number;
  clients: number;
  postgres: number;
  /** Other programs, and the work of the kernel itself, such as networking. */
  others: number;
  stolen: number;
}

/**
 * Starts to count CPU time in seconds. The returned function returns the use since then. The clients are this process,
 * unless another one is named.
 */
export async function watchCpu(
  pids: { server: number; postgres: number; clients?: number },
): Promise<() => Promise<CpuUse>> {
  const read = async () => ({
    ...await machineCpuSeconds(),
    server: await cpuSeconds(pids.server),
    clients: await cpuSeconds(pids.clients ?? Deno.pid),
    postgres: await familyCpuSeconds(pids.postgres),
    at: performance.now(),
  });
  const before = await read();
  return async () => {
    const now = await read();
    const [server, clients] = [now.server - before.server, now.clients - before.clients];
    const postgres = now.postgres - before.postgres;
    return {
      seconds: (now.at - before.at) / 1_000,
      server,
      clients,
      postgres,
      others: Math.max(0, now.busy - before.busy - server - clients - postgres),
      stolen: now.stolen - before.stolen,
    };
  };
}

/** Resident memory of a process in bytes, without the socket buffers in the kernel. */
export async function residentBytes(pid: number): Promise<number> {
  return await memoryOf(pid, "VmRSS");
}

/** Starts {@link peakBytes} again; see proc_pid_clear_refs(5). */
export async function resetPeak(pid: number): Promise<void> {
  await Deno.writeTextFile(`/proc/${pid}/clear_refs`, "5");
}

/** Largest {@link residentBytes} so far. */
export async function peakBytes(pid: number): Promise<number> {
  return await memoryOf(pid, "VmHWM");
}

async function memoryOf(pid: number, field: "VmRSS" | "VmHWM"): Promise<number> {
  const status = await Deno.readTextFile(`/proc/${pid}/status`);
  return Number(new RegExp(`^${field}:\\s+(\\d+) kB`, "m").exec(status)?.[1]) * 1024;
}

/** Resident memory once it changes by less than a percent between two seconds, or after 15 seconds. */
export async function settledBytes(pid: number): Promise<number> {
  let bytes = await residentBytes(pid);
  for (let second = 0; second < 15; second++) {
    await delay(1_000);
    const before = bytes;
    bytes = await residentBytes(pid);
    if (second >= 4 && Math.abs(bytes - before) < before / 100) break;
  }
  return bytes;
}

/** Describes the machine of the figures, in lines. */
export async function describeMachine(): Promise<string[]> {
  const cpu = /^model name\s*: (.+)$/m.exec(await Deno.readTextFile("/proc/cpuinfo"))?.[1] ?? "unknown CPU";
  const files = /^Max open files\s+(\d+)/m.exec(await Deno.readTextFile("/proc/self/limits"))?.[1];
  const gib = (Deno.systemMemoryInfo().total / 1024 ** 3).toFixed(1);
  return [
    `${cpu}, ${navigator.hardwareConcurrency} cores, ${gib} GiB, load ${Deno.loadavg()[0]?.toFixed(2)} at the start`,
    `Linux ${Deno.osRelease()}, Deno ${Deno.version.deno}, at most ${files} open files a process`,
  ];
}

export async function describePostgres(url: string): Promise<string> {
  const sql = connectTo(url, { max: 1 });
  try {
    const setting = (name: string) => sql`select current_setting(${name}) as value`.then(([row]) => row?.value);
    const [version, fsync, commit] = await Promise.all(["server_version", "fsync", "synchronous_commit"].map(setting));
    return `Postgres ${version}, embedded, fsync ${fsync}, synchronous_commit ${commit}`;
  } finally {
    await sql.end();
  }
}

/** Runs `program`, and then disposes of its resources, also after a signal or when it takes longer than `limitMs`. */
export async function withResources(
  limitMs: number,
  program: (resources: AsyncDisposableStack) => Promise<void>,
): Promise<void> {
  await using resources = new AsyncDisposableStack();
  const abandon = (why: string) => {
    console.error(`Given up: ${why}`);
    resources.disposeAsync().finally(() => Deno.exit(1));
  };
  const limit = setTimeout(() => abandon(`not done after ${limitMs / 60_000} minutes`), limitMs);
  resources.defer(() => clearTimeout(limit));
  for (const signal of ["SIGINT", "SIGTERM"] as const) Deno.addSignalListener(signal, () => abandon(signal));
  await program(resources);
}

export function delay(ms: number): Promise<void> {
  return new Promise((done) => setTimeout(done, ms));
}
