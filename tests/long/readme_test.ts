/** The commands of the README, the guides and the examples, one after the other against the server that they start. */
import assert from "node:assert/strict";
import { newDataFolder, startServerProcess } from "../support/process.ts";
import { documents, fileBlocks, root, type Sample } from "../docs/samples.ts";

const blocks = (await Promise.all(documents.map(fileBlocks))).flat();
const commands = blocks.filter(({ language }) => language === "sh");

/** Commands that this test does not run, and the reason. */
const elsewhere: Record<string, string> = {
  "README.md, Start": "starts the server, as this test does, and the tests, which include this one",
  "CONTRIBUTING.md, Setup": "the same",
  "CONTRIBUTING.md, The loop": "runs the tests, which include this one",
  "src/docs/guides/events.md, Without the SDK": "tests/long/subscriber_sample_test.ts",
  "src/docs/guides/payments.md, Stripe":
    "needs a Stripe account; tests/payments/stripe_checkouts_test.ts has a stand-in",
  "src/docs/guides/operating.md, Production": "tests/long/serve_test.ts and image_test.ts; there is no docker here",
  "src/docs/guides/operating.md, The edge": "there is no docker here; tests/long/edge_test.ts runs the edge",
  "src/docs/guides/sdk.md, Install": "part of a block of the README, as the test below says",
};

/** Output of the commands, by file and heading, in the order in which they run. */
const expected: Record<string, RegExp[]> = {
  "README.md, A first booking": [
    /^\S+slotkeeper-client-\S+\.tgz: \d+ bytes.*\n(.*\n)*Booking created.*\{\n {2}id: 1,/,
    /"total":2,"page":1,"limit":25,"nextCursor":null\}\{"booking":.*"status":"cancelled".*Booking cancelled successfully/,
  ],
  "examples/README.md, Examples": [
    /^Sky Lounge: .*\nQuiet Corner: .*\nHarbour View: .*\nBooking \d+ is pending\.\nPay at http/,
  ],
  "src/docs/guides/operating.md, The admin program": [/Studio(.*\n)*.*Door displays/],
  "src/docs/guides/payments.md, In the sandbox": [/"isMoved":true\}\{"now":.*"isMoved":false\}/],
};

/** Runs commands in the folder of the repository. Returns their standard output. */
async function shell(code: string, env: Record<string, string>): Promise<string> {
  const script = `set -euo pipefail\ncurl() { command curl --silent --show-error --fail-with-body "$@"; }\n${code}`;
  const { success, stdout, stderr } = await new Deno.Command("bash", {
    args: ["-c", script],
    cwd: root,
    env: { ...env, NO_COLOR: "1", DENO_NO_UPDATE_CHECK: "1" },
  }).output();
  const [out, err] = [stdout, stderr].map((bytes) => new TextDecoder().decode(bytes));
  assert(success, `${code}\n${out}${err}`);
  return out ?? "";
}

/** Whether a command runs until Ctrl-C. tests/docs/examples_test.ts runs the door display. */
const isEndless = ({ code }: Sample) => code.includes("door_display.ts");

Deno.test("documents: the commands of the README, the guides and the examples -> the output that they promise", async (t) => {
  const sections = Object.groupBy(commands, ({ name }) => name);
  assert.deepEqual(Object.keys(sections).sort(), [...Object.keys(elsewhere), ...Object.keys(expected)].sort());

  await using folder = await newDataFolder();
  const project = await Deno.makeTempDir({ prefix: "slotkeeper_first_booking_" });
  await using server = await startServerProcess("start", { DATA_DIR: folder.path });
  const adapt = (text: string) =>
    text.replaceAll("http://127.0.0.1:8000", server.url).replaceAll("../first-booking", project)
      // npx would look up the same program each time.
      .replaceAll("npx --yes deno@2.9.6", Deno.execPath());
  const { code: program = "" } = blocks.find(({ language }) => language === "js") ?? {};
  await Deno.writeTextFile(`${project}/book.mjs`, adapt(program));
  try {
    for (const [section, patterns] of Object.entries(expected)) {
      const runnable = (sections[section] ?? []).filter((block) => !isEndless(block));
      assert.equal(runnable.length, patterns.length, section);
      for (const [index, { code, name }] of runnable.entries()) {
        await t.step(`${name} (${index + 1})`, async () => {
          const output = await shell(adapt(code), { DATA_DIR: folder.path });
          assert.match(output, patterns[index] ?? assert.fail(name));
        });
      }
    }
  } finally {
    await Deno.remove(project, { recursive: true });
  }
});

Deno.test("documents: the commands that install the SDK in its guide -> part of the README's first booking", () => {
  const { code } = commands.find(({ name }) => name === "src/docs/guides/sdk.md, Install") ?? assert.fail();
  assert(commands.some((block) => block.name.startsWith("README.md, ") && block.code.includes(code)));
});
