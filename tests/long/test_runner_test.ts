/** A shard of `deno task test` that runs as a process: scripts/test_selection.ts. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { shardSource } from "../../scripts/test_selection.ts";

Deno.test("test runner: one file of a shard cannot be loaded -> a failure with its name, the others run", async () => {
  const folder = await Deno.makeTempDir({ prefix: "slotkeeper_shard_" });
  try {
    const [broken, sound, shard] = ["broken_test.ts", "sound_test.ts", "shard_1_test.ts"].map((name) =>
      join(folder, name)
    );
    assert(broken && sound && shard);
    await Deno.writeTextFile(broken, 'import "./missing.ts";');
    await Deno.writeTextFile(sound, 'Deno.test("sound: any -> passes", () => {});');
    await Deno.writeTextFile(shard, shardSource([{ path: broken, text: "" }, { path: sound, text: "" }]));
    const args = ["test", "--allow-read", "--no-check", "--quiet", shard];
    const { code, stdout } = await new Deno.Command(Deno.execPath(), { args, env: { NO_COLOR: "1" } }).output();
    const output = new TextDecoder().decode(stdout);
    assert.equal(code, 1);
    assert(output.includes(`${broken}: cannot be loaded ... FAILED`), output);
    assert.match(output, /^sound: any -> passes \.\.\. ok/m);
    assert.match(output, /^FAILED \| 1 passed \| 1 failed/m);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});
