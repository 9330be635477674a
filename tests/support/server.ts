/**
 * Servers for tests, built as `main.ts` builds them: real HTTP, a real database, and a clock that a test moves.
 *
 * - `await using server = await sharedServer()` is the usual one: 30 ms a test. All tests of a shard share one server and
 *   one database for each set of options. Each test gets its own users, log and time.
 * - `await using server = await startServer()` makes a server and a database: 250 ms a test. Use it if the test reads
 *   everything (lists or counts without a filter, whole tables, events of all users), moves retention, breaks the
 *   database, closes the server, or needs options that `sharedServer` lacks.
 */
import assert from "node:assert/strict";
import { type Kysely, type LogEvent, sql } from "kysely";
import type { z } from "zod";
import { type Operations, operations, Problem, type ProblemCode } from "../../generated/contract.ts";
import { type App, type AppOptions, createApp } from "../../src/app.ts";
import { createTokenVerifier, mintToken } from "../../src/auth/tokens.ts";
import type { Role } from "../../src/contract/caller.ts";
import type { Clock } from "../../src/time/clock.ts";
import { parseConfig } from "../../src/config.ts";
import { connect, type Database } from "../../src/database/connect.ts";
import { createLog } from "../../src/log.ts";
import { isAfter } from "../../src/events/cursors.ts";
import { EventFeed } from "../../src/events/feed.ts";
import type { SocketLimits, Sockets } from "../../src/subscriptions/sockets.ts";
import { toFeedEvent } from "../../src/subscriptions/feed_event.ts";
import { Worker } from "../../src/jobs/worker.ts";
import { SandboxClock } from "../../src/sandbox/clock.ts";
import { eventually } from "./process.ts";
import { newDatabase, type TestDatabase } from "./database.ts";

export const testSecret = "a secret that only the tests know, 32 bytes or more";

/** The domain's clock, which a test sets. */
export interface ManualClock extends Clock {
  set(time: string): void;
}

export type OperationId = keyof Operations;

/** A request. Values have loose types, so that a test can send wrong ones. `token` is sent as a bearer token. */
export interface Call {
  params?: Record<string, unknown>;
  query?: Record<string, unknown>;
  body?: unknown;
  token?: string;
  headers?: Record<string, string>;
}

export interface Answer {
  status: number;
  headers: Headers;
  body: unknown;
}

export interface TestServer extends AsyncDisposable {
  url: string;
  db: Kysely<Database>;
  databaseUrl: string;
  clock: ManualClock;
  /** This server's feed of events. */
  feed: EventFeed;
  sockets: Sockets;
  /** The log, one JSON text per entry. */
  logged: string[];
  /** A token for `subject`. Tokens of the same subject are the same user. */
  token(subject: string, role?: Role): Promise<string>;
  /**
   * Waits until the feed has everything that was committed. Transactions of other tests delay it, because they run on the
   * same Postgres.
   */
  settled(): Promise<void>;
  /** Undefined unless `PAYMENT_PROVIDER` is set. */
  payments: App["payments"];
  /** Runs all sweeps, such as the expiry of holds. Nothing else runs them in tests. */
  sweep(): Promise<void>;
  /** Runs all waiting jobs, retries too. Nothing else runs them in tests. */
  work(): Promise<void>;
  /** Calls an operation. Fails unless the contract declares the status and the body fits its schema. */
  call(id: OperationId, call?: Call): Promise<Answer>;
  /** Calls an operation that must succeed. */
  ok<Id extends OperationId>(id: Id, call?: Call): Promise<Operations[Id]["answer"]["body"]>;
  /** Calls an operation that must fail with this problem code. */
  refused(code: ProblemCode, id: OperationId, call?: Call): Promise<Problem>;
}

export interface TestServerOptions {
  /** The domain's time at the start. */
  now?: string;
  env?: Record<string, string>;
  log?: (event: LogEvent) => void;
  pool?: number;
  socketLimits?: SocketLimits;
  rateLimits?: AppOptions["rateLimits"];
  deadlines?: AppOptions["deadlines"];
  /** Milliseconds between two polls of the feed without a hint. */
  feedPollMs?: number;
  /** The reference sends tokens of this user and of `admin`, as in the sandbox. */
  docsSubject?: string;
  /** The database of another server. It is not removed. */
  database?: Pick<TestDatabase, "url">;
}

/**
 * Milliseconds for which `token` returns the same token again. Then a server verifies it once, and looks its user up once.
 * A test that moves the machine's time gets another token.
 */
const tokenReuseMs = 60_000;

/** Short, so that no test waits for a check. */
const socketCheckMs = 20;

