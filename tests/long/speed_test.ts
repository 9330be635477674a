/** The cost of reads, beside a bare server and in the traces of V8, with the parts of `deno task bench`. */
import assert from "node:assert/strict";
import { compareAnswers, serverEnv, startBareServer, startContenders } from "../../scripts/bench/contenders.ts";
import { type Figures, measure } from "../../scripts/bench/load.ts";
import { startPostgres, startServer } from "../../scripts/bench/processes.ts";
import { openOnce } from "../support/open_once.ts";

/**
 * Smallest part of the bare server's requests in the same CPU time, of the server and Postgres. The throughput of a busy
 * machine depends on its scheduler, the CPU time does not.
 */
const smallestRatio = 0.6;
/** Enough for {@link reads}, and quickly filled. */
const rooms = 30;
const reads = ["listRooms", "listFreeTimeslots", "listBookings", "getBooking"] as const;
/** Rounds of both servers in turn, so that a change of the machine affects both. */
const rounds = 3;
const roundMs = 450;
/** The requests of an operation are sent this many times before, so that V8 has compiled their code. */
const warmUps = 4;

const servers = openOnce(async () => {
  const resources = new AsyncDisposableStack();
  try {
    // Other tests must not use it, because its CPU time counts.
    const postgres = resources.use(await startPostgres());
    const databaseUrl = postgres.url("postgres");
    const contenders = await startContenders(resources, databaseUrl, { rooms });
    const bare = await startBareServer(resources, databaseUrl, contenders.world);
    return { contenders, bare, postgres, databaseUrl, [Symbol.asyncDispose]: () => resources.disposeAsync() };
  } catch (failure) {
    await resources.disposeAsync();
    throw failure;
  }
});

/** CPU time of all requests together, divided by their number. */
function cpuOf(figures: Figures[]): number {
  const sum = (numbers: number[]) => numbers.reduce((a, b) => a + b, 0);
  const times = figures.map(({ requests, serverCpu, postgresCpu }) => requests * (serverCpu + postgresCpu));
  return sum(times) / sum(figures.map(({ requests }) => requests));
}

for (const name of reads) {
  Deno.test(`${name}: many requests -> at least ${smallestRatio} of a bare server's in the same CPU time`, async () => {
    const { contenders, bare, postgres } = await servers();
    const { world, server, client } = contenders;
    const operations = world.operations.filter((operation) => operation.name === name);
    await compareAnswers(contenders, bare, operations);
    const [operation] = operations;
    assert(operation !== undefined);
    const { calls } = await operation.prepare();
    for (let warmUp = 0; warmUp < warmUps; warmUp++) {
      for (const target of [server, bare]) await client.send(target, calls);
    }

    const figures: { ours: Figures; theirs: Figures }[] = [];
    for (let round = 0; round < rounds; round++) {
      const ours = await measure({ client, server, postgres }, calls, roundMs);
      figures.push({ ours, theirs: await measure({ client, server: bare, postgres }, calls, roundMs) });
    }
    const ours = cpuOf(figures.map((each) => each.ours));
    const theirs = cpuOf(figures.map((each) => each.theirs));
    const times = `${ours.toFixed(3)} ms of CPU a request, a bare server's takes ${theirs.toFixed(3)} ms`;
    assert(theirs / ours >= smallestRatio, times);
  });
}

/** V8 logs each garbage collection, and each function that it compiles. */
const traces = "--trace-gc,--trace-gc-nvp,--trace-opt";
const warmUpRequests = 10_000;
const tracedRequests = 10_000;
/**
 * Bytes a request that outlive two garbage collections of new objects. 120 to 240 were measured, and 1,020 with a `Set` of
 * the requests in flight.
 */
const promotedLimit = 500;

Deno.test(`getBooking: ${tracedRequests} requests -> V8 keeps little of them, and compiles nothing in vain`, async () => {
  const { contenders: { world, client }, databaseUrl } = await servers();
  await using server = await startServer({ ...serverEnv(databaseUrl), DENO_V8_FLAGS: traces });
  const operation = world.operations.find(({ name }) => name === "getBooking");
  assert(operation !== undefined);
  const { calls } = await operation.prepare();
  const send = async (least: number) => {
    let requests = 0;
    while (requests < least) requests += (await client.send(server, calls)).requests;
    return requests;
  };

  await send(warmUpRequests);
  const before = server.complaints().length;
  const requests = await send(tracedRequests);
  const lines = server.complaints().slice(before);

  const discarded = lines.filter((line) => line.includes("aborted optimizing"));
  assert(discarded.length < 5, discarded.join("\n"));
  const promoted = lines.flatMap((line) => /"gc":"s",.*"promoted":(\d+)/.exec(line)?.[1] ?? []);
  assert(promoted.length > 10, `${promoted.length} garbage collections in ${lines.length} lines`);
  const each = promoted.reduce((sum, bytes) => sum + Number(bytes), 0) / requests;
  assert(each < promotedLimit, `${each.toFixed(0)} bytes a request`);
});
