/** Rate limits that are shared through Redis, and servers whose Redis is away. */
import assert from "node:assert/strict";
import { Redis } from "ioredis";
import { createLog } from "../../src/log.ts";
import { RateLimits, redisPatienceMs } from "../../src/http/rate_limits.ts";
import { rateLimits } from "../../generated/contract.ts";
import { mintToken } from "../../src/auth/tokens.ts";
import { newDatabase } from "../support/database.ts";
import { eventually, startServerProcess } from "../support/process.ts";
import { redisTest, startRedis } from "../support/redis.ts";
import { send, testSecret } from "../support/server.ts";

const limits = { public: { quota: 1_000, windowSeconds: 60 }, auth: { quota: 3, windowSeconds: 10 } };
type Limits = RateLimits<keyof typeof limits>;

/** Opens limits. `logged` has their log as `level: message`. Disposing of them closes them. */
function open(redisUrl?: string, now?: () => number): AsyncDisposable & { limits: Limits; logged: string[] } {
  const logged: string[] = [];
  const log = createLog("debug", (line) => {
    const { level, message } = JSON.parse(line);
    logged.push(`${level}: ${message}`);
  });
  const opened = new RateLimits({ limits, redisUrl, log, ...(now === undefined ? {} : { now }) });
  return { limits: opened, logged, [Symbol.asyncDispose]: () => opened.close() };
}

const redisAway = "warn: redis is down, each server counts rate limits alone";
const redisBack = "info: rate limits are shared again";

/** Sends `count` requests, 50 at a time. Returns how many are admitted. */
async function admitted(limits: Limits, count: number): Promise<number> {
  let left = count, sum = 0;
  const caller = async () => {
    while (left-- > 0) if (!(await limits.take("public", "user:7")).isOver) sum++;
  };
  await Promise.all(Array.from({ length: 50 }, caller));
  return sum;
}

/**
 * Sends 100 requests of different callers at once to limits whose Redis does not answer. They must wait for
 * {@link redisPatienceMs}. Compares with timers that start with them, because timers fire in order on a busy machine too.
 */
async function assertPatience(limits: Limits): Promise<void> {
  let isEarly = true;
  let isLate = false;
  const timers = [
    setTimeout(() => isEarly = false, redisPatienceMs / 2),
    setTimeout(() => isLate = true, redisPatienceMs * 2),
  ];
  const ends = Array.from({ length: 100 }, async (_, caller) => {
    await limits.take("public", `user:${caller}`);
    return { isEarly, isLate };
  });
  const all = await Promise.all(ends);
  timers.forEach(clearTimeout);
  assert(all.some((end) => !end.isEarly), "no request waited");
  assert(!all.some((end) => end.isLate), "a request waited for too long");
}

/**
 * Sends `count` requests of different callers one after the other. Returns how many waited. A request that does not wait
 * ends before any timer, on a busy machine too.
 */
async function countWaiting(limits: Limits, count: number): Promise<number> {
  let sum = 0;
  for (let caller = 0; caller < count; caller++) {
    let isLater = false;
    const timer = setTimeout(() => isLater = true);
    await limits.take("public", `user:${caller}`);
    clearTimeout(timer);
    if (isLater) sum++;
  }
  return sum;
}

/** Repeats `request` of a new caller until Redis has its key. Requests do not wait until Redis is connected. */
async function untilShared(redisUrl: string, request: () => Promise<string>): Promise<void> {
  const client = new Redis(redisUrl);
  const limit = AbortSignal.timeout(30_000);
  while (await client.exists(await request()) === 0) limit.throwIfAborted();
  await client.quit();
}

/** Opens limits and waits until Redis counts them. */
async function openShared(redisUrl: string, now?: () => number): Promise<ReturnType<typeof open>> {
  const opened = open(redisUrl, now);
  await untilShared(redisUrl, () => newcomer(opened.limits));
  return opened;
}

/** Sends a request of a new caller. Returns its key in Redis. */
async function newcomer(limits: Limits): Promise<string> {
  const caller = crypto.randomUUID();
  await limits.take("auth", caller);
  return `slotkeeper:rate:auth:${caller}`;
}