/** The domain's time at the start of a test. */
const testStart = "2026-03-02T10:00:00.000Z";

/** A server and a database for one test. */
export async function startServer(options: TestServerOptions = {}): Promise<TestServer> {
  const { server } = await start(options);
  return server;
}

export interface SharedServerOptions {
  /** The domain's time at the start of the test. */
  now?: string;
  env?: Record<string, string>;
  /** Connections to the database. Races take 10, so that more statements run at the same time. */
  pool?: number;
  rateLimits?: AppOptions["rateLimits"];
  /** Shares the server only with tests of the same group: for tests that compare whole tables, and need small ones. */
  group?: string;
}

export interface SharedServer extends TestServer {
  /** The subject in tokens of `token(name)`: another one in each test. */
  subject(name: string): string;
}

/** Servers of this shard, by their options. */
const sharedServers = new Map<string, ReturnType<typeof start>>();
let sharedUses = 0;
Deno.test.afterAll(async () => {
  for (const [options, starting] of sharedServers) {
    sharedServers.delete(options);
    await (await starting).server[Symbol.asyncDispose]();
  }
});

/**
 * The server that the tests of a shard share, prepared for one test. Call it once at the beginning of a test.
 *
 * - The clock is set to `now`, and the log is emptied. Jobs of earlier tests are removed, their holds and checkouts end.
 * - `token("alice")` is a user of this test: its subject is `subject("alice")`. So is `token("admin", "admin")`, and all
 *   builders use them.
 * - Rooms, bookings and events of earlier tests are still there. A test reads its own: by user, by room, by id.
 * - `sweep()` also sends reminders of earlier bookings. It adds no jobs for them.
 */
export async function sharedServer({ now = testStart, ...options }: SharedServerOptions = {}): Promise<SharedServer> {
  const { group, ...startOptions } = options;
  const key = JSON.stringify({ group, ...startOptions });
  const starting = sharedServers.get(key) ?? start(startOptions);
  sharedServers.set(key, starting);
  const { server, reset } = await starting;
  await reset(now);
  const use = ++sharedUses;
  const subject = (name: string) => `${name}-${use}`;
  return {
    ...server,
    subject,
    token: (name, role) => server.token(subject(name), role),
    // The shard stops it.
    [Symbol.asyncDispose]: () => Promise.resolve(),
  };
}

interface Started {
  server: TestServer;
  /** Prepares it for another test. */
  reset(now: string): Promise<void>;
}

