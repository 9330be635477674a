/**
 * Measures the feed of events on this machine: latency, memory, idle cost. Run `deno task bench:events`, about three minutes.
 *
 * The server and a Postgres with fsync on are processes; subscribers and writers are this process. All share the cores, so the
 * figures include the cost of the clients.
 */
import { assertNoArguments } from "../../src/boot/arguments.ts";
import { exitAfter } from "../../src/boot/exit.ts";
import {
  type BenchServer,
  cpuSeconds,
  type CpuUse,
  delay,
  describeMachine,
  describePostgres,
  residentBytes,
  settledBytes,
  startPostgres,
  startServer,
  watchCpu,
  withResources,
} from "./processes.ts";
import { type BenchRoom, bookTimeslot, type Client, Crowd, makeRoom, Observer, tokenOf } from "./subscribers.ts";
import { apiWriter, databaseWriter, type LatencyRun, measureLatency, type Writer } from "./writers.ts";

/** Ends the benchmark after this time, also when something hangs. */
const totalLimitMs = 8 * 60_000;
const idleSeconds = 20;
/** Writes per second. A booking writes three events, two of them visible to an admin; a cancellation writes two, one visible. */
const rates = { of500Events: 200, of500Writes: 500 };
const latencySeconds = 20;
const warmUpSeconds = 3;
const users = 500;
const socketsPerUser = 20;
const holdLimitMs = 120_000;
const fanOuts = 5;
const fanOutLimitMs = 20_000;

const targets = { latencyMs: 25, bytesPerSocket: 24 * 1024, fanOutMs: 500 };
const secret = "a secret of the benchmark, 32 bytes or more";

interface Bench {
  databaseUrl: string;
  postgresPid: number;
  /** Ends all started processes, also when the benchmark is interrupted. */
  resources: AsyncDisposableStack;
}

async function bench(resources: AsyncDisposableStack): Promise<void> {
  for (const line of await describeMachine()) console.log(line);
  const postgres = resources.use(await startPostgres());
  const databaseUrl = postgres.url("postgres");
  console.log(await describePostgres(databaseUrl));
  console.log("Subscribers and writers are one process on the same cores, so every figure includes their cost.\n");

  const context = { databaseUrl, postgresPid: postgres.pid, resources };
  await benchIdleAndLatency(context);
  await benchSockets(context);
}

async function start({ databaseUrl, resources }: Bench): Promise<BenchServer> {
  const server = await startServer({ DATABASE_URL: databaseUrl, AUTH_JWT_SECRET: secret, RATE_LIMIT: "off" });
  resources.defer(() => server.stop());
  return server;
}

async function finish(name: string, server: BenchServer): Promise<void> {
  await server.stop();
  const complaints = server.complaints();
  console.log(`Server of "${name}" logged ${complaints.length} warnings and errors`);
  for (const line of complaints.slice(0, 3)) console.log(`  ${line.slice(0, 300)}`);
  console.log();
}

async function benchIdleAndLatency(context: Bench): Promise<void> {
  const server = await start(context);
  await benchIdle(server);

  const client: Client = { url: server.url, secret };
  const room = await makeRoom(client, 10);
  const observer = new Observer();
  await observer.join(client);
  const latency = { room, observer, pids: { server: server.pid, postgres: context.postgresPid } };
  {
    await using writer = await apiWriter(client, room);
    await measureLatency(writer, { room, observer, rate: rates.of500Events, seconds: warmUpSeconds });
    await benchLatency("through the API, 500 events/s", writer, { ...latency, rate: rates.of500Events });
    await benchLatency("through the API, 500 commits/s", writer, { ...latency, rate: rates.of500Writes });
  }
  {
    await using writer = await databaseWriter(client, room, context.databaseUrl);
    await benchLatency("as another server writes, 500 commits/s", writer, { ...latency, rate: rates.of500Writes });
  }
  await finish("idle and latency", server);
}

async function benchIdle({ pid }: BenchServer): Promise<void> {
  await delay(5_000);
  const [before, startedAt] = [await cpuSeconds(pid), performance.now()];
  await delay(idleSeconds * 1_000);
  const used = await cpuSeconds(pid) - before;
  const elapsed = (performance.now() - startedAt) / 1_000;
  console.log("Idle server, no sockets");
  console.log(`  ${(used / elapsed * 100).toFixed(2)} % of a core (${used.toFixed(2)} s in ${elapsed.toFixed(1)} s)\n`);
}

interface Pids {
  server: number;
  postgres: number;
}

async function benchLatency(
  name: string,
  writer: Writer,
  { room, observer, pids, rate }: { room: BenchRoom; observer: Observer; pids: Pids; rate: number },
): Promise<void> {
  observer.duplicates = 0;
  const cpu = await watchCpu(pids);
  const run = await measureLatency(writer, { room, observer, rate, seconds: latencySeconds });
  const use = await cpu();
  console.log(`Latency ${name}`);
  console.log(
    `  ${run.writeRate.toFixed(0)} commits/s (${rate} wanted), ${run.eventRate.toFixed(0)} frames/s`,
  );
  console.log(`  ${describeCpu(use)}`);
  console.log(`  request to answer ${percentiles(run.toAnswer)}`);
  console.log(`  request to frame  ${percentiles(run.fromRequest)}`);
  console.log(`  commit to frame   ${percentiles(run.fromAnswer)}; target p99 ${targets.latencyMs} ms`);
  console.log(`                    p99 of each quarter of the run ${quarters(run.fromAnswer)}`);
  console.log(`  ${describeLosses(run, observer)}\n`);
}