async function assertShared(one: Limits, other: Limits): Promise<void> {
  const caller = crypto.randomUUID();
  assert.equal((await one.take("auth", caller)).remaining, 2);
  assert.equal((await other.take("auth", caller)).remaining, 1);
}

/** Runs `code` in a process with the permissions of a server. Returns its standard output. */
async function inProcess(code: string, { flags = [], redisUrl }: { flags?: string[]; redisUrl?: string } = {}) {
  const child = new Deno.Command(Deno.execPath(), {
    args: ["run", "--quiet", "--no-prompt", "--no-check", "-P=server", ...flags, "-"],
    cwd: new URL("../../", import.meta.url),
    stdin: "piped",
    stdout: "piped",
  }).spawn();
  const stdin = child.stdin.getWriter();
  await stdin.write(new TextEncoder().encode(`
    import { Redis } from "ioredis";
    import { RateLimits } from ${JSON.stringify(new URL("../../src/http/rate_limits.ts", import.meta.url))};
    const log = { debug() {}, info() {}, warn() {}, error() {} };
    const redisUrl = ${JSON.stringify(redisUrl)};
    const limits = new RateLimits({ limits: ${JSON.stringify(limits)}, redisUrl, log });
    ${[admitted, untilShared, newcomer].join("\n")}
    ${code}
    await limits.close();
  `));
  await stdin.close();
  const { code: status, stdout } = await child.output();
  assert.equal(status, 0);
  return new TextDecoder().decode(stdout);
}

Deno.test("rate limits: 500,000 callers -> fit in 48 MiB", async () => {
  // All of them would take twice as much.
  const code = `for (let i = 0; i < 500_000; i++) await limits.take("public", "address:2001:db8:" + i + "::/64");`;
  await inProcess(code, { flags: ["--v8-flags=--max-old-space-size=48"] });
});

redisTest("rate limits: three in one process with one Redis -> admit one quota", async () => {
  await using redis = await startRedis();
  await using one = await openShared(redis.url);
  await using two = await openShared(redis.url);
  await using three = await openShared(redis.url);
  const all = [one, two, three];
  const counts = await Promise.all(all.map(({ limits }) => admitted(limits, 3_334)));
  assert.equal(counts.reduce((sum, count) => sum + count), 1_000, `${counts}`);
  for (const { limits, logged } of all) {
    assert.equal(limits.isSpent("public", "user:7"), true);
    const { remaining, resetSeconds, isOver } = await limits.take("public", "user:7");
    assert.deepEqual([remaining, isOver], [0, true]);
    assert(resetSeconds >= 1 && resetSeconds <= 60);
    assert.deepEqual(logged, []);
  }
});

redisTest("rate limits: three processes with one Redis, ten times the quota -> admit it within 1 %", async () => {
  await using redis = await startRedis();
  const code = `
    await untilShared(redisUrl, () => newcomer(limits));
    console.log(await admitted(limits, 3_334));
  `;
  const counts = await Promise.all([1, 2, 3].map(() => inProcess(code, { redisUrl: redis.url })));
  const sum = counts.reduce((sum, count) => sum + Number(count), 0);
  assert(Math.abs(sum - 1_000) <= 10, `${counts}`);
});

