/** In Havana the midnight of 2026-11-01 occurs twice, at 04:00Z and 05:00Z: clocks go back from 01:00 to 00:00. */
import assert from "node:assert/strict";
import { newRoom, newTimeslots } from "../support/builders.ts";
import { sharedServer } from "../support/server.ts";

const timeZone = "America/Havana";
const allDay = { slotDuration: 30, workingHours: { start: "00:00", end: "24:00" } };

Deno.test("listFreeTimeslots: a day with two midnights -> all its timeslots, and none of them on the day before", async () => {
  await using server = await sharedServer();
  const room = await newRoom(server, { timeZone });
  const before = await newTimeslots(server, room, { date: "2026-10-31", ...allDay });
  const day = await newTimeslots(server, room, { date: "2026-11-01", ...allDay });
  const after = await newTimeslots(server, room, { date: "2026-11-02", ...allDay });
  assert.deepEqual([before.length, day.length, after.length], [48, 50, 48]);
  assert.equal(day.at(0)?.startTime, "2026-11-01T04:00:00.000Z");
  assert.equal(day.at(-1)?.startTime, "2026-11-02T04:30:00.000Z");
});

Deno.test("listBookings: until a day with two midnights -> bookings of both, and none from the next day on", async () => {
  await using server = await sharedServer();
  const room = await newRoom(server, { timeZone });
  const day = await newTimeslots(server, room, { date: "2026-11-01", ...allDay });
  const token = await server.token("alice");
  const midnights = day.filter(({ startTime }) => /T0[45]:00/.test(startTime)).slice(0, 2);
  for (const { id } of midnights) {
    await server.ok("createBooking", { token, body: { roomId: room.id, timeslotId: id } });
  }
  const count = async (query: Record<string, string>) => (await server.ok("listBookings", { token, query })).total;
  assert.equal(await count({ from_date: "2026-11-01", to_date: "2026-11-01" }), 2);
  assert.equal(await count({ to_date: "2026-10-31" }), 0);
  assert.equal(await count({ from_date: "2026-11-02" }), 0);
});