function describeLosses({ lost, failures, fromAnswer }: LatencyRun, { duplicates }: Observer): string {
  const failed = failures.length === 0 ? "" : `, first failure: ${failures[0]}`;
  const total = fromAnswer.length + lost;
  return `of ${total} frames ${lost} lost, ${duplicates} twice; ${failures.length} writes failed${failed}`;
}

async function benchSockets(context: Bench): Promise<void> {
  const server = await start(context);
  const client: Client = { url: server.url, secret };
  const room = await makeRoom(client, 1);
  const crowd = new Crowd();
  const pids = { server: server.pid, postgres: context.postgresPid };
  await holdSockets(crowd, { client, room, pids });
  await benchFanOut(crowd, { client, room, pids });
  await finish("sockets and fan-out", server);
}

interface CrowdContext {
  client: Client;
  room: BenchRoom;
  pids: Pids;
}

async function holdSockets(crowd: Crowd, { client, room, pids }: CrowdContext): Promise<void> {
  const tokens = await Promise.all(Array.from({ length: users }, (_, number) => tokenOf(client, `bench-${number}`)));
  const before = await settledBytes(pids.server);
  const cpu = await watchCpu(pids);
  await crowd.join(client, { tokens, perUser: socketsPerUser, roomId: room.id, limitMs: holdLimitMs });
  const use = await cpu();
  const after = await settledBytes(pids.server);
  const held = crowd.size;
  const bytes = (after - before) / held;

  console.log(`${users * socketsPerUser} sockets of ${users} users, each in one room`);
  console.log(`  ${held} held, opened and joined in ${use.seconds.toFixed(1)} s; ${describeCpu(use)}`);
  if (crowd.failures.length > 0) console.log(`  ${crowd.failures.length} failed, first: ${crowd.failures[0]}`);
  console.log(`  server ${mib(before)} before, ${mib(after)} with the sockets (VmRSS)`);
  console.log(`  ${kib(bytes)} a socket; target ${kib(targets.bytesPerSocket)}\n`);
}

async function benchFanOut(crowd: Crowd, { client, room, pids }: CrowdContext): Promise<void> {
  const token = await tokenOf(client, "bench-writer");
  const held = crowd.size;
  console.log(`One event to ${held} sockets, ${fanOuts} times`);
  const rounds: { fromRequest: number; fromAnswer: number }[] = [];
  for (const timeslotId of room.timeslots.slice(0, fanOuts)) {
    const cpu = await watchCpu(pids);
    const sentAt = performance.now();
    let answeredAt = sentAt;
    const { first, last, missing } = await crowd.hear(async () => {
      await bookTimeslot(client, { token, roomId: room.id, timeslotId });
      answeredAt = performance.now();
    }, fanOutLimitMs);
    const use = await cpu();
    const round = { fromRequest: last - sentAt, fromAnswer: Math.max(0, last - answeredAt) };
    if (missing === 0) rounds.push(round);
    const times = missing === 0
      ? `first ${ms(first - sentAt)}, answer ${ms(answeredAt - sentAt)}, last ${
        ms(round.fromRequest)
      } after the request`
      : `${missing} sockets heard nothing in ${fanOutLimitMs / 1_000} s`;
    console.log(`  ${times}; ${describeCpu(use)}`);
    await delay(2_000);
  }
  const of = (values: number[]) => `median ${ms(percentile(values, 50))}, worst ${ms(percentile(values, 100))}`;
  console.log(`  request to last frame  ${of(rounds.map(({ fromRequest }) => fromRequest))}`);
  console.log(
    `  answer to last frame   ${of(rounds.map(({ fromAnswer }) => fromAnswer))}; target ${targets.fanOutMs} ms`,
  );
  const wrong = crowd.countOther(fanOuts);
  console.log(`  ${wrong} sockets had not exactly ${fanOuts} frames, ${held - crowd.size} were closed`);
  console.log(`  server ${mib(await residentBytes(pids.server))} afterwards (VmRSS)\n`);
}

/** Formats how the available CPU time was used. */
function describeCpu({ seconds, ...use }: CpuUse): string {
  const all = seconds * navigator.hardwareConcurrency;
  const shares = Object.entries(use).map(([who, value]) => `${who} ${(value / all * 100).toFixed(0)}`);
  return `CPU of ${navigator.hardwareConcurrency} cores in %: ${shares.join(", ")}`;
}

/** The percentile of the values: `percent` of them do not exceed it. */
function percentile(values: number[], percent: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.max(0, Math.ceil(sorted.length * percent / 100) - 1)] ?? NaN;
}

function percentiles(values: number[]): string {
  return [50, 99, 100].map((percent) => `${percent === 100 ? "max" : `p${percent}`} ${ms(percentile(values, percent))}`)
    .join(", ");
}

/** Shows whether a high p99 is typical or comes from a short disturbance. */
function quarters(values: number[]): string {
  const length = Math.ceil(values.length / 4);
  const parts = [0, 1, 2, 3].map((quarter) => values.slice(quarter * length, (quarter + 1) * length));
  return parts.map((part) => ms(percentile(part, 99))).join(", ");
}

const ms = (value: number) => `${value.toFixed(1)} ms`;
const mib = (bytes: number) => `${(bytes / 1024 ** 2).toFixed(0)} MiB`;
const kib = (bytes: number) => `${(bytes / 1024).toFixed(1)} KiB`;

assertNoArguments("Usage: deno task bench:events\n\nMeasures the feed of events on this machine, about three minutes.");
await exitAfter(() => withResources(totalLimitMs, bench));
