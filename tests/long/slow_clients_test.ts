/** Floods of slow clients at the edge. tests/long/edge_test.ts has the limits that the edge sets by default. */
import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import { newDatabase } from "../support/database.ts";
import { openOnce } from "../support/open_once.ts";
import { eventually, type ServerProcess, startServerProcess } from "../support/process.ts";
import { testSecret } from "../support/server.ts";
import { cutAfter, type Edge, isSkipped, noAddressLimits, slowhttptest, startEdge } from "./edge/edge.ts";

const connections = 5_000;
const attackProgram = fileURLToPath(new URL("./edge/attack.ts", import.meta.url));

/** Longer than the attack takes to open its connections, so that all are held at once. */
const requestSeconds = 3;
const shortLimits = { EDGE_REQUEST_TIMEOUT: `${requestSeconds}s`, EDGE_CLIENT_TIMEOUT: "3s" };

/** The flood comes from 127.0.0.1. */
const elsewhere = { localAddress: "127.0.0.2" };

interface Attack {
  /** Resolves when all connections have been made or refused. */
  made: Promise<void>;
  ended: Promise<void>;
}

function attack(edge: Edge): Attack {
  const child = new Deno.Command(Deno.execPath(), {
    args: ["run", "--allow-net", attackProgram, `${edge.port}`, `${connections}`],
    stdout: "piped",
  }).spawn();
  const made = Promise.withResolvers<void>();
  const ended = (async () => {
    for await (const text of child.stdout.pipeThrough(new TextDecoderStream())) if (text === "open\n") made.resolve();
    assert((await child.status).success);
  })();
  return { made: made.promise, ended };
}

const percentile = (times: number[], share: number) =>
  times.toSorted((a, b) => a - b)[Math.floor(times.length * share)] ?? Infinity;

/**
 * The most slow requests held at once. Each is held for {@link requestSeconds}, so those cut within less overlapped.
 * The log has whole seconds.
 */
function mostHeld(edge: Edge): number {
  const cut = [...edge.log().matchAll(/"time":"(.+?)".*"status":408,/g)].map(([, time = ""]) =>
    Date.parse(time) / 1_000
  );
  return Math.max(
    ...cut.map((first) => cut.filter((next) => next >= first && next < first + requestSeconds - 1).length),
  );
}

/**
 * Sends requests, by default 100 a second, until `isEnough`, and at least 400. All must succeed.
 *
 * @returns their times in ms.
 */
async function measure(
  edge: Edge,
  { isEnough = () => true, pauseMs = 10 }: { isEnough?: () => boolean; pauseMs?: number } = {},
): Promise<number[]> {
  using client = Deno.createHttpClient(elsewhere);
  const times: number[] = [];
  const ask = async () => {
    const start = performance.now();
    const response = await fetch(`${edge.url}/api/v1/bookings/rooms`, { client, signal: AbortSignal.timeout(10_000) });
    const text = await response.text();
    assert.equal(response.status, 200, text);
    times.push(performance.now() - start);
  };
  while (times.length < 400 || !isEnough()) {
    await Promise.all([ask(), new Promise((tick) => setTimeout(tick, pauseMs))]);
  }
  return times;
}

/** The server behind the edges of all tests. Floods do not reach it. */
const openServer = openOnce(async () => {
  await using disposables = new AsyncDisposableStack();
  const { url } = disposables.use(await newDatabase());
  const env = { DATABASE_URL: url, AUTH_JWT_SECRET: testSecret, RATE_LIMIT: "off" };
  const server = disposables.use(await startServerProcess("serve", env));
  const whole = disposables.move();
  return { ...server, [Symbol.asyncDispose]: () => whole.disposeAsync() };
});

function test(name: string, run: (server: ServerProcess) => Promise<void>): void {
  Deno.test({ name, ignore: isSkipped, fn: async () => await run(await openServer()) });
}

test("edge: 5,000 slow headers -> cut in time, p99 of other clients below half of that time", async (server) => {
  await using edge = await startEdge([server.url, server.url], { ...noAddressLimits, ...shortLimits });
  const { made, ended } = attack(edge);
  let isOver = false;
  const over = Promise.all([made, ended]).finally(() => isOver = true);
  const times = await measure(edge, { isEnough: () => isOver });
  await over;
  const cut = cutAfter(edge);
  // The edge logs no connection that it cut before its first byte. On a busy machine many send that late. Half of them are
  // six times the places at the servers.
  assert(cut.length > connections / 2, `only ${cut.length} were held and cut`);
  assert(Math.max(...cut) < 2_000 * requestSeconds, `cut after ${Math.max(...cut)} ms`);
  // A request that waits for slow ones takes as long as they are held. A busy machine takes milliseconds.
  const [half, most] = [percentile(times, 0.5), percentile(times, 0.99)];
  assert(half < 250 && most < 1_000 * requestSeconds / 2, `p50 ${half} ms, p99 ${most} ms`);
});

test("edge: 5,000 slow headers from one address -> at most 250 held, other addresses served", async (server) => {
  await using edge = await startEdge([server.url, server.url], shortLimits);
  const { made, ended } = attack(edge);
  await made;
  await measure(edge);
  await ended;
  const cut = cutAfter(edge);
  // The edge logs no connection that it cut before its first byte.
  assert(cut.length > 150, `${cut.length} were held and cut`);
  assert(mostHeld(edge) <= 250, `${mostHeld(edge)} were held at once`);
  assert(Math.max(...cut) < 2_000 * requestSeconds, `cut after ${Math.max(...cut)} ms`);
});

test("edge: slowhttptest with slow headers, bodies and reads -> cut, other clients served", async (server) => {
  await using edge = await startEdge([server.url, server.url], { ...noAddressLimits, ...shortLimits });
  const count = 500;
  const start = (stdout: "piped" | "null", path: string, ...mode: string[]): Deno.ChildProcess => {
    // It runs for 100 seconds unless all its connections have ended.
    const options = ["-c", `${count}`, "-r", "250", "-i", "1", "-l", "100", "-p", "10", "-u", edge.url + path];
    const args = ["-n", "5", slowhttptest ?? "", ...mode, ...options];
    return new Deno.Command("nice", { args, stdout }).spawn();
  };
  const attacks = [start("piped", "/", "-H"), start("piped", "/", "-B", "-s", "60000")];
  // The largest file, read at 32 bytes a second.
  await using _reads = start("null", "/docs/scalar.js", "-X", "-z", "32");
  const reports = attacks.map(async (each) => new TextDecoder().decode((await each.output()).stdout));
  let isOver = false;
  const ended = (async () => {
    await Promise.all(reports);
    // It does not notice that its reads were cut. The edge logs the end of each.
    await eventually(() => Promise.resolve(edge.log().split("scalar.js").length > count));
  })().finally(() => isOver = true);
  // The times do not count here.
  await measure(edge, { isEnough: () => isOver, pauseMs: 20 });
  await ended;
  for (const report of await Promise.all(reports)) {
    assert.match(report, /No open connections left/);
    assert.doesNotMatch(report, /service available:\D*NO/);
  }
  assert.match(edge.log(), /"path":"[^"]*scalar.js","status":200,.*"end":"cD--"/);
});