redisTest(
  "rate limits: three servers with Redis, ten times the quota -> admit it within 1 %, serve without Redis",
  async () => {
    await using redis = await startRedis();
    await using database = await newDatabase();
    const env = { DATABASE_URL: database.url, AUTH_JWT_SECRET: testSecret, REDIS_URL: redis.url };
    await using one = await startServerProcess("serve", env);
    await using two = await startServerProcess("serve", env);
    await using three = await startServerProcess("serve", env);
    const servers = [one, two, three];
    const { quota } = rateLimits.booking_write;
    const auth = { secret: testSecret, jwksUrl: undefined, issuer: undefined, audience: undefined };
    const token = await mintToken(auth, { subject: "alice", role: "user", lifetimeSeconds: 600 });

    for (const { url } of servers) {
      await untilShared(redis.url, async () => {
        const subject = crypto.randomUUID();
        const newToken = await mintToken(auth, { subject, role: "user", lifetimeSeconds: 600 });
        const { text } = await send(url, "getMe", { token: newToken });
        return `slotkeeper:rate:user:user:${JSON.parse(text).id}`;
      });
    }

    let left = quota * 10, sum = 0;
    const client = async (_: unknown, index: number) => {
      const { url } = servers[index % servers.length] ?? one;
      while (left-- > 0) {
        const { status, headers } = await send(url, "createBooking", { token, body: {} });
        if (status !== 429) sum++;
        else assert.equal(headers.get("Retry-After"), /t=(\d+)/.exec(headers.get("RateLimit") ?? "")?.[1]);
      }
    };
    await Promise.all(Array.from({ length: 30 }, client));
    assert(Math.abs(sum - quota) <= quota / 100, `${sum}`);

    await redis.kill();
    const other = await mintToken(auth, { subject: "bob", role: "user", lifetimeSeconds: 600 });
    for (const { url, until, stdout } of servers) {
      for (let request = 1; request <= 20; request++) {
        const { headers } = await send(url, "createBooking", { token: other, body: {} });
        assert.match(headers.get("RateLimit") ?? "", new RegExp(`^"booking_write";r=${quota - request};t=\\d+$`));
      }
      await until(/redis is down/);
      assert.equal(stdout().split("redis is down").length, 2);
    }
  },
);

redisTest("rate limits: next window in Redis -> the whole quota", async () => {
  await using redis = await startRedis();
  let now = 0;
  await using opened = await openShared(redis.url, () => now);
  const { limits } = opened;
  for (let request = 0; request < 3; request++) await limits.take("auth", "user:7");
  assert.equal((await limits.take("auth", "user:7")).isOver, true);
  const client = new Redis(redis.url);
  const key = "slotkeeper:rate:auth:user:7";
  const ttl = await client.pttl(key);
  assert(ttl > 0 && ttl <= 10_000, `${ttl}`);
  // The window ends here and in Redis.
  now += 10_000;
  await client.del(key);
  await client.quit();
  const { remaining, resetSeconds, isOver } = await limits.take("auth", "user:7");
  assert.deepEqual([remaining, resetSeconds, isOver], [2, 10, false]);
});

redisTest("rate limits: Redis killed and restarted -> served, logged once, then shared again", async () => {
  await using redis = await startRedis();
  await using one = await openShared(redis.url);
  await using two = await openShared(redis.url);
  await assertShared(one.limits, two.limits);
  await one.limits.take("auth", "user:7");
  await two.limits.take("auth", "user:7");
  await redis.kill();
  // Earlier counts are kept.
  assert.equal((await two.limits.take("auth", "user:7")).remaining, 0);
  assert.equal((await two.limits.take("auth", "user:7")).isOver, true);
  for (const { limits, logged } of [one, two]) {
    // The first request may still wait for Redis.
    assert((await countWaiting(limits, 2_000)) <= 1);
    assert.deepEqual(logged, [redisAway]);
  }
  await redis.restart();
  await eventually(() => Promise.resolve(one.logged.length > 1 && two.logged.length > 1));
  await assertShared(one.limits, two.limits);
  assert.deepEqual([one.logged, two.logged], [[redisAway, redisBack], [redisAway, redisBack]]);
});

redisTest("rate limits: Redis starts after the server -> shared from then on", async () => {
  await using redis = await startRedis();
  await redis.kill();
  await using one = open(redis.url);
  await using two = open(redis.url);
  assert((await countWaiting(one.limits, 100)) <= 1);
  await two.limits.take("public", "user:7");
  await redis.restart();
  await eventually(() => Promise.resolve(one.logged.length > 1 && two.logged.length > 1));
  await assertShared(one.limits, two.limits);
  assert.deepEqual([one.logged, two.logged], [[redisAway, redisBack], [redisAway, redisBack]]);
});

