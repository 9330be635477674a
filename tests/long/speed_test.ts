/** The server's reads beside those of a bare server, with the parts of `deno task bench`. */
import assert from "node:assert/strict";
import { compareAnswers, startBareServer, startContenders } from "../../scripts/bench/contenders.ts";
import { median } from "../../scripts/bench/load.ts";
import { newDatabase } from "../support/database.ts";
import { openOnce } from "../support/open_once.ts";

/** Smallest part of the bare server's throughput. */
const smallestRatio = 0.6;
/** Enough for {@link reads}, and small, so that it is quickly filled. */
const rooms = 30;
const reads = ["listRooms", "listFreeTimeslots", "listBookings", "getBooking"] as const;
/** The servers take turns in many short slices. So another program that needs the cores slows both of them. */
const pairs = 24;
const sliceMs = 50;
const warmUpMs = 300;

const servers = openOnce(async () => {
  const resources = new AsyncDisposableStack();
  try {
    const { url } = resources.use(await newDatabase());
    const contenders = await startContenders(resources, url, { rooms });
    const bare = await startBareServer(resources, url, contenders.world);
    return { ...contenders, bare, [Symbol.asyncDispose]: () => resources.disposeAsync() };
  } catch (failure) {
    await resources.disposeAsync();
    throw failure;
  }
});

for (const name of reads) {
  Deno.test(`${name}: 32 connections -> at least ${smallestRatio} of a bare server's requests a second`, async () => {
    const { bare, ...contenders } = await servers();
    const { world, server, client } = contenders;
    const operations = world.operations.filter((operation) => operation.name === name);
    await compareAnswers(contenders, bare, operations);
    const [operation] = operations;
    assert(operation !== undefined);
    const { calls } = await operation.prepare();
    const rateOf = async (target: typeof server, ms: number) => {
      const report = await client.send(target, calls, ms);
      return report.requests / report.ms;
    };
    for (const target of [server, bare]) await rateOf(target, warmUpMs);

    const ratios: number[] = [];
    for (let pair = 0; pair < pairs; pair++) {
      ratios.push(await rateOf(server, sliceMs) / await rateOf(bare, sliceMs));
    }
    const ratio = median(ratios);
    const sorted = ratios.toSorted((a, b) => a - b).map((each) => each.toFixed(2)).join(" ");
    assert(ratio >= smallestRatio, `${ratio.toFixed(2)} of a bare server's requests a second; all ratios: ${sorted}`);
  });
}
