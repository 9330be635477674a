/**
 * Every sample of the reference, the guides and the READMEs does what its text says. `tests/long/samples_types_test.ts`
 * checks their types.
 */
import assert from "node:assert/strict";
import { type Kysely, sql } from "kysely";
import { codeSamples } from "../../generated/code_samples.ts";
import { ClientFrame, operations, ServerFrame } from "../../generated/contract.ts";
import { catalogue } from "../../src/contract/problems.ts";
import type { Database } from "../../src/database/connect.ts";
import { newExampleRows, prepareFor } from "../contract/example_calls.ts";
import { newBooking, newRoom, newTimeslots } from "../support/builders.ts";
import { type OperationId, sharedServer, type TestServer } from "../support/server.ts";
import { parse } from "yaml";
import {
  documents,
  fileBlocks,
  fillIn,
  isTypeScript,
  referenceBlocks,
  root,
  run,
  type Surroundings,
} from "./samples.ts";

const ofReference = await referenceBlocks();
const ofOperations = Object.entries(codeSamples).map(([name, code]) => ({ name, language: "ts", code }));
const ofFiles = (await Promise.all(documents.map(fileBlocks))).flat();

Deno.test("samples: all fenced blocks of all documents -> found, in a language that a test runs", async () => {
  for (const file of ["openapi.yaml", ...documents]) {
    const text = await Deno.readTextFile(new URL(file, root));
    const samples = file === "openapi.yaml" ? ofReference : ofFiles.filter(({ name }) => name.startsWith(file));
    assert.equal(text.match(/^\s*```/gm)?.length ?? 0, 2 * samples.length, file);
  }
  // Blocks without a language are frames of a WebSocket.
  const languages = new Set([...ofReference, ...ofFiles].map(({ language }) => language));
  assert.deepEqual([...languages].sort(), ["", "js", "sh", "ts"]);
});

/** The samples have a database alone, because their ids are those of the contract. */
const startSamples = () => sharedServer({ env: { PAYMENT_PROVIDER: "sandbox" }, group: "samples" });

/** Empties the tables. The next rows get the ids of the examples in the contract. */
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

/** Creates the rows of the examples, under their ids. */
async function newSampleRows(server: TestServer, name: string): Promise<void> {
  await startOver(server.db);
  const ids = await newExampleRows(server);
  await prepareFor(server, name, ids);
  const { roomId, bookingId, timeslotId, apiKeyId } = ids;
  assert.deepEqual({ roomId, bookingId, timeslotId, apiKeyId }, {
    roomId: 1,
    bookingId: 42,
    timeslotId: 17,
    apiKeyId: 3,
  });
}

Deno.test("samples: the one of each operation, except the webhook -> succeeds", async (t) => {
  const raw = Object.values(operations).filter(({ bodyKind }) => bodyKind === "raw").map(({ id }) => id);
  const ids: OperationId[] = Object.values(operations).map(({ id }) => id);
  assert.deepEqual([...Object.keys(codeSamples), ...raw].sort(), ids.sort());

  await using server = await startSamples();
  for (const { name, code } of ofOperations) {
    await t.step(name, async () => {
      await newSampleRows(server, name);
      const sample = run(fillIn(code, await surroundingsOf(server)));
      if (name === "openSocket") await bookDuringSample(server, () => sample.printed(/booking_update/));
      sample.timeOut();
      const output = await sample.ended;
      // Only a list may print nothing.
      if (!code.includes("client.items(")) assert.match(output, /\S/);
    });
  }
});

/** Books for Alice after the sample listens to the feed, and waits until the sample has printed it. */
async function bookDuringSample(server: TestServer, seen: () => Promise<void>): Promise<void> {
  const { promise: isFollowed, resolve } = Promise.withResolvers<void>();
  const listen = server.feed.listen.bind(server.feed);
  server.feed.listen = (filter, listener) => {
    resolve();
    return listen(filter, listener);
  };
  const isSeen = seen();
  // If the sample ends first, `seen` fails with its output.
  await Promise.race([isFollowed, isSeen]);
  const [slot] = await newTimeslots(server, await newRoom(server), { date: "2026-12-15" });
  assert(slot);
  await newBooking(server, "alice", slot);
  await isSeen;
}

/** The output of each sample, by its file and heading. */
const printed: Record<string, RegExp> = {
  "reference, A first booking": /Complete payment to confirm\. http:\/\/127\.0\.0\.1:\d+\/sandbox\/checkout\//,
  "reference, Errors": /^booking_not_found Booking not found: there is no booking 99\.\n$/,
  "reference, Idempotency": /^first (\d+)\nsecond \1\n$/,
  "reference, Conditional requests": /^2026-03-20T09:00:00\.000Z\n0\n$/,
  "reference, Lists": /^42 Test room 2026-03-20T09:00:00\.000Z\n$/,
  "reference, Payments": /^Pay at http:\S+\/sandbox\/checkout\/\S+\n0 EUR \S+\n$/,
  "reference, Events, With the SDK": /^connecting \nlive \n(.*\n)*created \d+ \S+\n/,
  "src/client/README.md, @slotkeeper/client": /booking_update \S+\n/,
  "src/docs/guides/events.md, With the SDK": /booking_update \S+\n/,
  "src/docs/guides/sdk.md, Call an operation": /^alice-\d+\npending\n$/,
  "src/docs/guides/sdk.md, Lists": /^42 2026-03-20T09:00:00\.000Z\n$/,
};

Deno.test("samples: each one of the reference and the guides -> prints what its text says", async (t) => {
  // tests/long/subscriber_sample_test.ts runs the subscriber without the SDK.
  const samples = [...ofReference, ...ofFiles].filter((each) =>
    isTypeScript(each) && each.code.includes("@slotkeeper/client")
  );
  assert.deepEqual(samples.map(({ name }) => name).sort(), Object.keys(printed).sort());
  await using server = await startSamples();
  const start = server.clock.now().toISOString();
  for (const sample of samples) {
    await t.step(sample.name, async () => {
      const readsClock = sample.code.includes("Date.now()");
      server.clock.set(readsClock ? Temporal.Now.instant().toString() : start);
      if (readsClock) {
        await startOver(server.db);
        await newTimeslots(server, await newRoom(server), {
          date: Temporal.Now.plainDateISO("UTC").add({ days: 2 }).toString(),
        });
      } else await newSampleRows(server, sample.name);
      const running = run(fillIn(sample.code, await surroundingsOf(server)));
      const pattern = printed[sample.name] ?? assert.fail(sample.name);
      if (sample.code.includes("client.subscribe(")) await bookDuringSample(server, () => running.printed(pattern));
      running.timeOut();
      assert.match(await running.ended, pattern);
    });
  }
});

Deno.test("samples: the frames in the reference -> frames of the contract", () => {
  const frames = ofReference.filter(({ language }) => language === "").flatMap(({ code }) => code.split(/^(?=[<>] )/m));
  const known: Record<string, unknown[]> = {
    "<": ServerFrame.options.map((frame) => frame.shape.event.value),
    ">": ClientFrame.options.map((frame) => frame.shape.action.value),
  };
  assert(frames.length >= 10);
  for (const frame of frames) {
    const sign = frame.charAt(0);
    // An ellipsis marks omitted fields.
    const { event, action, ...rest } = JSON.parse(frame.slice(2).replaceAll(/, …\}/g, "}"));
    assert(known[sign]?.includes(sign === "<" ? event : action), frame);
    if (sign === ">") ClientFrame.parse({ action, ...rest });
  }
});

Deno.test("reference: the list of error codes -> every code, with its status", async () => {
  const { info } = parse(await Deno.readTextFile(new URL("openapi.yaml", root)));
  const entries = info.description.matchAll(/^- `(\w+)` \((\d+)\): ./gm);
  const rows = [...entries].map(([, code, status]: string[]) => [code, Number(status)]);
  const expected = Object.entries(catalogue).map(([code, { status }]) => [code, status]);
  assert.deepEqual(rows.sort(), expected.sort());
});
