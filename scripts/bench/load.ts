/** Sends load from a process of its own, and measures what it costs. */
import type { Order, Report } from "./load_client.ts";
import { readLines } from "./lines.ts";
import { type BenchServer, watchCpu } from "./processes.ts";

/** Longest time of one {@link LoadClient.send}, in ms. */
const sendLimitMs = 60_000;
export const connections = 32;

/** A request to the API. */
export interface Call {
  method: "GET" | "POST" | "PUT";
  path: string;
  token?: string;
  body?: unknown;
  idempotencyKey?: string;
}

/** The calls with an Idempotency-Key, as the SDK sends them. */
export function withKeys(calls: Call[]): Call[] {
  return calls.map((call) => ({ ...call, idempotencyKey: crypto.randomUUID() }));
}

export function headersOf({ token, body, idempotencyKey }: Call): Record<string, string> {
  return {
    ...(token === undefined ? {} : { Authorization: `Bearer ${token}` }),
    ...(body === undefined ? {} : { "Content-Type": "application/json" }),
    ...(idempotencyKey === undefined ? {} : { "Idempotency-Key": idempotencyKey }),
  };
}

function httpText(call: Call): string {
  const body = call.body === undefined ? "" : JSON.stringify(call.body);
  const length = call.method === "GET" ? {} : { "Content-Length": String(body.length) };
  const headers = Object.entries({ Host: "127.0.0.1", ...headersOf(call), ...length });
  return [`${call.method} ${call.path} HTTP/1.1`, ...headers.map((pair) => pair.join(": ")), "", body].join("\r\n");
}

export interface LoadClient extends AsyncDisposable {
  pid: number;
  /**
   * Sends the calls over {@link connections} connections, each as soon as the last one on its connection is answered. Repeats
   * them for `ms` milliseconds, or sends each once.
   *
   * @throws {Error} if an answer is not 2xx.
   */
  send(server: BenchServer, calls: Call[], ms?: number): Promise<Report>;
}

export function startClient(): LoadClient {
  const script = new URL("load_client.ts", import.meta.url);
  const child = new Deno.Command(Deno.execPath(), {
    args: ["run", "--no-check", "--allow-net=127.0.0.1", script.href],
    stdin: "piped",
    stdout: "piped",
  }).spawn();
  const orders = child.stdin.getWriter();
  const reports = readLines(child.stdout);
  return {
    pid: child.pid,
    async send(server, calls, ms) {
      const order: Order = { port: Number(new URL(server.url).port), connections, requests: calls.map(httpText), ms };
      await orders.write(new TextEncoder().encode(`${JSON.stringify(order)}\n`));
      const limit = setTimeout(() => child.kill("SIGKILL"), sendLimitMs);
      const { value } = await reports.next().finally(() => clearTimeout(limit));
      if (value === undefined) throw new Error("the load client ended");
      const report: Report = JSON.parse(value);
      if (report.failures > 0) throw new Error(`${report.failures} requests failed, first: ${report.firstFailure}`);
      return report;
    },
    async [Symbol.asyncDispose]() {
      // Also after it has ended, when the pipe is closed.
      await orders.close().catch(() => {});
      await child.status;
    },
  };
}

/** The figures of a load. Times in ms, CPU times for each request. */
export interface Figures {
  requests: number;
  perSecond: number;
  p50: number;
  p99: number;
  serverCpu: number;
  postgresCpu: number;
  clientCpu: number;
}

export interface Measured {
  client: LoadClient;
  server: BenchServer;
  postgres: { pid: number };
}

/** Sends a load, see {@link LoadClient.send}, and measures it. */
export async function measure({ client, server, postgres }: Measured, calls: Call[], ms?: number): Promise<Figures> {
  const cpu = await watchCpu({ server: server.pid, postgres: postgres.pid, clients: client.pid });
  const { requests, ms: elapsed, p50, p99 } = await client.send(server, calls, ms);
  const use = await cpu();
  const each = (seconds: number) => seconds * 1_000 / requests;
  return {
    requests,
    perSecond: requests / elapsed * 1_000,
    p50,
    p99,
    serverCpu: each(use.server),
    postgresCpu: each(use.postgres),
    clientCpu: each(use.clients),
  };
}

export function median(values: number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length / 2;
  return ((sorted[Math.floor(middle)] ?? NaN) + (sorted[Math.ceil(middle) - 1] ?? NaN)) / 2;
}
