/** Two servers on one database. */
import assert from "node:assert/strict";
import { newBooking, newRoom, newTimeslots } from "../support/builders.ts";
import { sharedServer, startServer } from "../support/server.ts";
import { openSocket } from "../support/socket.ts";

Deno.test("feed: createBooking on another server -> its hint delivers the event, without a poll", async () => {
  await using first = await sharedServer();
  await using second = await startServer({ database: { url: first.databaseUrl }, feedPollMs: 3_600_000 });
  const slots = await newTimeslots(first, await newRoom(first), { date: "2026-03-09" });
  const token = await first.token("alice");
  await using there = await openSocket(second, { token });
  await using here = await openSocket(first, { token });
  for (const socket of [there, here]) {
    socket.send({ action: "join_booking_room" });
    await socket.expect("joined");
  }
  for (const slot of slots) {
    const booking = await newBooking(first, "alice", slot);
    const { data, cursor } = await there.expect("booking_update");
    assert.deepEqual(data, { type: "created", booking });
    assert.equal((await here.expect("booking_update")).cursor, cursor);
  }
});
