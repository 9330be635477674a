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

/** Limits that are let go of in the end, and what they have logged, as `level: message`. */
function open(redisUrl?: string, now?: () => number): AsyncDisposable & { limits: Limits; logged: string[] } {
  const logged: string[] = [];
  const log = createLog("debug", (line) => {
    const { level, message } = JSON.parse(line);
    logged.push(`${level}: ${message}`);
  });
  const opened = new RateLimits({ limits, redisUrl, log, ...(now === undefined ? {} : { now }) });
  return { limits: opened, logged, [Symbol.asyncDispose]: () => opened.close() };
}

const away = "warn: redis is down, each server counts rate limits alone";
const back = "info: rate limits are shared again";

/** How many of `count` requests are admitted, with 50 on their way at a time. */
async function admitted(limits: Limits, count: number): Promise<number> {
  let left = count, sum = 0;
  const caller = async () => {
    while (left-- > 0) if (!(await limits.take("public", "user:7")).isOver) sum++;
  };
  await Promise.all(Array.from({ length: 50 }, caller));
  return sum;
}

/** The longest of `count` requests of different callers that come all at once, in milliseconds. */
async function longestMs(limits: Limits, count: number): Promise<number> {
  const start = performance.now();
  const ends = Array.from({ length: count }, async (_, caller) => {
    await limits.take("public", `user:${caller}`);
    return performance.now();
  });
  return Math.max(...await Promise.all(ends)) - start;
}

/**
 * How many of `count` requests of different callers, one after the other, had to wait for something. Who has not is done
 * before any timer, however busy the machine is.
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

/**
 * Waits until `request`, which is one of a new caller, is counted in Redis, under the key that it gives. A busy machine may
 * take longer to connect than requests wait for it.
 */
async function untilShared(redisUrl: string, request: () => Promise<string>): Promise<void> {
  const client = new Redis(redisUrl);
  const patience = AbortSignal.timeout(30_000);
  while (await client.exists(await request()) === 0) patience.throwIfAborted();
  await client.quit();
}

/** {@link open}, and shared by all that have it. */
async function openShared(redisUrl: string, now?: () => number): Promise<ReturnType<typeof open>> {
  const opened = open(redisUrl, now);
  await untilShared(redisUrl, () => newcomer(opened.limits));
  return opened;
}

/** A request of a new caller, and its key in Redis. */
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

/** Runs `code` in a process with the permissions of a server, and gives what it printed. */
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

Deno.test("half a million callers fit in 48 MiB", async () => {
  // To remember all of them takes twice as much.
  const code = `for (let i = 0; i < 500_000; i++) await limits.take("public", "address:2001:db8:" + i + "::/64");`;
  await inProcess(code, { flags: ["--v8-flags=--max-old-space-size=48"] });
});

