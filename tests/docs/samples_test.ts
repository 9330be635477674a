/** Every sample of the docs compiles and does what it is there for. */
import assert from "node:assert/strict";
import { type Kysely, sql } from "kysely";
import { codeSamples } from "../../generated/code_samples.ts";
import { ClientFrame, operations, ServerFrame } from "../../generated/contract.ts";
import { catalogue } from "../../src/contract/problems.ts";
import type { Database } from "../../src/database/connect.ts";
import { newExampleRows } from "../contract/example_calls.ts";
import { newBooking, newRoom, newTimeslots } from "../support/builders.ts";
import { type OperationId, startServer, type TestServer } from "../support/server.ts";
import { parse } from "yaml";
import { fileBlocks, filledIn, guideBlocks, root, run, type Sample, type Surroundings } from "./samples.ts";

const isTypeScript = ({ language }: Sample) => language === "ts";
const guides = await guideBlocks();
const ofOperations = Object.entries(codeSamples).map(([name, code]) => ({ name, language: "ts", code }));
const ofFiles = [...await fileBlocks("README.md"), ...await fileBlocks("src/client/README.md")];

Deno.test("no sample escapes: what is fenced anywhere in the contract and the READMEs is found, and in a language that is run", async () => {
  const files = { "openapi.yaml": guides, "README.md": [], "src/client/README.md": [] };
  for (const [file, blocks] of Object.entries(files)) {
    const text = await Deno.readTextFile(new URL(file, root));
    const found = file.endsWith(".md") ? ofFiles.filter(({ name }) => name.startsWith(file)) : blocks;
    assert.equal(text.match(/^\s*```/gm)?.length, 2 * found.length, file);
  }
  // Frames of WebSockets, and drawings, are no programs.
  const languages = new Set([...guides, ...ofFiles].map(({ language }) => language));
  assert.deepEqual([...languages].sort(), ["", "js", "mermaid", "sh", "ts"]);
});

Deno.test("every sample in TypeScript compiles, as strictly as we do", async () => {
  const folder = await Deno.makeTempDir({ prefix: "slotkeeper_samples_" });
  try {
    const samples = [...ofOperations, ...guides, ...ofFiles].filter(isTypeScript);
    assert(samples.length > ofOperations.length + 5);
    for (const [index, { code, name }] of samples.entries()) {
      // Each is a module of its own, also one that imports nothing.
      await Deno.writeTextFile(`${folder}/${index}.ts`, `// ${name}\n${code}\nexport {};\n`);
    }
    const config = new URL("deno.json", root).pathname;
    const files = samples.map((_, index) => `${folder}/${index}.ts`);
    const { success, stderr } = await new Deno.Command(Deno.execPath(), {
      args: ["check", "--quiet", "--config", config, ...files],
      env: { NO_COLOR: "1" },
    }).output();
    assert(success, new TextDecoder().decode(stderr));
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

/** Empties the tables, and lets the rows that come next have the ids of the contract's examples. */
async function startOver(db: Kysely<Database>): Promise<void> {
  await sql`truncate rooms restart identity cascade`.execute(db);
  await sql`delete from api_keys`.execute(db);
  for (const [table, id] of Object.entries({ timeslots: 16, bookings: 42, api_keys: 3 })) {
    await sql`alter table ${sql.table(table)} alter column id restart with ${sql.lit(id)}`.execute(db);
  }
}

async function surroundingsOf(server: TestServer): Promise<Surroundings> {
  return { url: server.url, userToken: await server.token("alice"), adminToken: await server.token("admin", "admin") };
}

/** The rows that the examples are about, under their ids. */
async function newSampleRows(server: TestServer): Promise<void> {
  await startOver(server.db);
  const { roomId, bookingId, timeslotId, apiKeyId } = await newExampleRows(server);
  assert.deepEqual({ roomId, bookingId, timeslotId, apiKeyId }, {
    roomId: 1,
    bookingId: 42,
    timeslotId: 17,
    apiKeyId: 3,
  });
}

Deno.test("each operation but that of the payment provider has a sample, which succeeds", async (t) => {
  const raw = Object.values(operations).filter(({ bodyKind }) => bodyKind === "raw").map(({ id }) => id);
  const ids: OperationId[] = Object.values(operations).map(({ id }) => id);
  assert.deepEqual([...Object.keys(codeSamples), ...raw].sort(), ids.sort());

  await using server = await startServer({ env: { PAYMENT_PROVIDER: "sandbox" } });
  for (const { name, code } of ofOperations) {
    await t.step(name, async () => {
      await newSampleRows(server);
      const sample = run(filledIn(code, await surroundingsOf(server)));
      if (name === "openSocket") await letSomethingHappen(server, () => sample.printed(/booking_update/));
      sample.timeOut();
      const output = await sample.ended;
      // A list may be empty; everything else has something to show.
      if (!code.includes("client.items(")) assert.match(output, /\S/);
    });
  }
});

/** Has Alice book as soon as the sample follows the feed, and waits until it was seen. Begins before the sample can. */
async function letSomethingHappen(server: TestServer, seen: () => Promise<void>): Promise<void> {
  const { promise: isFollowed, resolve } = Promise.withResolvers<void>();
  const listen = server.feed.listen.bind(server.feed);
  server.feed.listen = (filter, listener) => {
    resolve();
    return listen(filter, listener);
  };
  const isSeen = seen();
  // A sample that ends before is told by what it lacks.
  await Promise.race([isFollowed, isSeen]);
  const [slot] = await newTimeslots(server, await newRoom(server), { date: "2026-12-15" });
  assert(slot);
  await newBooking(server, "alice", slot);
  await isSeen;
}

/** What each sample of a guide prints, by the heading above it. */
const printed: Record<string, RegExp> = {
  "A first booking": /Complete payment to confirm\. http:\/\/127\.0\.0\.1:\d+\/sandbox\/checkout\//,
  "Errors": /^booking_not_found Booking not found: there is no booking 99\.\n$/,
  "Idempotency": /^first (\d+)\nsecond \1\n$/,
  "Conditional requests": /^2026-03-20T09:00:00\.000Z\n0\n$/,
  "Lists": /^42 Test room 2026-03-20T09:00:00\.000Z\n$/,
  "Payments": /^Pay at http:\S+\/sandbox\/checkout\/\S+\n0 EUR \S+\n$/,
  "With the SDK": /^connecting \nlive \n(.*\n)*created \d+ \S+\n/,
  "Events": /booking_update \S+\n/,
  "@slotkeeper/client": /booking_update \S+\n/,
};

const headingOf = ({ name }: Sample) => name.replace(/^.*?, /, "").replace(/ \(\d+\)$/, "");

Deno.test("each sample of a guide prints what it is there for", async (t) => {
  // The other one in the README, which does without the SDK, has a test of its own.
  const samples = [...guides, ...ofFiles].filter((each) =>
    isTypeScript(each) && each.code.includes("@slotkeeper/client")
  );
  assert.deepEqual(samples.map(headingOf).sort(), Object.keys(printed).sort());
  for (const sample of samples) {
    await t.step(sample.name, async () => {
      const heading = headingOf(sample);
      const isOfToday = sample.code.includes("Date.now()");
      const now = isOfToday ? { now: Temporal.Now.instant().toString() } : {};
      await using server = await startServer({ ...now, env: { PAYMENT_PROVIDER: "sandbox" } });
      if (isOfToday) {
        await newTimeslots(server, await newRoom(server), {
          date: Temporal.Now.plainDateISO("UTC").add({ days: 2 }).toString(),
        });
      } else await newSampleRows(server);
      const running = run(filledIn(sample.code, await surroundingsOf(server)));
      const pattern = printed[heading] ?? assert.fail(heading);
      if (sample.code.includes("client.subscribe(")) await letSomethingHappen(server, () => running.printed(pattern));
      running.timeOut();
      assert.match(await running.ended, pattern);
    });
  }
});

Deno.test("the frames in the guide on events are frames of the contract", () => {
  const frames = guides.filter(({ language }) => language === "").flatMap(({ code }) => code.split(/^(?=[<>] )/m));
  const known: Record<string, unknown[]> = {
    "<": ServerFrame.options.map((frame) => frame.shape.event.value),
    ">": ClientFrame.options.map((frame) => frame.shape.action.value),
  };
  assert(frames.length >= 10);
  for (const frame of frames) {
    const sign = frame.charAt(0);
    // What is left out is marked as such.
    const { event, action, ...rest } = JSON.parse(frame.slice(2).replaceAll(/, …\}/g, "}"));
    assert(known[sign]?.includes(sign === "<" ? event : action), frame);
    if (sign === ">") ClientFrame.parse({ action, ...rest });
  }
});

Deno.test("the guide explains every code, under its status", async () => {
  const { info } = parse(await Deno.readTextFile(new URL("openapi.yaml", root)));
  const entries = info.description.matchAll(/^- `(\w+)` \((\d+)\): ./gm);
  const rows = [...entries].map(([, code, status]: string[]) => [code, Number(status)]);
  const expected = Object.entries(catalogue).map(([code, { status }]) => [code, status]);
  assert.deepEqual(rows.sort(), expected.sort());
});
