/** Processes that end while the log waits to be written. */
import assert from "node:assert/strict";

const log = new URL("../../src/log.ts", import.meta.url).href;

const ends = {
  "Deno.exit": "Deno.exit(3)",
  "an uncaught failure": "throw new Error('uncaught')",
  "an unhandled rejection": "Promise.reject(new Error('unhandled'))",
};

for (const [name, end] of Object.entries(ends)) {
  Deno.test(`log: process ends by ${name} -> its last entry is written`, async () => {
    const program = `
      import { bufferedOutput, createLog } from ${JSON.stringify(log)};
      createLog("info", bufferedOutput().add).info("the last entry");
      ${end};`;
    const process = new Deno.Command(Deno.execPath(), {
      args: ["run", "--no-check", "-"],
      stdin: "piped",
      stdout: "piped",
    });
    await using child = process.spawn();
    await ReadableStream.from([program]).pipeThrough(new TextEncoderStream()).pipeTo(child.stdin);
    const { success, stdout } = await child.output();
    assert.equal(success, false);
    assert.match(new TextDecoder().decode(stdout), /"message":"the last entry"/);
  });
}
