/** Rate limits of one server. tests/long/rate_limits_redis_test.ts has the shared ones. */
import assert from "node:assert/strict";
import { createLog } from "../../src/log.ts";
import { rateLimitHeaders, RateLimits } from "../../src/http/rate_limits.ts";

const limits = { public: { quota: 1_000, windowSeconds: 60 }, auth: { quota: 3, windowSeconds: 10 } };

/** Opens limits whose clock is `now`, in ms. */
function open(now: () => number): AsyncDisposable & { limits: RateLimits<keyof typeof limits> } {
  const opened = new RateLimits({ limits, redisUrl: undefined, log: createLog("debug", () => {}), now });
  return { limits: opened, [Symbol.asyncDispose]: () => opened.close() };
}

Deno.test("rate limits: quota used up -> over the limit until the next window", async () => {
  let now = 5_000;
  await using opened = open(() => now);
  const { limits } = opened;
  const take = () => limits.take("auth", "address:203.0.113.9");
  const limit = { name: "auth", quota: 3, windowSeconds: 10 };
  assert.equal(limits.isSpent("auth", "address:203.0.113.9"), false);
  assert.deepEqual(await take(), { ...limit, remaining: 2, resetSeconds: 10, isOver: false });
  now += 1;
  assert.deepEqual(await take(), { ...limit, remaining: 1, resetSeconds: 10, isOver: false });
  assert.equal(limits.isSpent("auth", "address:203.0.113.9"), false);
  now += 9_000;
  assert.deepEqual(await take(), { ...limit, remaining: 0, resetSeconds: 1, isOver: false });
  assert.equal(limits.isSpent("auth", "address:203.0.113.9"), true);
  now += 998;
  assert.deepEqual(await take(), { ...limit, remaining: 0, resetSeconds: 1, isOver: true });
  assert.equal(limits.isSpent("auth", "address:203.0.113.9"), true);

  assert.equal(limits.isSpent("auth", "address:203.0.113.10"), false);
  assert.equal((await limits.take("auth", "address:203.0.113.10")).remaining, 2);
  assert.equal(limits.isSpent("public", "address:203.0.113.9"), false);
  assert.equal((await limits.take("public", "address:203.0.113.9")).remaining, 999);

  now += 1;
  assert.equal(limits.isSpent("auth", "address:203.0.113.9"), false);
  assert.deepEqual(await take(), { ...limit, remaining: 2, resetSeconds: 10, isOver: false });
});

Deno.test("rate limits: headers -> RateLimit and RateLimit-Policy as in the draft standard", () => {
  const use = { name: "user", quota: 600, windowSeconds: 60, remaining: 599, resetSeconds: 42, isOver: false };
  assert.deepEqual(rateLimitHeaders(use), {
    RateLimit: '"user";r=599;t=42',
    "RateLimit-Policy": '"user";q=600;w=60',
  });
});

Deno.test("rate limits: 120,000 other callers -> a caller that keeps calling stays limited", async () => {
  // The clock stands still, so the window does not end during the loop.
  await using opened = open(() => 0);
  const { limits } = opened;
  for (let request = 0; request < 4; request++) await limits.take("auth", "attacker");
  for (let other = 0; other < 120_000; other++) {
    await limits.take("auth", `user:${other}`);
    if (other % 40_000 === 0) assert.equal((await limits.take("auth", "attacker")).isOver, true);
  }
  assert.equal(limits.isSpent("auth", "attacker"), true);
});
