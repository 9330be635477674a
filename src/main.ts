/** Starts the server: configuration, database, app. Drains and stops it after a signal. */
import { createApp } from "./app.ts";
import { createTokenVerifier, mintToken } from "./auth/tokens.ts";
import { assertNoArguments } from "./boot/arguments.ts";
import { exitAfter } from "./boot/exit.ts";
import { checkServices } from "./boot/check_services.ts";
import { assertCanListen, listenFault } from "./boot/listening.ts";
import { migrate } from "./boot/migrate.ts";
import { openDatabase, withSecret } from "./boot/open_database.ts";
import { type Config, parseConfig } from "./config.ts";
import { EventFeed } from "./events/feed.ts";
import { adoptFeed } from "./events/queries.ts";
import { Intake } from "./http/intake.ts";
import { Worker } from "./jobs/worker.ts";
import { bufferedOutput, createLog } from "./log.ts";
import { SandboxClock } from "./sandbox/clock.ts";
import { fillInDemo, findFreeTimeslot } from "./sandbox/demo.ts";
import { toFeedEvent } from "./subscriptions/feed_event.ts";
import { systemClock } from "./time/clock.ts";
import { Repeater } from "./time/repeater.ts";

/** Longest wait in ms after SIGTERM for bodies to arrive. */
const arrivalLimitMs = 3_000;
/** Longest wait in ms after SIGTERM for clients to close their sockets. */
const closeLimitMs = 3_000;
/** Longest wait in ms after those for running requests and a sweep to finish. */
const drainLimitMs = 10_000;
/** Milliseconds between two sweeps. */
const sweepIntervalMs = 5_000;
const sandboxTokenSeconds = 30 * 24 * 60 * 60;

const usage = `Usage: deno task start    with a Postgres of its own, and demo data
       deno task serve    in production, with DATABASE_URL

Settings come from the environment, such as: PORT=8001 deno task start
The guide on operating lists them: src/docs/guides/operating.md`;

async function start(): Promise<void> {
  assertNoArguments(usage);
  // Listens from the beginning, so that a signal during the start also stops the server in order.
  const stop = Promise.withResolvers<string>();
  for (const signal of ["SIGTERM", "SIGINT"] as const) Deno.addSignalListener(signal, () => stop.resolve(signal));
  const settings = parseConfig(Deno.env.toObject());
  const output = bufferedOutput();
  const log = createLog(settings.logLevel, output.add);
  assertCanListen(settings);
  await checkServices(settings, log);
  const config = await withSecret(settings);
  const database = await openDatabase(config);
  try {
    const { db, url } = database;
    const ran = await migrate(url);
    if (ran.length > 0) log.info("migrated", { migrations: ran });
    if (await adoptFeed(db)) log.warn("database was moved, subscribers get a gap");
    const clock = config.sandbox ? new SandboxClock() : systemClock;
    if (config.demoData) await fillInDemo({ db, clock, config });

    const tokens = config.sandbox && config.auth.secret !== undefined ? await sandboxTokens(config) : undefined;
    const intake = new Intake();
    const feed = new EventFeed({ db, url, log, render: toFeedEvent });
    await feed.start();
    let address = config.publicUrl ?? "";
    const app = createApp({
      config,
      db,
      clock,
      log,
      verify: await createTokenVerifier(config.auth),
      feed,
      publicUrl: () => address,
      docsTokens: tokens,
      intake,
    });
    const server = listen(config, app.fetch);
    address = config.publicUrl ?? addressOf(server.addr);
    const worker = new Worker({ db, url, log, tasks: app.tasks });
    const sweeper = new Repeater(app.sweep, sweepIntervalMs);
    sweeper.start();
    worker.start();
    log.info("listening", { address });
    if (tokens !== undefined) output.add(await welcome(address, tokens, await findFreeTimeslot(db, new Date())));

    log.info("draining", { signal: await stop.promise });
    const swept = sweeper.stop();
    await Promise.all([
      worker.stop(),
      app.sockets.close(closeLimitMs),
      feed.close(),
      intake.close(arrivalLimitMs),
    ]);
    // A sweep may also wait for locks.
    const finished = Promise.all([swept, server.shutdown()]);
    await Promise.race([finished, new Promise((done) => setTimeout(done, drainLimitMs))]);
    await app.close();
  } finally {
    await database.close();
  }
}

function listen(config: Config, handler: Deno.ServeHandler<Deno.NetAddr>): Deno.HttpServer<Deno.NetAddr> {
  try {
    return Deno.serve({ hostname: config.host, port: config.port, onListen: () => {} }, handler);
  } catch (failure) {
    // Another program may have taken the port since it was checked.
    throw listenFault(failure, config) ?? failure;
  }
}

interface SandboxTokens {
  user: string;
  admin: string;
}

async function sandboxTokens({ auth }: Config): Promise<SandboxTokens> {
  const person = { lifetimeSeconds: sandboxTokenSeconds };
  return {
    user: await mintToken(auth, { ...person, subject: "demo-user", role: "user", name: "Demo User" }),
    admin: await mintToken(auth, { ...person, subject: "demo-admin", role: "admin", name: "Demo Admin" }),
  };
}

function addressOf({ hostname, port }: Deno.NetAddr): string {
  return `http://${hostname.includes(":") ? `[${hostname}]` : hostname}:${port}`;
}

function welcome(
  address: string,
  { user, admin }: SandboxTokens,
  slot: { id: number; roomId: number } | undefined,
): string {
  const lines = [
    "",
    `Slotkeeper sandbox, docs at ${address}/docs`,
    "",
    `User token:  ${user}`,
    `Admin token: ${admin}`,
  ];
  if (slot !== undefined) {
    const body = JSON.stringify({ roomId: slot.roomId, timeslotId: slot.id });
    lines.push(
      "",
      "Make a booking:",
      `curl -X POST ${address}/api/v1/bookings -H 'Authorization: Bearer ${user}' -H 'Content-Type: application/json' -d '${body}'`,
      "",
      "Open the checkoutUrl of the answer in a browser to pay it.",
    );
  }
  return [...lines, ""].join("\n");
}

await exitAfter(start);
