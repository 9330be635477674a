/**
 * Floods of slow clients. In a file of its own, because it takes as long as the floods last.
 */
import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import { newDatabase } from "../support/database.ts";
import { type ServerProcess, startServerProcess } from "../support/process.ts";
import { testSecret } from "../support/server.ts";
import { cutAfter, type Edge, isSkipped, noAddressLimits, slowhttptest, startEdge } from "./edge/edge.ts";

const connections = 5_000;
const attackProgram = fileURLToPath(new URL("./edge/attack.ts", import.meta.url));

/** The flood comes from 127.0.0.1; whoever is measured comes from elsewhere. */
const elsewhere = { localAddress: "127.0.0.2" };

interface Attack {
  /** All connections have been made, or turned away. */
  made: Promise<void>;
  /** It is over. */
  ended: Promise<void>;
}

/** A process of its own that gives way to all others: an attacker brings a machine, and does not take the time of ours. */
function attack(edge: Edge): Attack {
  const child = new Deno.Command("nice", {
    args: ["-n", "5", Deno.execPath(), "run", "--allow-net", attackProgram, `${edge.port}`, `${connections}`],
    stdout: "piped",
  }).spawn();
  const made = Promise.withResolvers<void>();
  const ended = (async () => {
    for await (const text of child.stdout.pipeThrough(new TextDecoderStream())) if (text === "open\n") made.resolve();
    assert((await child.status).success);
  })();
  return { made: made.promise, ended };
}

const percentile99 = (times: number[]) => times.toSorted((a, b) => a - b)[Math.floor(times.length * 0.99)] ?? Infinity;
const median = (numbers: number[]) => numbers.toSorted((a, b) => a - b)[Math.floor(numbers.length / 2)] ?? Infinity;

/** How many slow requests were held at once, at most: each is held for 5 seconds, so those that were cut within 4 met. */
function mostHeld(edge: Edge): number {
  // In whole seconds, rounded down.
  const cut = [...edge.log().matchAll(/"time":"(.+?)".*"status":408,/g)].map(([, time = ""]) =>
    Date.parse(time) / 1_000
  );
  return Math.max(...cut.map((first) => cut.filter((next) => next >= first && next < first + 4).length));
}

/** Asks one time after another until `isEnough`, and at least 400 times. All have to be answered. */
async function measure(edge: Edge, isEnough: () => boolean = () => true): Promise<number[]> {
  using client = Deno.createHttpClient(elsewhere);
  const times: number[] = [];
  while (times.length < 400 || !isEnough()) {
    const start = performance.now();
    const response = await fetch(`${edge.url}/api/v1/bookings/rooms`, { client, signal: AbortSignal.timeout(10_000) });
    const text = await response.text();
    assert.equal(response.status, 200, text);
    times.push(performance.now() - start);
  }
  return times;
}

async function withServer(use: (server: ServerProcess) => Promise<void>): Promise<void> {
  await using database = await newDatabase();
  await using server = await startServerProcess("serve", {
    DATABASE_URL: database.url,
    AUTH_JWT_SECRET: testSecret,
    // Whoever measures asks more often than anybody may.
    RATE_LIMIT: "off",
  });
  await use(server);
}

function test(name: string, fn: (server: ServerProcess) => Promise<void>): void {
  Deno.test({ name, ignore: isSkipped, fn: () => withServer(fn) });
}

test("5,000 slow headers are cut within 10 seconds, and meanwhile the p99 of others at most doubles", async (server) => {
  await using edge = await startEdge([server.url, server.url], noAddressLimits);
  await measure(edge);
  // Calm and flood in turns, as other tests run on the same machine. One bad moment of theirs is not the edge's doing, so
  // the medians of the turns count, and there are more turns while these are apart.
  const calm: number[] = [];
  const flood: number[] = [];
  // Two cores do everything here, the attacker's part as well, so some milliseconds are nobody's fault. Whoever is held up
  // by the slow ones waits for seconds.
  const isSteady = () => median(flood) <= Math.max(2 * median(calm), 50);
  while (flood.length < 2 || !isSteady() && flood.length < 5) {
    calm.push(percentile99(await measure(edge)), percentile99(await measure(edge)));
    const { ended } = attack(edge);
    let isOver = false;
    const over = ended.finally(() => isOver = true);
    flood.push(percentile99(await measure(edge, () => isOver)));
    await over;
  }
  const cut = cutAfter(edge);
  // A connection that had not sent anything yet is cut without a word in the log, and on a busy machine some come late.
  assert(cut.length > 0.9 * connections * flood.length, `only ${cut.length} were held and cut`);
  assert(Math.max(...cut) < 10_000, `cut after ${Math.max(...cut)} ms`);
  assert(isSteady(), `p99 in ms, calm: ${calm}, flood: ${flood}`);
});

test("of 5,000 slow headers from one address 250 get in, and other addresses notice nothing", async (server) => {
  await using edge = await startEdge([server.url, server.url]);
  const { made, ended } = attack(edge);
  await made;
  await measure(edge);
  await ended;
  const cut = cutAfter(edge);
  // Those that were let in were held, and cut; some had not sent anything by then, of which the log has no word.
  assert(cut.length > 150, `${cut.length} were held and cut`);
  // An attacker that was paused finds room again where the first ones have been cut.
  assert(mostHeld(edge) <= 250, `${mostHeld(edge)} were held at once`);
  assert(Math.max(...cut) < 10_000, `cut after ${Math.max(...cut)} ms`);
});

test("slowhttptest closes no service: slow headers and bodies are cut, slow reads hold up nobody", async (server) => {
  await using edge = await startEdge([server.url, server.url], noAddressLimits);
  let running = 0;
  const run = async (path: string, ...mode: string[]) => {
    running++;
    // It goes on for far longer than the edge lets any of them, as it may be paused on a busy machine.
    const options = ["-c", "500", "-r", "250", "-i", "1", "-l", "30", "-p", "10", "-u", edge.url + path];
    const command = new Deno.Command("nice", { args: ["-n", "5", slowhttptest ?? "", ...mode, ...options] });
    const { stdout } = await command.output().finally(() => running--);
    return new TextDecoder().decode(stdout);
  };
  const [headers, bodies] = await Promise.all([
    run("/", "-H"),
    run("/", "-B", "-s", "60000"),
    // The largest file, of which 32 bytes are read each second. It does not look whether it was cut.
    run("/docs/scalar.js", "-X", "-z", "32"),
    measure(edge, () => running === 0),
  ]);
  for (const report of [headers, bodies]) {
    assert.match(report, /No open connections left/);
    assert.doesNotMatch(report, /service available:\D*NO/);
  }
  assert.match(edge.log(), /"path":"[^"]*scalar.js","status":200,.*"end":"cD--"/);
});