redisTest("rate limits: Redis hangs -> running requests wait for 500 ms, later ones not at all", async () => {
  await using redis = await startRedis();
  await using one = await openShared(redis.url);
  await using two = await openShared(redis.url);
  await assertShared(one.limits, two.limits);
  redis.freeze();
  for (const { limits, logged } of [one, two]) {
    await assertPatience(limits);
    assert.equal(await countWaiting(limits, 2_000), 0);
    assert.deepEqual(logged, [redisAway]);
  }
  redis.thaw();
  await eventually(() => Promise.resolve(one.logged.length > 1 && two.logged.length > 1));
  await assertShared(one.limits, two.limits);
  assert.deepEqual([one.logged, two.logged], [[redisAway, redisBack], [redisAway, redisBack]]);
});

redisTest("rate limits: event loop blocked for a second -> Redis is not taken for one that hangs", async () => {
  await using redis = await startRedis();
  await using opened = await openShared(redis.url);
  const { limits, logged } = opened;
  await limits.take("public", "user:7");
  const waiting = [1, 2, 3].map(() => limits.take("public", "user:7"));
  const start = performance.now();
  while (performance.now() - start < redisPatienceMs * 2);
  assert.equal((await Promise.all(waiting)).at(-1)?.remaining, 996);
  assert.deepEqual(logged, []);
});

redisTest("rate limits: read-only Redis -> the same as no Redis", async () => {
  await using redis = await startRedis({ args: ["--replicaof", "127.0.0.1", "1"] });
  await using one = open(redis.url);
  await using two = open(redis.url);
  assert((await countWaiting(one.limits, 100)) <= 1);
  const client = new Redis(redis.url);
  // Each of the two connects twice, and nothing more is logged.
  await eventually(async () => {
    await two.limits.take("public", "user:7");
    return Number(/total_connections_received:(\d+)/.exec(await client.info("stats"))?.[1]) >= 5;
  });
  assert.deepEqual([one.logged, two.logged], [[redisAway], [redisAway]]);
  await client.replicaof("NO", "ONE");
  await client.quit();
  await eventually(() => Promise.resolve(one.logged.length > 1 && two.logged.length > 1));
  await assertShared(one.limits, two.limits);
  assert.deepEqual([one.logged, two.logged], [[redisAway, redisBack], [redisAway, redisBack]]);
});

redisTest("rate limits: Redis with a password -> shared, a wrong password as no Redis", async () => {
  await using redis = await startRedis({ args: ["--requirepass", "p@ss/word"] });
  await using one = await openShared(redis.url.replace("//", "//:p%40ss%2Fword@"));
  await using two = await openShared(redis.url.replace("//", "//default:p%40ss%2Fword@"));
  await assertShared(one.limits, two.limits);
  await using stranger = open(redis.url.replace("//", "//:wrong@"));
  assert.equal((await stranger.limits.take("auth", "user:7")).remaining, 2);
  await eventually(() => Promise.resolve(stranger.logged.length > 0));
  assert.deepEqual([one.logged, two.logged, stranger.logged], [[], [], [redisAway]]);
});

Deno.test("rate limits: Redis accepts and never answers -> only the first requests wait", async () => {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const connections: Deno.Conn[] = [];
  const accepting = (async () => {
    for await (const connection of listener) connections.push(connection);
  })();
  const redisUrl = `redis://127.0.0.1:${listener.addr.port}`;
  {
    await using opened = open(redisUrl);
    await assertPatience(opened.limits);
    assert.equal(await countWaiting(opened.limits, 2_000), 0);
    await eventually(() => Promise.resolve(connections.length > 1));
    assert.deepEqual(opened.logged, [redisAway]);
  }
  // A process ends although it waits for an answer.
  await inProcess(`await limits.take("public", "user:7");`, { redisUrl });
  listener.close();
  await accepting;
  for (const connection of connections) connection.close();
});

Deno.test("rate limits: closed without a Redis -> the process ends", async () => {
  await inProcess(`await limits.take("public", "user:7");`, { redisUrl: "redis://127.0.0.1:1" });
  await inProcess("", { redisUrl: "redis://127.0.0.1:1" });
});
