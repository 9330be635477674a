/** The cost of reads beside that of a bare server, with the parts of `deno task bench`. */
import assert from "node:assert/strict";
import { compareAnswers, startBareServer, startContenders } from "../../scripts/bench/contenders.ts";
import { type Figures, measure } from "../../scripts/bench/load.ts";
import { startPostgres } from "../../scripts/bench/processes.ts";
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
    return { contenders, bare, postgres, [Symbol.asyncDispose]: () => resources.disposeAsync() };
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
