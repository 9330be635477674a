/**
 * Measures requests on this machine. Run `deno task bench`, about four minutes.
 *
 * The contenders are the server, a bare server that answers the same JSON, and the SQL alone. They take turns in many
 * short rounds, so a change of the machine affects all of them. They share the cores with Postgres (fsync on) and the
 * client.
 */
import { parseArgs } from "node:util";
import { answerHelp, refuseArguments } from "../../src/boot/arguments.ts";
import { exitAfter } from "../../src/boot/exit.ts";
import { compareAnswers, type Contenders, startBareServer, startContenders } from "./contenders.ts";
import { type Figures, measure, median, withKeys } from "./load.ts";
import {
  isOperationName,
  type Load,
  type Operation,
  type OperationName,
  operationNames,
  type World,
} from "./operations.ts";
import { findPgbench, runPgbench } from "./pgbench.ts";
import {
  type BenchPostgres,
  type BenchServer,
  describeMachine,
  describePostgres,
  peakBytes,
  resetPeak,
  startPostgres,
  withResources,
} from "./processes.ts";
import { table } from "./tables.ts";

const totalLimitMs = 30 * 60_000;
const rooms = 200;
/** Rounds that do not count. */
const warmUps = 8;
/** pgbench opens new connections, whose first statements are slow. So it runs in fewer rounds, and longer. */
const pgbenchRounds = 5;

const usage = "deno task bench [--rounds 15] [--seconds 0.5] [--only <operation>] [--json FILE]";

interface Options {
  rounds: number;
  /** For one contender in a round. A write sends a fixed number of requests instead. */
  seconds: number;
  only: OperationName | undefined;
  json: string | undefined;
}

/** `with a key` is the server, with an Idempotency-Key in each request. */
type Name = "server" | "with a key" | "bare server" | "SQL alone";

/** pgbench reports only its rate. */
type Result = Figures | Pick<Figures, "perSecond">;

interface Contender {
  name: Name;
  /** Runs in every round, or in every so many of them for that many times as long. */
  every: number;
  run(load: Load, seconds: number): Promise<Result>;
}

interface Outcome {
  operation: string;
  /** Largest memory of the server meanwhile. */
  peakBytes: number;
  rounds: Partial<Record<Name, Result>>[];
}

function parseOptions(): Options {
  answerHelp(`Usage: ${usage}`);
  try {
    const text = { type: "string" } as const;
    const { values } = parseArgs({ args: Deno.args, options: { rounds: text, seconds: text, only: text, json: text } });
    const [rounds, seconds] = [Number(values.rounds ?? 15), Number(values.seconds ?? 0.5)];
    if (!(Number.isInteger(rounds) && rounds > 0)) throw new Error("--rounds must be a whole number above 0.");
    if (!(seconds > 0 && seconds <= 30)) throw new Error("--seconds must be a number from 0 to 30.");
    const { only, json } = values;
    if (only !== undefined && !isOperationName(only)) throw new Error(`--only must be ${operationNames.join(", ")}.`);
    return { rounds, seconds, only, json };
  } catch (failure) {
    refuseArguments(failure instanceof Error ? failure.message : String(failure), `Usage: ${usage}`);
  }
}

async function bench(resources: AsyncDisposableStack, options: Options): Promise<void> {
  const machine = await describeMachine();
  const postgres = resources.use(await startPostgres());
  const databaseUrl = postgres.url("postgres");
  machine.push(await describePostgres(databaseUrl));
  for (const line of machine) console.log(line);

  const contenders = await startContenders(resources, databaseUrl, { rooms });
  const bare = await startBareServer(resources, databaseUrl, contenders.world);
  const operations = contenders.world.operations.filter(({ name }) => (options.only ?? name) === name);
  await compareAnswers(contenders, bare, operations);
  const pgbench = await findPgbench();
  if (pgbench === undefined) console.log("pgbench not found, so the SQL alone is not measured.");

  const outcomes: Outcome[] = [];
  for (const operation of operations) {
    const taking = contendersOf(operation, { ...contenders, bare, postgres, pgbench });
    await resetPeak(contenders.server.pid);
    const rounds = await benchOperation(operation, taking, { world: contenders.world, options });
    const outcome = { operation: operation.name, peakBytes: await peakBytes(contenders.server.pid), rounds };
    outcomes.push(outcome);
    console.log(`\n${operation.name}\n${figuresTable(outcome)}`);
    warnOfClient(outcome);
  }
  console.log(`\nMedians of the ratios, and the largest memory of the server\n${ratiosTable(outcomes)}`);
  for (const line of contenders.server.complaints()) console.log(line);
  if (options.json !== undefined) {
    const result = { at: new Date(), machine, ratios: outcomes.map(ratiosOf), outcomes };
    await Deno.writeTextFile(options.json, `${JSON.stringify(result, null, 2)}\n`);
  }
}

interface Places extends Contenders {
  bare: BenchServer;
  postgres: BenchPostgres;
  pgbench: string | undefined;
}

