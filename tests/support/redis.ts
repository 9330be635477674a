/** A Redis for one test, which the test can kill and restart. */
import assert from "node:assert/strict";
import { freePort } from "./process.ts";

export interface TestRedis extends AsyncDisposable {
  url: string;
  /** Ends it with SIGKILL. */
  kill(): Promise<void>;
  /** Starts it again at the same port, empty. */
  restart(): Promise<void>;
  /** Stops it with SIGSTOP: it accepts connections and answers nothing. */
  freeze(): void;
  thaw(): void;
}

/** Whether `redis-server` is installed. CI requires it. */
const isInstalled: boolean = await (async () => {
  try {
    return (await new Deno.Command("redis-server", { args: ["--version"] }).output()).success;
  } catch (failure) {
    if (!(failure instanceof Deno.errors.NotFound) || Deno.env.get("CI") === "true") throw failure;
    return false;
  }
})();

/** A test that needs Redis. It is skipped, with a note in its name, if `redis-server` is not installed. */
export function redisTest(name: string, run: () => Promise<void>): void {
  Deno.test({
    name: isInstalled ? name : `${name} (skipped: redis-server is not installed)`,
    ignore: !isInstalled,
    fn: run,
  });
}

/** Starts a Redis on a free port. `args` are options of `redis-server`. */
export async function startRedis({ args = [] }: { args?: string[] } = {}): Promise<TestRedis> {
  const directory = await Deno.makeTempDir({ prefix: "slotkeeper_redis_" });
  for (;;) {
    const port = freePort();
    const start = () => startOn(port, ["--dir", directory, ...args]);
    let running = await start();
    if (running === undefined) continue;
    const signal = (name: Deno.Signal): void => {
      try {
        running?.kill(name);
      } catch (failure) {
        // The process has ended already.
        if (!(failure instanceof TypeError)) throw failure;
      }
    };
    const kill = async (): Promise<void> => {
      signal("SIGKILL");
      await running?.status;
    };
    return {
      url: `redis://127.0.0.1:${port}`,
      kill,
      async restart() {
        running = await start();
        assert(running, `port ${port} is in use`);
      },
      freeze: () => signal("SIGSTOP"),
      thaw: () => signal("SIGCONT"),
      async [Symbol.asyncDispose]() {
        await kill();
        await Deno.remove(directory, { recursive: true });
      },
    };
  }
}

/** Returns undefined when the port is in use. */
async function startOn(port: number, args: string[]): Promise<Deno.ChildProcess | undefined> {
  const started = new Deno.Command("redis-server", {
    args: ["--port", `${port}`, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", ...args],
    stdout: "piped",
    stderr: "inherit",
  }).spawn();
  let printed = "";
  for await (const text of started.stdout.pipeThrough(new TextDecoderStream())) {
    printed += text;
    if (printed.includes("Ready to accept connections")) return started;
  }
  await started.status;
  assert.match(printed, /Address already in use/);
  return undefined;
}
