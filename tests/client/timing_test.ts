/** Pauses of the SDK, and the timers of the runtime that it uses. */
import assert from "node:assert/strict";
import { backoffMs, withExtraMs } from "../../src/client/backoff.ts";
import { systemTiming } from "../../src/client/timing.ts";

Deno.test("backoffMs: 0 to 8 failures -> doubles from 250 ms to 10 s, half of it random", () => {
  const failures = [0, 1, 2, 3, 4, 5, 6, 7, 8];
  const pauses = (fraction: number) => failures.map((count) => backoffMs(count, { random: () => fraction }));
  assert.deepEqual(pauses(1), [250, 500, 1_000, 2_000, 4_000, 8_000, 10_000, 10_000, 10_000]);
  assert.deepEqual(pauses(0), [125, 250, 500, 1_000, 2_000, 4_000, 5_000, 5_000, 5_000]);
});

Deno.test("withExtraMs: random from 0 to 1 -> 0 to 250 ms more", () => {
  assert.deepEqual([0, 0.5, 1].map((fraction) => withExtraMs(1_000, { random: () => fraction })), [
    1_000,
    1_125,
    1_250,
  ]);
});

Deno.test({
  name: "systemTiming: sleep aborted before or meanwhile, timer cancelled -> reason of the signal, no timer left",
  sanitizeOps: true,
  async fn() {
    const reason = new RangeError("mine");
    await assert.rejects(systemTiming.sleep(1_000_000, AbortSignal.abort(reason)), reason);
    const controller = new AbortController();
    const sleeping = systemTiming.sleep(1_000_000, controller.signal);
    controller.abort(reason);
    await assert.rejects(sleeping, reason);
    systemTiming.startTimer(1_000_000, () => assert.fail())();
  },
});
