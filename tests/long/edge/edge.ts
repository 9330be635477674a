/** HAProxy from the system's package with the production configuration in `scripts/deploy`. */
import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import { eventually, freePort, isListening } from "../../support/process.ts";

const configuration = fileURLToPath(new URL("../../../scripts/deploy/haproxy.cfg", import.meta.url));

/** Path of a program, in the folders of Debian's packages. */
function find(program: string): string | undefined {
  const folders = ["/usr/sbin", "/usr/bin", "/usr/local/sbin", "/usr/local/bin"];
  return folders.map((folder) => `${folder}/${program}`).find((path) => {
    try {
      return Deno.statSync(path).isFile;
    } catch {
      return false;
    }
  });
}

const haproxy = find("haproxy");
export const slowhttptest: string | undefined = find("slowhttptest");

/** Tests are skipped without the programs, except in CI. */
export const isSkipped: boolean = (haproxy === undefined || slowhttptest === undefined) && !Deno.env.get("CI");
if (isSkipped) {
  console.log("haproxy or slowhttptest not found. Install both to test the edge.");
}

/** No limits per address, for floods from one address that stand for many. */
export const noAddressLimits = {
  EDGE_CONNECTIONS_PER_ADDRESS: "1000000",
  EDGE_NEW_CONNECTIONS_PER_10S: "1000000",
  EDGE_SOCKETS_PER_MINUTE: "1000000",
};

export interface Edge extends AsyncDisposable {
  url: string;
  port: number;
  /** Its log so far. */
  log(): string;
}

/**
 * Starts the edge in front of `apps` and waits until it listens. It has TLS only if `env` has `EDGE_CERTIFICATE`; then
 * `EDGE_HTTPS` is needed too.
 */
export async function startEdge(apps: [string, string], env: Record<string, string> = {}): Promise<Edge> {
  const port = freePort();
  const [first, second] = apps.map((app) => new URL(app).host);
  // A file, because HAProxy drops log lines when a pipe is full.
  const logFile = await Deno.makeTempFile({ prefix: "slotkeeper_edge_", suffix: ".log" });
  const log = () => Deno.readTextFileSync(logFile);
  const child = new Deno.Command("/bin/sh", {
    args: ["-c", 'exec "$@" >"$0" 2>&1', logFile, haproxy ?? "haproxy", "-db", "-f", configuration],
    clearEnv: true,
    env: {
      EDGE_HTTP: `127.0.0.1:${port}`,
      EDGE_APP_1: first ?? "",
      EDGE_APP_2: second ?? "",
      // Fits the usual limit of open files.
      EDGE_MAXCONN: "8000",
      ...(env.EDGE_CERTIFICATE === undefined ? { EDGE_PLAIN_HTTP: "true" } : {}),
      ...env,
    },
    stdin: "null",
  }).spawn();
  let hasEnded = false;
  const ended = child.status.then(() => hasEnded = true);
  const stop = async () => {
    if (!hasEnded) child.kill("SIGTERM");
    await ended;
    await Deno.remove(logFile);
  };
  const url = `http://127.0.0.1:${port}`;
  try {
    await eventually(async () => hasEnded || await isListening(url));
    assert(!hasEnded, log());
  } catch (failure) {
    await stop();
    throw failure;
  }
  return { url, port, log, [Symbol.asyncDispose]: stop };
}

/** Lifetimes in ms of the slow requests that the edge cut, from its log. */
export function cutAfter(edge: Edge): number[] {
  return [...edge.log().matchAll(/"status":408,.*"ms":(\d+)}/g)].map(([, ms]) => Number(ms));
}
