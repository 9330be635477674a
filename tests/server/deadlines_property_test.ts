/** Time limits of requests against a model. */
import assert from "node:assert/strict";
import fc from "fast-check";
import { Problem } from "../../src/contract/problems.ts";
import { Deadlines } from "../../src/http/deadlines.ts";
import { runs } from "../support/properties.ts";

const late = () => new Problem("service_unavailable", "Late.");

const step = fc.oneof(
  fc.record({ kind: fc.constant("wait"), limitMs: fc.integer({ min: 0, max: 20 }) }),
  fc.record({ kind: fc.constant("settle"), which: fc.nat(50), fails: fc.boolean() }),
  fc.record({ kind: fc.constant("expire"), afterMs: fc.integer({ min: 0, max: 10 }) }),
);

Deno.test("Deadlines: waits that end in any order -> each ends once, by its own end or its own limit", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 60, size: "max" }), async (steps) => {
      let nowMs = 0;
      const deadlines = new Deadlines(() => nowMs);
      const waits: { settle: PromiseWithResolvers<string>; atMs: number; expected?: string }[] = [];
      const outcomes: Promise<string>[] = [];
      for (const each of steps) {
        if (each.kind === "wait") {
          const settle = Promise.withResolvers<string>();
          waits.push({ settle, atMs: nowMs + each.limitMs });
          const outcome = deadlines.within(settle.promise, { limitMs: each.limitMs, late });
          outcomes.push(outcome.catch((failure: unknown) => failure instanceof Problem ? "late" : "failed"));
        } else if (each.kind === "settle") {
          const wait = waits[each.which % Math.max(1, waits.length)];
          if (each.fails) wait?.settle.reject(new Error("failed"));
          else wait?.settle.resolve("done");
          if (wait !== undefined) wait.expected ??= each.fails ? "failed" : "done";
          // The end arrives in a later microtask.
          await Promise.resolve();
        } else {
          nowMs += each.afterMs;
          deadlines.expire();
          for (const wait of waits) if (wait.atMs <= nowMs) wait.expected ??= "late";
        }
        assert.equal(deadlines.count, waits.filter(({ expected }) => expected === undefined).length);
      }
      nowMs = Infinity;
      deadlines.expire();
      assert.equal(deadlines.count, 0);
      assert.deepEqual(await Promise.all(outcomes), waits.map(({ expected }) => expected ?? "late"));
    }),
    { numRuns: runs(200, 5_000) },
  );
});
