/** Random texts as frames: the server answers, logs no fault and serves the others. */
import fc from "fast-check";
import assert from "node:assert/strict";
import { newBooking, newRoom, newTimeslots } from "../support/builders.ts";
import { runs } from "../support/properties.ts";
import { sharedServer } from "../support/server.ts";
import { frameLimit, open } from "./frames.ts";

const field = (values: fc.Arbitrary<unknown>) => fc.option(fc.oneof(values, fc.jsonValue()), { nil: undefined });
const cursor = fc.stringMatching(/^[0-9a-z]{8}\.[0-9a-z]{1,11}\.[0-9a-z]{1,11}$/);
const almostFrame = fc.record({
  action: fc.oneof(
    fc.constantFrom("join_booking_room", "leave_booking_room", "join_room", "leave_room"),
    fc.jsonValue(),
  ),
  userId: field(fc.oneof(fc.constantFrom("all", 1, 2), fc.integer())),
  roomId: field(fc.oneof(fc.constantFrom(1, 2), fc.integer())),
  after: field(fc.oneof(cursor, fc.constant("latest"))),
}).map((frame) => JSON.stringify(frame));
const anyText = fc.oneof(fc.string({ unit: "binary" }), fc.string(), fc.json(), almostFrame)
  .filter((text) => new TextEncoder().encode(text).length <= frameLimit);

function isJson(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}

Deno.test("frames: any texts -> malformed_json for each that is not JSON, and other sockets get their events", async () => {
  await using server = await sharedServer();
  const slots = await newTimeslots(server, await newRoom(server), { date: "2026-03-09", slotDuration: 5 });
  await using owner = await open(server, "alice");
  owner.send({ action: "join_booking_room" });
  await owner.expect("joined");
  await fc.assert(
    fc.asyncProperty(fc.array(anyText, { minLength: 1, maxLength: 40 }), fc.boolean(), async (texts, isAdmin) => {
      await using socket = await open(server, "mallory", isAdmin ? "admin" : undefined);
      for (const text of texts) socket.sendRaw(text);
      await socket.settled();
      const malformed = socket.frames.filter((frame) => frame.event === "error" && frame.code === "malformed_json");
      assert.equal(malformed.length, texts.filter((text) => !isJson(text.toWellFormed())).length);
      const slot = slots.pop();
      assert(slot);
      const booking = await newBooking(server, "alice", slot);
      assert.deepEqual((await owner.expect("booking_update")).data.booking, booking);
    }),
    { numRuns: runs(10, 60), interruptAfterTimeLimit: 60_000 },
  );
  const faults = server.logged.filter((entry) => /"level":"(warn|error)"/.test(entry));
  assert.deepEqual(faults, []);
});
