/** Two servers on one database. */
import assert from "node:assert/strict";
import { newBooking, newRoom, newTimeslots } from "../support/builders.ts";
import { startServer } from "../support/server.ts";
import { openSocket } from "../support/socket.ts";

Deno.test("an event made on one server reaches the sockets of another", async () => {
  await using first = await startServer();
  await using second = await startServer({ database: { url: first.databaseUrl } });
  const slots = await newTimeslots(first, await newRoom(first), { date: "2026-03-09" });
  const token = await first.token("alice");
  await using there = await openSocket(second, { token });
  await using here = await openSocket(first, { token });
  for (const socket of [there, here]) {
    socket.send({ action: "join_booking_room" });
    await socket.expect("joined");
  }
  const ms: number[] = [];
  for (const slot of slots) {
    const booking = await newBooking(first, "alice", slot);
    const start = performance.now();
    const { data, cursor } = await there.expect("booking_update");
    ms.push(performance.now() - start);
    assert.deepEqual(data, { type: "created", booking });
    assert.equal((await here.expect("booking_update")).cursor, cursor);
  }
  // By hints; the poll alone takes about a second in the middle.
  assert((ms.sort((a, b) => a - b)[Math.floor(ms.length / 2)] ?? Infinity) < 500, `${ms}`);
});
