/** Files with secrets in the folder of the sandbox. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { readOrMakeSecret } from "../../src/boot/secret_file.ts";

Deno.test("secret file: created 20 times at once -> one complete secret for all", async () => {
  const directory = await Deno.makeTempDir();
  try {
    const made = await Promise.all(Array.from({ length: 20 }, () => readOrMakeSecret(join(directory, "secret"))));
    assert.match(made[0] ?? "", /^[0-9a-f]{64}$/);
    assert.deepEqual([...new Set(made)], [made[0]]);
    assert.deepEqual([...Deno.readDirSync(directory)].map(({ name }) => name), ["secret"]);
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
});
