/** The admin's command line, as a process of its own at a server of the test. */
import assert from "node:assert/strict";
import { runTask, startTask, type TaskProcess } from "./process.ts";
import type { TestServer } from "./server.ts";

export interface AdminOptions {
  /** In the place of an admin's. */
  token?: string;
  /** In the place of the server's. */
  url?: string;
}

type Given = string | AdminOptions;

async function prepared(server: TestServer, given: Given[]): Promise<Parameters<typeof startTask>[1]> {
  const [words = "", ...args] = given.filter((each) => typeof each === "string");
  const options: AdminOptions = given.find((each) => typeof each === "object") ?? {};
  const token = options.token ?? await server.token("admin", "admin");
  const env = { SLOTKEEPER_URL: options.url ?? server.url, SLOTKEEPER_TOKEN: token };
  return { args: [...words.split(" "), ...args], env };
}

/** Starts `deno task admin` with arguments: the first text is split at spaces, the next ones are one each. */
export async function startAdmin(server: TestServer, ...given: Given[]): Promise<TaskProcess> {
  return startTask("admin", await prepared(server, given));
}

export interface Ended {
  code: number;
  stdout: string;
  stderr: string;
}

/** Runs it to its end. Ids of requests and API keys, which no test can know, are told as `REQUEST`, `slk_prefix12_key`. */
export async function admin(server: TestServer, ...given: Given[]): Promise<Ended> {
  return anonymous(await runTask("admin", await prepared(server, given)));
}

/** What it prints with `--json` on standard output, when it succeeds. */
export async function adminJson(server: TestServer, ...given: Given[]): Promise<unknown> {
  const { code, stdout, stderr } = await runTask("admin", await prepared(server, [...given, "--json"]));
  assert.equal(code, 0, stderr);
  return JSON.parse(stdout);
}

/** Text in lines, as a program prints it. */
export function lines(...texts: string[]): string {
  return texts.map((text) => `${text}\n`).join("");
}

/** Without what no test can know. */
export function anonymous({ code, stdout, stderr }: Ended): Ended {
  const replace = (text: string) =>
    text.replace(/[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}/g, "REQUEST")
      .replace(/slk_[0-9a-z]{8}_[\w-]+/g, "slk_prefix12_key").replace(/slk_[0-9a-z]{8}\b/g, "slk_prefix12");
  return { code, stdout: replace(stdout), stderr: replace(stderr) };
}

/** What a table prints is to fit in a terminal. */
export function assertFits(text: string): void {
  for (const line of text.split("\n")) assert([...line].length <= 80, `More than 80 columns: ${line}`);
}
