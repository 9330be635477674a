/** Each operation has a test file with its name, which provokes each of its own problems. */
import assert from "node:assert/strict";
import { operations } from "../../generated/contract.ts";
import { impliedProblems } from "../../scripts/generate/access.ts";

/** Problems that every operation of its kind has. The suites beside this file provoke them for each operation. */
const common: string[] = impliedProblems({
  access: "admin",
  scope: "rooms:write",
  bodyKind: "json",
  rateLimit: "admin",
  concurrencyLimit: "none",
  takesIdempotencyKey: true,
  takesIfMatch: true,
});
const shared: Record<string, string> = { getHealth: "probes", getReadiness: "probes" };

for (const { id, problems } of Object.values(operations)) {
  const name = shared[id] ?? id.replaceAll(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
  Deno.test(`coverage: ${id} -> a test file that calls it and names each of its own problems`, async () => {
    const source = await Deno.readTextFile(new URL(`../api/${name}_test.ts`, import.meta.url));
    assert(source.includes(`"${id}"`), `tests/api/${name}_test.ts never calls ${id}`);
    assert.deepEqual(problems.filter((code) => !common.includes(code) && !source.includes(code)), []);
  });
}
