/** Requests with one key at once to two servers: one is executed. The others replay it or are answered 409. */
import assert from "node:assert/strict";
import { exampleOperations } from "../contract/document.ts";
import { newExampleRows } from "../contract/example_calls.ts";
import { runs } from "../support/properties.ts";
import type { Call, OperationId } from "../support/server.ts";
import {
  assertInProgress,
  assertReplayed,
  exampleOf,
  keyedOperations,
  newKey,
  sendWithKey,
  type Sent,
} from "./keyed_requests.ts";
import { env, newPair, type Pair } from "./pair.ts";

/** Sends a request `count` times at once, half of them to each server. */
function sendAtOnce(
  { servers }: Pair,
  id: OperationId,
  { call, key, count }: { call: Call; key: string; count: number },
): Promise<Sent[]> {
  return Promise.all(
    Array.from({ length: count }, (_, index) => sendWithKey(servers[index % 2] ?? servers[0], id, call, key)),
  );
}

/** Returns the answer of the executed request. Fails unless all others replay it or are `idempotency_in_progress`. */
function assertDoneOnce(answers: Sent[]): Sent {
  const [done, ...doneAgain] = answers.filter(({ status, isReplay }) => status < 400 && !isReplay);
  assert(done, answers.map(({ text }) => text).join("\n"));
  assert.deepEqual(doneAgain.map(({ text }) => text), []);
  for (const answer of answers) {
    if (answer.isReplay) assertReplayed(done, answer);
    else if (answer !== done) assertInProgress(answer);
  }
  return done;
}

for (const [name, settings] of [["a payment provider", env], ["no payment provider", {}]] as const) {
  Deno.test(`createBooking: ${name}, 50 requests with one key at once to two servers -> one booking`, async () => {
    await using pair = await newPair(settings);
    const { servers: [server], room, slots } = pair;
    const token = await server.token("alice");
    const ids: number[] = [];
    for (const { id: timeslotId, roomId } of slots.slice(0, runs(2, 8))) {
      const call = { token, body: { roomId, timeslotId } };
      const key = newKey();
      const done = assertDoneOnce(await sendAtOnce(pair, "createBooking", { call, key, count: 50 }));
      assertReplayed(done, await sendWithKey(server, "createBooking", call, key));
      ids.push(JSON.parse(done.text).booking.id);
    }
    const bookings = await server.db.selectFrom("bookings").select("id").where("room_id", "=", room.id).orderBy("id")
      .execute();
    assert.deepEqual(bookings.map(({ id }) => id), ids);
    const events = await server.db.selectFrom("booking_events").select("booking_id").where("type", "=", "created")
      .where("booking_id", "in", ids).execute();
    assert.equal(events.length, ids.length);
  });
}

Deno.test("keyed operations: 8 to 20 requests with one key at once -> executed once", async (t) => {
  await using pair = await newPair();
  const { servers: [server] } = pair;
  assert(exampleOperations.length > keyedOperations.length && keyedOperations.length > 0);
  for (const operation of keyedOperations) {
    const id = operation.operationId;
    // Each server has a clock of its own.
    if (id === "setSandboxClock") continue;
    await t.step(id, async () => {
      const call = await exampleOf(server, operation, await newExampleRows(server, operation));
      const key = newKey();
      const done = assertDoneOnce(await sendAtOnce(pair, id, { call, key, count: runs(8, 20) }));
      for (const each of pair.servers) assertReplayed(done, await sendWithKey(each, id, call, key));
    });
  }
});
