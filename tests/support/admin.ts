/** Runs the admin program inside the test, against a server of the test. */
import assert from "node:assert/strict";
import { Interrupted } from "../../scripts/admin/failures.ts";
import { runProgram } from "../../scripts/admin/program.ts";
import type { Shell } from "../../scripts/admin/shell.ts";
import type { TestServer } from "./server.ts";

/** Longest time of a command in ms. */
const patienceMs = 30_000;

export interface AdminOptions {
  /** Instead of an admin's token. */
  token?: string;
  /** Instead of the server's address. */
  url?: string;
  /** Answers a question. Without it there is no terminal to ask on. */
  ask?: Shell["ask"];
  /** Whether standard output shows colors. */
  hasColors?: boolean;
  /** Closes standard output after this many writes, as `head` does. */
  closeAfter?: number;
}

export interface Ended {
  code: number;
  stdout: string;
  stderr: string;
}

export interface RunningAdmin extends AsyncDisposable {
  /** Waits until standard output has `pattern`. Fails if the program ends without it. */
  until(pattern: RegExp): Promise<void>;
  /** Presses Ctrl-C. */
  interrupt(): void;
  end(): Promise<Ended>;
}

/** Starts the program with an environment. Disposing interrupts it and waits for its end. */
export function startProgram(
  args: string[],
  env: Record<string, string> = {},
  { ask, hasColors = false, closeAfter = Infinity }: AdminOptions = {},
): RunningAdmin {
  const interruption = new AbortController();
  const interrupt = () => interruption.abort(new Interrupted());
  let stdout = "";
  let stderr = "";
  let written = Promise.withResolvers<void>();
  let writes = 0;
  const code = runProgram(args, {
    env: (name) => env[name],
    writeOut(text) {
      if (writes++ >= closeAfter) return false;
      stdout += text;
      written.resolve();
      written = Promise.withResolvers();
      return true;
    },
    writeError: (text) => void (stderr += text),
    hasColors,
    ask,
    drawProgress: undefined,
    listenForInterrupt: () => ({ signal: interruption.signal, [Symbol.dispose]: () => {} }),
  });
  const end = async () => ({ code: await inTime(code), stdout, stderr });
  return {
    async until(pattern) {
      while (!pattern.test(stdout)) {
        const ended = await inTime(Promise.race([written.promise, code]));
        assert(ended === undefined, `admin ended with ${ended} without ${pattern}:\n${stdout}${stderr}`);
      }
    },
    interrupt,
    end,
    async [Symbol.asyncDispose]() {
      interrupt();
      await end();
    },
  };
}

async function inTime<Result>(result: Promise<Result>): Promise<Result> {
  const late = Promise.withResolvers<never>();
  const timer = setTimeout(() => late.reject(new Error(`admin took more than ${patienceMs} ms`)), patienceMs);
  try {
    return await Promise.race([result, late.promise]);
  } finally {
    clearTimeout(timer);
  }
}

type Word = string | AdminOptions;

/** Starts the program against a server. The first text is split at spaces, each other text is one argument. */
export async function startAdmin(server: TestServer, ...words: Word[]): Promise<RunningAdmin> {
  const [first = "", ...args] = words.filter((word) => typeof word === "string");
  const options = words.find((word) => typeof word === "object") ?? {};
  const token = options.token ?? await server.token("admin", "admin");
  const env = { SLOTKEEPER_URL: options.url ?? server.url, SLOTKEEPER_TOKEN: token };
  return startProgram([...first.split(" "), ...args], env, options);
}

/** Runs the program to its end. Ids of requests and API keys become `REQUEST` and `slk_prefix12_key`. */
export async function admin(server: TestServer, ...words: Word[]): Promise<Ended> {
  return anonymous(await (await startAdmin(server, ...words)).end());
}

/** Returns the JSON that the program prints with `--json`. Fails if the program fails. */
export async function adminJson(server: TestServer, ...words: Word[]): Promise<unknown> {
  const { code, stdout, stderr } = await (await startAdmin(server, ...words, "--json")).end();
  assert.equal(code, 0, stderr);
  return JSON.parse(stdout);
}

/** Joins lines as a program prints them. */
export function lines(...texts: string[]): string {
  return texts.map((text) => `${text}\n`).join("");
}

/** Replaces random ids of requests and API keys. */
export function anonymous({ code, stdout, stderr }: Ended): Ended {
  const replace = (text: string) =>
    text.replace(/[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}/g, "REQUEST")
      .replace(/slk_[0-9a-z]{8}_[\w-]+/g, "slk_prefix12_key").replace(/slk_[0-9a-z]{8}\b/g, "slk_prefix12");
  return { code, stdout: replace(stdout), stderr: replace(stderr) };
}

/** Fails if a line does not fit in a terminal of 80 columns. */
export function assertFits(text: string): void {
  for (const line of text.split("\n")) assert([...line].length <= 80, `More than 80 columns: ${line}`);
}