redisTest("three in one process with one Redis admit a quota once", async () => {
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

redisTest("three processes with one Redis, at ten times the quota, admit it within 1 %", async () => {
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
  "three servers with Redis, at ten times the quota, admit it within 1 %, and go on without Redis",
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

redisTest("in Redis too a quota is whole again in the next window", async () => {
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
  // Time passes here, and in Redis.
  now += 10_000;
  await client.del(key);
  await client.quit();
  const { remaining, resetSeconds, isOver } = await limits.take("auth", "user:7");
  assert.deepEqual([remaining, resetSeconds, isOver], [2, 10, false]);
});

redisTest("requests go on when Redis is killed, which is logged once, and share again when it is back", async () => {
  await using redis = await startRedis();
  await using one = await openShared(redis.url);
  await using two = await openShared(redis.url);
  await assertShared(one.limits, two.limits);
  await one.limits.take("auth", "user:7");
  await two.limits.take("auth", "user:7");
  await redis.kill();
  // What was counted together by then is not forgotten.
  assert.equal((await two.limits.take("auth", "user:7")).remaining, 0);
  assert.equal((await two.limits.take("auth", "user:7")).isOver, true);
  for (const { limits, logged } of [one, two]) {
    // The first may still find out.
    assert((await countWaiting(limits, 2_000)) <= 1);
    assert.deepEqual(logged, [away]);
  }
  await redis.restart();
  await eventually(() => Promise.resolve(one.logged.length > 1 && two.logged.length > 1));
  await assertShared(one.limits, two.limits);
  assert.deepEqual([one.logged, two.logged], [[away, back], [away, back]]);
});

redisTest("Redis may come after the server", async () => {
  await using redis = await startRedis();
  await redis.kill();
  await using one = open(redis.url);
  await using two = open(redis.url);
  assert((await countWaiting(one.limits, 100)) <= 1);
  await two.limits.take("public", "user:7");
  await redis.restart();
  await eventually(() => Promise.resolve(one.logged.length > 1 && two.logged.length > 1));
  await assertShared(one.limits, two.limits);
  assert.deepEqual([one.logged, two.logged], [[away, back], [away, back]]);
});

redisTest("requests wait for a Redis that hangs no longer than set, and only those that were under way", async () => {
  await using redis = await startRedis();
  await using one = await openShared(redis.url);
  await using two = await openShared(redis.url);
  await assertShared(one.limits, two.limits);
  redis.freeze();
  for (const { limits, logged } of [one, two]) {
    const longest = await longestMs(limits, 100);
    assert(longest > redisPatienceMs / 2 && longest < redisPatienceMs * 5, `${longest}`);
    assert.equal(await countWaiting(limits, 2_000), 0);
    assert.deepEqual(logged, [away]);
  }
  redis.thaw();
  await eventually(() => Promise.resolve(one.logged.length > 1 && two.logged.length > 1));
  await assertShared(one.limits, two.limits);
  assert.deepEqual([one.logged, two.logged], [[away, back], [away, back]]);
});

redisTest("a server that is held up itself does not take Redis for one that hangs", async () => {
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

redisTest("a Redis that answers and does not count is as one that is away", async () => {
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
  assert.deepEqual([one.logged, two.logged], [[away], [away]]);
  await client.replicaof("NO", "ONE");
  await client.quit();
  await eventually(() => Promise.resolve(one.logged.length > 1 && two.logged.length > 1));
  await assertShared(one.limits, two.limits);
  assert.deepEqual([one.logged, two.logged], [[away, back], [away, back]]);
});

redisTest("Redis may ask for a password", async () => {
  await using redis = await startRedis({ args: ["--requirepass", "p@ss/word"] });
  await using one = await openShared(redis.url.replace("//", "//:p%40ss%2Fword@"));
  await using two = await openShared(redis.url.replace("//", "//default:p%40ss%2Fword@"));
  await assertShared(one.limits, two.limits);
  await using stranger = open(redis.url.replace("//", "//:wrong@"));
  assert.equal((await stranger.limits.take("auth", "user:7")).remaining, 2);
  await eventually(() => Promise.resolve(stranger.logged.length > 0));
  assert.deepEqual([one.logged, two.logged, stranger.logged], [[], [], [away]]);
});

Deno.test("a Redis that never says anything holds up the first requests only", async () => {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const connections: Deno.Conn[] = [];
  const accepting = (async () => {
    for await (const connection of listener) connections.push(connection);
  })();
  const redisUrl = `redis://127.0.0.1:${listener.addr.port}`;
  {
    await using opened = open(redisUrl);
    const longest = await longestMs(opened.limits, 100);
    assert(longest > redisPatienceMs / 2 && longest < redisPatienceMs * 5, `${longest}`);
    assert.equal(await countWaiting(opened.limits, 2_000), 0);
    await eventually(() => Promise.resolve(connections.length > 1));
    assert.deepEqual(opened.logged, [away]);
  }
  // Closed while it waits for an answer, a process ends all the same.
  await inProcess(`await limits.take("public", "user:7");`, { redisUrl });
  listener.close();
  await accepting;
  for (const connection of connections) connection.close();
});

Deno.test("a process without its Redis ends when it is told to", async () => {
  await inProcess(`await limits.take("public", "user:7");`, { redisUrl: "redis://127.0.0.1:1" });
  await inProcess("", { redisUrl: "redis://127.0.0.1:1" });
});
