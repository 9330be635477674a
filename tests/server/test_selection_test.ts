/** The runner of `deno task test`: scripts/test_selection.ts. */
import assert from "node:assert/strict";
import { dealShards, readTestFiles, selectByName } from "../../scripts/test_selection.ts";

const file = (path: string, ...names: string[]) => ({
  path,
  text: names.map((name) => `Deno.test("${name}", () => {});`).join("\n"),
});

const files = [
  file("tests/api/create_booking_test.ts", "createBooking: free timeslot -> 201", "a test (of the file) -> run"),
  file(
    "tests/rules/races_property_test.ts",
    "createBooking: 50 rivals -> one 201",
    "cancelBooking: 50 rivals -> one 200",
  ),
  file("tests/api/get_me_test.ts", "getMe: token -> its subject"),
  { path: "tests/contract/coverage_test.ts", text: "Deno.test(`coverage: ${id} -> a test file`, () => {});" },
];

Deno.test("test runner: all test files dealt to shards -> each file in one shard", async () => {
  const all = await readTestFiles(["tests"]);
  const dealt = dealShards(all, 8).flat().map(({ path }) => path);
  assert.deepEqual(dealt.toSorted(), all.map(({ path }) => path));
  assert(dealt.includes("tests/server/test_selection_test.ts"));
  assert.equal(dealShards(all, 8).length, 8);
});

Deno.test("test runner: more shards than files -> no empty shard", () => {
  assert.deepEqual(dealShards(files.slice(0, 2), 8).map((shard) => shard.length), [1, 1]);
});

Deno.test("test runner: name of an operation -> tests with the name, and all tests of its file", () => {
  const selected = selectByName(files, "createBooking");
  assert(selected);
  assert.deepEqual(selected.files.map(({ path }) => path), [
    "tests/api/create_booking_test.ts",
    "tests/rules/races_property_test.ts",
    "tests/contract/coverage_test.ts",
  ]);
  const filter = new RegExp(selected.filter.slice(1, -1));
  assert(filter.test("createBooking: 50 rivals -> one 201"));
  assert(filter.test("a test (of the file) -> run"));
  assert(filter.test("coverage: createBooking -> a test file"));
  assert(!filter.test("cancelBooking: 50 rivals -> one 200"));
});

Deno.test("test runner: name that no test has -> undefined", () => {
  assert.equal(selectByName(files, "creatBooking"), undefined);
});

Deno.test("test runner: hooks in test files -> none, because they would run for all tests of a shard", async () => {
  const withHooks = (await readTestFiles(["tests"])).filter(({ text }) => /^Deno\.test\.(before|after)/m.test(text));
  assert.deepEqual(withHooks.map(({ path }) => path), []);
});