async function start(
  {
    now = testStart,
    env = {},
    log,
    pool = 4,
    socketLimits,
    rateLimits,
    deadlines,
    feedPollMs,
    docsSubject,
    database: shared,
  }: TestServerOptions = {},
): Promise<Started> {
  const own = shared === undefined ? await newDatabase() : undefined;
  const database = shared ?? own ?? { url: "" };
  const defaults = {
    AUTH_JWT_SECRET: testSecret,
    SANDBOX: "true",
    PAYMENT_PROVIDER: "none",
    RATE_LIMIT: "off",
    MAX_PENDING_BOOKINGS: "0",
  };
  const config = parseConfig({ ...defaults, DATABASE_URL: database.url, ...env });
  const db = connect({ url: database.url, pool, ...(log === undefined ? {} : { log }) });
  let time = new Date(now);
  const clock: ManualClock = { now: () => time, set: (text) => time = new Date(text) };
  const domainClock = config.sandbox ? new SandboxClock(clock) : clock;
  const logged: string[] = [];
  const serverLog = createLog("debug", (line) => logged.push(line));
  const feed = new EventFeed({ db, url: database.url, log: serverLog, render: toFeedEvent, pollMs: feedPollMs });
  await feed.start();
  const tokens = new Map<string, { token: Promise<string>; mintedAt: number }>();
  const token = (subject: string, role: Role = "user"): Promise<string> => {
    const key = `${role} ${subject}`;
    const [known, now] = [tokens.get(key), Date.now()];
    if (known !== undefined && Math.abs(now - known.mintedAt) < tokenReuseMs) return known.token;
    const minted = mintToken(config.auth, { subject, role, lifetimeSeconds: 3_600 });
    tokens.set(key, { token: minted, mintedAt: now });
    return minted;
  };

  let url = config.publicUrl ?? "";
  const app = createApp({
    config,
    db,
    clock: domainClock,
    log: serverLog,
    feed,
    ...(socketLimits === undefined ? {} : { socketLimits }),
    ...(rateLimits === undefined ? {} : { rateLimits }),
    ...(deadlines === undefined ? {} : { deadlines }),
    socketCheckMs,
    publicUrl: () => url,
    verify: await createTokenVerifier(config.auth),
    docsTokens: docsSubject === undefined
      ? undefined
      : { user: await token(docsSubject), admin: await token("admin", "admin") },
  });
  const http = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen: () => {} }, app.fetch);
  url = `http://127.0.0.1:${http.addr.port}`;
  const worker = new Worker({ db, url: database.url, log: serverLog, tasks: app.tasks });

  const call = async (id: OperationId, request: Call = {}): Promise<Answer> => {
    const { status, headers, text } = await send(url, id, request);
    const where = `${id} answered ${status}: ${text}`;
    if (status === 304) {
      assert(operations[id].isConditional && text === "", where);
      return { status, headers, body: null };
    }
    const body: unknown = JSON.parse(text);
    if (status < 400) {
      const answers: Record<number, z.ZodType | undefined> = operations[id].answers;
      const schema = answers[status];
      assert(schema, `${where}\nwhich the contract does not declare`);
      assert.deepEqual(schema.parse(body), body, where);
      return { status, headers, body };
    }
    const problem = Problem.parse(body);
    assert.equal(headers.get("Content-Type"), "application/problem+json", where);
    assert.equal(problem.status, status, where);
    // A replayed answer has the request id of the first request.
    const isReplay = headers.get("Idempotency-Replayed") === "true";
    if (!isReplay) assert.equal(problem.requestId, headers.get("X-Request-Id"), where);
    const declared: readonly ProblemCode[] = operations[id].problems;
    assert(declared.includes(problem.code), `${where}\nwhich the contract does not declare`);
    return { status, headers, body: problem };
  };

  const server: TestServer = {
    url,
    db,
    databaseUrl: database.url,
    clock,
    feed,
    sockets: app.sockets,
    logged,
    token,
    async settled() {
      const { rows } = await sql<{ xid: number; id: number }>`
        select transaction_id::text::bigint as xid, id from booking_events order by transaction_id desc, id desc limit 1
      `.execute(db);
      const [last] = rows;
      if (last === undefined) return;
      await eventually(async () => {
        feed.announce();
        // While nobody follows the feed, this reads its position.
        (await feed.follow())();
        return !isAfter({ transactionId: last.xid, id: last.id }, feed.position);
      });
    },
    payments: app.payments,
    sweep: app.sweep,
    async work() {
      await sql`update graphile_worker._private_jobs set run_at = now() where run_at > now()`.execute(db);
      await worker.work();
    },
    call,
    async ok(id, request) {
      const { status, body } = await call(id, request);
      assert(status < 400, `${id} answered ${status}: ${JSON.stringify(body)}`);
      return body as Operations[typeof id]["answer"]["body"];
    },
    async refused(code, id, request) {
      const { status, body } = await call(id, request);
      assert(status >= 400, `${id} answered ${status}, not ${code}: ${JSON.stringify(body)}`);
      const problem = Problem.parse(body);
      assert.equal(problem.code, code, JSON.stringify(body));
      return problem;
    },
    async [Symbol.asyncDispose]() {
      await Promise.all([app.sockets.close(1_000), feed.close(), worker.stop()]);
      await http.shutdown();
      await app.close();
      await db.destroy();
      await own?.[Symbol.asyncDispose]();
    },
  };
  const reset = async (time: string) => {
    clock.set(time);
    if (domainClock instanceof SandboxClock) domainClock.planReset().go();
    logged.length = 0;
    // Ends holds, checkouts and jobs of earlier tests. Otherwise a sweep of this test would add jobs for them.
    await sql`
      with jobs as (delete from graphile_worker._private_jobs),
        holds as (update bookings set hold_expires_at = null where hold_expires_at is not null)
      update checkouts set closed_at = created_at where closed_at is null
    `.execute(db);
  };
  return { server, reset };
}

/** Sends a request without checking the response. */
export async function send(
  url: string,
  id: OperationId,
  { params = {}, query = {}, body, token, headers = {} }: Call,
): Promise<{ status: number; headers: Headers; text: string }> {
  const { method, path } = operations[id].route;
  const target = new URL(path.replaceAll(/\{(\w+)\}/g, (_, name) => encodeURIComponent(String(params[name]))), url);
  for (const [name, value] of Object.entries(query)) target.searchParams.set(name, String(value));
  const response = await fetch(target, {
    method: method.toUpperCase(),
    headers: {
      ...(token === undefined ? {} : { Authorization: `Bearer ${token}` }),
      ...(body === undefined ? {} : { "Content-Type": "application/json" }),
      ...headers,
    },
    ...(body === undefined ? {} : { body: typeof body === "string" ? body : JSON.stringify(body) }),
  });
  return { status: response.status, headers: response.headers, text: await response.text() };
}
