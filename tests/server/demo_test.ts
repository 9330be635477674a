/** The demo data of the sandbox. */
import assert from "node:assert/strict";
import { parseConfig } from "../../src/config.ts";
import { fillInDemo, findFreeTimeslot } from "../../src/sandbox/demo.ts";
import { newBooking } from "../support/builders.ts";
import { startServer, type TestServer } from "../support/server.ts";

const config = parseConfig({});
const hour = 3_600_000;

/** A sandbox that starts at `now`, with demo data. */
async function startDemo(now: string): Promise<TestServer> {
  const server = await startServer({ now });
  await fillInDemo({ ...server, config });
  return server;
}

Deno.test("demo: printed example an hour later -> its timeslot can still be booked", async () => {
  // The room in Berlin opens ten seconds later, at 09:00.
  await using server = await startDemo("2026-03-09T07:59:50.000Z");
  const now = server.clock.now();
  const example = await findFreeTimeslot(server.db, now);
  assert(example);
  server.clock.set(new Date(now.getTime() + hour).toISOString());
  await newBooking(server, "reader", { ...example, startTime: "", endTime: "" });
});

Deno.test("demo: example after each of 3 bookings -> another free timeslot", async () => {
  await using server = await startDemo("2026-03-09T07:00:00.000Z");
  const seen = new Set<number>();
  for (let time = 0; time < 3; time++) {
    const example = await findFreeTimeslot(server.db, server.clock.now());
    assert(example && !seen.has(example.id));
    seen.add(example.id);
    await newBooking(server, "reader", { ...example, startTime: "", endTime: "" });
  }
});

Deno.test("demo: example cancelled and withdrawn -> another free timeslot", async () => {
  await using server = await startDemo("2026-03-09T07:00:00.000Z");
  const example = await findFreeTimeslot(server.db, server.clock.now());
  assert(example);
  const { id: bookingId } = await newBooking(server, "reader", { ...example, startTime: "", endTime: "" });
  await server.ok("cancelBooking", { token: await server.token("reader"), params: { bookingId } });
  const token = await server.token("admin", "admin");
  await server.ok("deleteTimeslot", { token, params: { timeslotId: example.id } });
  const next = await findFreeTimeslot(server.db, server.clock.now());
  assert(next && next.id !== example.id);
  await newBooking(server, "reader", { ...next, startTime: "", endTime: "" });
});

Deno.test("demo: restart ten days later -> same rooms, free timeslots on 14 more days", async () => {
  await using server = await startDemo("2026-03-02T10:00:00.000Z");
  const { items: rooms } = await server.ok("listRooms");
  assert(rooms.length > 0);
  server.clock.set("2026-03-12T10:00:00.000Z");
  await fillInDemo({ ...server, config });

  assert.deepEqual((await server.ok("listRooms")).items, rooms);
  for (const { id: roomId, timeZone } of rooms) {
    const today = server.clock.now().toTemporalInstant().toZonedDateTimeISO(timeZone).toPlainDate();
    for (let day = 1; day <= 14; day++) {
      const date = today.add({ days: day }).toString();
      const { timeslots } = await server.ok("listFreeTimeslots", { params: { roomId }, query: { date } });
      assert(timeslots.length > 0, `room ${roomId} has nothing on ${date}`);
    }
  }
});