function contendersOf(
  { isWrite, script }: Operation,
  { server, bare, postgres, client, pgbench }: Places,
): Contender[] {
  const http = (name: Name, target: BenchServer, hasKey = false): Contender => ({
    name,
    every: 1,
    run({ calls }, seconds) {
      const ms = isWrite ? undefined : seconds * 1_000;
      return measure({ client, server: target, postgres }, hasKey ? withKeys(calls) : calls, ms);
    },
  });
  const contenders = [http("server", server), http("bare server", bare)];
  if (isWrite) contenders.push(http("with a key", server, true));
  if (pgbench !== undefined && script !== undefined) {
    const databaseUrl = postgres.url("postgres");
    let perSecond: number | undefined;
    contenders.push({
      name: "SQL alone",
      every: pgbenchRounds,
      async run({ calls, variables }, seconds) {
        const statements = isWrite ? calls.length : perSecond && perSecond * seconds;
        perSecond = await runPgbench(pgbench, { databaseUrl, script, variables, statements });
        return { perSecond };
      },
    });
  }
  return contenders;
}

/** Contenders change their order from round to round, so that none always follows the same one. */
async function benchOperation(
  operation: Operation,
  contenders: Contender[],
  { world, options: { rounds, seconds } }: { world: World; options: Options },
): Promise<Outcome["rounds"]> {
  const runAll = async (round: number) => {
    const results: Partial<Record<Name, Result>> = {};
    const present = contenders.filter(({ every }) => round % every === 0);
    for (const { name, every, run } of round % 2 === 0 ? present : present.toReversed()) {
      results[name] = await run(await operation.prepare(every), seconds * every);
    }
    if (operation.isWrite) await world.restore();
    return results;
  };
  for (let warmUp = 0; warmUp < warmUps; warmUp++) await runAll(warmUp);
  const results: Outcome["rounds"] = [];
  for (let round = 0; round < rounds; round++) results.push(await runAll(round));
  return results;
}

function medianOf({ rounds }: Outcome, name: Name, figure: keyof Figures): number | undefined {
  const values = rounds.map((results) => figureOf(results[name], figure)).filter((value) => value !== undefined);
  return values.length === 0 ? undefined : median(values);
}

/** The median over the rounds of one contender's figure divided by another's. */
function ratioOf({ rounds }: Outcome, [upper, lower]: [Name, Name], figure: keyof Figures): number | undefined {
  const ratios = rounds.map((results) => {
    const [above, below] = [figureOf(results[upper], figure), figureOf(results[lower], figure)];
    return above === undefined || !below ? undefined : above / below;
  }).filter((ratio) => ratio !== undefined);
  return ratios.length === 0 ? undefined : median(ratios);
}

function figureOf(result: Result | undefined, figure: keyof Figures): number | undefined {
  return result === undefined || !(figure in result) ? undefined : Reflect.get(result, figure);
}

const shown = (value: number | undefined, digits: number) => value === undefined ? "" : value.toFixed(digits);

function figuresTable(outcome: Outcome): string {
  const heads = ["", "requests/s", "p50 ms", "p99 ms", "CPU ms", "of Postgres", "of client"];
  const names: Name[] = ["server", "with a key", "bare server", "SQL alone"];
  return table([
    heads,
    ...names.filter((name) => outcome.rounds.some((results) => results[name] !== undefined)).map((name) => [
      name,
      shown(medianOf(outcome, name, "perSecond"), 0),
      shown(medianOf(outcome, name, "p50"), 1),
      shown(medianOf(outcome, name, "p99"), 1),
      shown(medianOf(outcome, name, "serverCpu"), 3),
      shown(medianOf(outcome, name, "postgresCpu"), 3),
      shown(medianOf(outcome, name, "clientCpu"), 3),
    ]),
  ]);
}

interface Ratios {
  operation: string;
  throughput: number | undefined;
  serverCpu: number | undefined;
  postgresCpu: number | undefined;
  /** With an Idempotency-Key, of the throughput without. */
  keyed: number | undefined;
  peakMib: number;
}

function ratiosOf(outcome: Outcome): Ratios {
  return {
    operation: outcome.operation,
    throughput: ratioOf(outcome, ["server", "bare server"], "perSecond"),
    serverCpu: ratioOf(outcome, ["server", "bare server"], "serverCpu"),
    postgresCpu: ratioOf(outcome, ["server", "bare server"], "postgresCpu"),
    keyed: ratioOf(outcome, ["with a key", "server"], "perSecond"),
    peakMib: outcome.peakBytes / 1024 ** 2,
  };
}

function ratiosTable(outcomes: Outcome[]): string {
  const heads = [
    "server / bare server",
    "requests/s",
    "CPU",
    "CPU of Postgres",
    "with a key / without",
    "MiB of server",
  ];
  return table([
    heads,
    ...outcomes.map(ratiosOf).map(({ operation, throughput, serverCpu, postgresCpu, keyed, peakMib }) => [
      operation,
      ...[throughput, serverCpu, postgresCpu, keyed].map((ratio) => shown(ratio, 2)),
      shown(peakMib, 0),
    ]),
  ]);
}

/** The client must cost less than the bare server, or it hides the difference. */
function warnOfClient(outcome: Outcome): void {
  const [client, bare] = (["clientCpu", "serverCpu"] as const).map((figure) =>
    medianOf(outcome, "bare server", figure)
  );
  if ((client ?? 0) > (bare ?? 0)) console.log("The client takes more CPU than the bare server.");
}

const options = parseOptions();
await exitAfter(() => withResources(totalLimitMs, (resources) => bench(resources, options)));
