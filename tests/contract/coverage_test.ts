/** Each operation has a test file of its own name, in which each refusal of its own is provoked. */
import assert from "node:assert/strict";
import { operations } from "../../generated/contract.ts";
import { impliedProblems } from "../../scripts/generate/access.ts";

/** Refusals that every operation of its kind has; the suites beside this file provoke them for each operation. */
const common: string[] = impliedProblems({
  access: "admin",
  scope: "rooms:write",
  bodyKind: "json",
  rateLimit: "admin",
  takesIdempotencyKey: true,
  takesIfMatch: true,
});
const shared: Record<string, string> = { getHealth: "probes", getReadiness: "probes" };

for (const { id, problems } of Object.values(operations)) {
  const name = shared[id] ?? id.replaceAll(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
  Deno.test(`${id} has a test of its own, and of each refusal of its own`, async () => {
    const source = await Deno.readTextFile(new URL(`../api/${name}_test.ts`, import.meta.url));
    assert(source.includes(`"${id}"`), `tests/api/${name}_test.ts never calls ${id}`);
    assert.deepEqual(problems.filter((code) => !common.includes(code) && !source.includes(code)), []);
  });
}
