/** The buffer of the log. tests/long/drain_test.ts stops a server while it logs. */
import assert from "node:assert/strict";
import { LineBuffer } from "../../src/log.ts";

Deno.test("log: lines of one turn -> one write, in order", async () => {
  const written = Promise.withResolvers<string>();
  const buffer = new LineBuffer(written.resolve);
  for (const line of ["a", "b", "c"]) buffer.add(line);
  assert.equal(await written.promise, "a\nb\nc");
});

Deno.test("log: more lines than the buffer holds -> written at once, none lost", () => {
  const writes: string[] = [];
  const buffer = new LineBuffer((lines) => writes.push(lines));
  const line = "x".repeat(999);
  for (let count = 0; count < 200; count++) {
    buffer.add(line);
    const waiting = (count + 1) * 1_000 - writes.join("\n").length;
    assert(waiting <= 66_000, `${waiting} characters wait`);
  }
  assert(writes.length >= 3);
  buffer.flush();
  assert.deepEqual(writes.join("\n").split("\n"), Array(200).fill(line));
});

Deno.test("log: flush without lines -> no write", () => {
  const buffer = new LineBuffer(() => assert.fail("nothing to write"));
  buffer.flush();
});
