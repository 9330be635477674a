/** The README, by the hand of a newcomer: its commands one after the other, against the server that it has them start. */
import assert from "node:assert/strict";
import { newDataFolder, startServerProcess } from "../support/process.ts";
import { fileBlocks, root } from "../docs/samples.ts";

const blocks = await fileBlocks("README.md");

/** What is not run here, and why. */
const elsewhere: Record<string, string> = {
  "Start": "starts the server, as this test does, and the tests, of which this is one",
  "Events": "tests/docs/readme_subscriber_test.ts",
  "Stripe": "needs an account of Stripe; tests/payments/stripe_test.ts has a stand-in",
  "Production": "tests/long/serve_test.ts and tests/long/image_test.ts; docker itself is not at hand",
  "The edge": "docker is not at hand; tests/long/edge_test runs what it starts",
};

/** What the commands print, by their section, in its order. */
const expected: Record<string, RegExp[]> = {
  "A first booking": [
    /^\S+slotkeeper-client-\S+\.tgz: \d+ bytes.*\n(.*\n)*Booking created.*\{\n {2}id: 1,/,
    /"total":2,"page":1,"limit":25\}\{"booking":.*"status":"cancelled".*Booking cancelled successfully/,
  ],
  "Administration": [/Studio(.*\n)*.*Door displays/],
  "Payments": [/"isMoved":true\}\{"now":.*"isMoved":false\}/],
};

/** Runs commands in the folder of the README, and comes to all that they print on standard output. */
async function shell(commands: string, env: Record<string, string>): Promise<string> {
  const script = `set -euo pipefail\ncurl() { command curl --silent --show-error --fail-with-body "$@"; }\n${commands}`;
  const { success, stdout, stderr } = await new Deno.Command("bash", {
    args: ["-c", script],
    cwd: root,
    env: { ...env, NO_COLOR: "1", DENO_NO_UPDATE_CHECK: "1" },
  }).output();
  const [out, err] = [stdout, stderr].map((bytes) => new TextDecoder().decode(bytes));
  assert(success, `${commands}\n${out}${err}`);
  return out ?? "";
}

Deno.test("the commands of the README do what it says, one after the other", async (t) => {
  const sections = Object.groupBy(
    blocks.filter(({ language }) => language === "sh"),
    ({ name }) => name.replace(/^.*?, | \(\d+\)$/g, ""),
  );
  assert.deepEqual(Object.keys(sections).sort(), [...Object.keys(elsewhere), ...Object.keys(expected)].sort());

  await using folder = await newDataFolder();
  const project = await Deno.makeTempDir({ prefix: "slotkeeper_first_booking_" });
  await using server = await startServerProcess("start", { DATA_DIR: folder.path });
  const here = (text: string) =>
    text.replaceAll("http://127.0.0.1:8000", server.url).replaceAll("../first-booking", project)
      // The same program; npx would look for it each time.
      .replaceAll("npx --yes deno@2.9.6", Deno.execPath());
  const { code: program = "" } = blocks.find(({ language }) => language === "js") ?? {};
  await Deno.writeTextFile(`${project}/book.mjs`, here(program));
  try {
    for (const [section, patterns] of Object.entries(expected)) {
      const commands = sections[section] ?? [];
      assert.equal(commands.length, patterns.length, section);
      for (const [index, { code, name }] of commands.entries()) {
        await t.step(name, async () => {
          const output = await shell(here(code), { DATA_DIR: folder.path });
          assert.match(output, patterns[index] ?? assert.fail(name));
        });
      }
    }
  } finally {
    await Deno.remove(project, { recursive: true });
  }
});
