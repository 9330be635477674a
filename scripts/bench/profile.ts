/**
 * Takes a CPU profile of the server under the load of one operation. Run `deno task profile getBooking`.
 *
 * Writes `<operation>.cpuprofile`, which the DevTools of Chrome open, and prints where the time was spent.
 */
import { SourceMap } from "node:module";
import { parseArgs } from "node:util";
import { answerHelp, refuseArguments } from "../../src/boot/arguments.ts";
import { exitAfter } from "../../src/boot/exit.ts";
import { type Contenders, startContenders } from "./contenders.ts";
import { type Inspector, openInspector } from "./inspector.ts";
import { withKeys } from "./load.ts";
import { isOperationName, type Operation, type OperationName, operationNames } from "./operations.ts";
import { type CpuProfile, foldersTable, framesTable, restoreLines, sumProfile } from "./profile_tables.ts";
import { describeMachine, freePort, startPostgres, withResources } from "./processes.ts";

const totalLimitMs = 10 * 60_000;
const rooms = 200;
const warmUpSeconds = 3;
/** Microseconds between two samples. */
const samplingInterval = 200;

const usage = `deno task profile <operation> [--keyed] [--seconds 10] [--output FILE]
Operations: ${operationNames.join(", ")}`;

interface Options {
  name: OperationName;
  /** Whether each request has an Idempotency-Key. */
  keyed: boolean;
  seconds: number;
  output: string;
}

function parseOptions(): Options {
  answerHelp(`Usage: ${usage}`);
  try {
    const text = { type: "string" } as const;
    const { values, positionals: [name = "", ...others] } = parseArgs({
      args: Deno.args,
      allowPositionals: true,
      options: { keyed: { type: "boolean", default: false }, seconds: text, output: text },
    });
    if (!isOperationName(name) || others.length > 0) throw new Error("Name one operation.");
    const seconds = Number(values.seconds ?? 10);
    if (!(seconds > 0 && seconds <= 30)) throw new Error("--seconds must be a number from 0 to 30.");
    return { name, keyed: values.keyed, seconds, output: values.output ?? `${name}.cpuprofile` };
  } catch (failure) {
    refuseArguments(failure instanceof Error ? failure.message : String(failure), `Usage: ${usage}`);
  }
}

/** Sends the load of the operation for some time. Returns the number of requests. */
async function load(
  { client, server, world }: Contenders,
  { isWrite, prepare }: Operation,
  { keyed, seconds }: Pick<Options, "keyed" | "seconds">,
): Promise<number> {
  const nextCalls = async () => {
    const { calls } = await prepare();
    return keyed ? withKeys(calls) : calls;
  };
  if (!isWrite) return (await client.send(server, await nextCalls(), seconds * 1_000)).requests;
  const deadline = performance.now() + seconds * 1_000;
  let requests = 0;
  do {
    requests += (await client.send(server, await nextCalls())).requests;
    await world.restore();
  } while (performance.now() < deadline);
  return requests;
}

/**
 * Returns the source maps of the server's scripts by URL. Deno runs JavaScript without the types and adds a source map.
 * Called after the profile, because the debugger slows the server down.
 */
async function readSourceMaps(inspector: Inspector): Promise<Map<string, SourceMap>> {
  const maps = new Map<string, SourceMap>();
  inspector.listen("Debugger.scriptParsed", ({ url, sourceMapURL }) => {
    const [, base64] = /^data:application\/json;base64,(.+)$/.exec(String(sourceMapURL)) ?? [];
    if (base64 === undefined) return;
    const json = new TextDecoder().decode(Uint8Array.fromBase64(base64));
    maps.set(String(url), new SourceMap(JSON.parse(json)));
  });
  // It is answered after the events of all existing scripts.
  await inspector.call("Debugger.enable");
  return maps;
}

async function profile(resources: AsyncDisposableStack, { name, keyed, seconds, output }: Options): Promise<void> {
  for (const line of await describeMachine()) console.log(line);
  const postgres = resources.use(await startPostgres());
  const inspectorPort = freePort();
  const flags = [`--inspect=127.0.0.1:${inspectorPort}`];
  const contenders = await startContenders(resources, postgres.url("postgres"), { rooms, flags });
  const operation = contenders.world.operations.find((each) => each.name === name);
  if (operation === undefined) throw new Error(`There is no operation ${name}.`);
  await load(contenders, operation, { keyed, seconds: warmUpSeconds });

  await using inspector = await openInspector(inspectorPort);
  await inspector.call("Profiler.enable");
  await inspector.call("Profiler.setSamplingInterval", { interval: samplingInterval });
  await inspector.call("Profiler.start");
  const requests = await load(contenders, operation, { keyed, seconds });
  const stopped = await inspector.call("Profiler.stop");
  // The protocol defines this type.
  const taken = stopped.profile as CpuProfile;
  restoreLines(taken, await readSourceMaps(inspector));
  await Deno.writeTextFile(output, JSON.stringify(taken));

  const sums = sumProfile(taken);
  const each = (sums.total / requests).toFixed(0);
  console.log(`\n${name}: ${requests} requests, ${each} µs each on the thread of JavaScript, without waiting`);
  console.log(`\n${foldersTable(sums, requests)}\n\n${framesTable(sums, requests)}`);
  console.log(`\nThe profile is in ${output}. Open it in the tab Performance of Chrome's DevTools.`);
}

const options = parseOptions();
await exitAfter(() => withResources(totalLimitMs, (resources) => profile(resources, options)));
