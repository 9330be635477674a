/** listAllBookings and listBookings by the start of the timeslot: filters, both orders, and pages. */
import assert from "node:assert/strict";
import type { Booking, Timeslot } from "../../generated/contract.ts";
import { admin } from "../support/admin.ts";
import { confirm, newBooking, newRoom, newTimeslots } from "../support/builders.ts";
import { startServer, type TestServer } from "../support/server.ts";

/** Bookings of three days in Berlin and Auckland, made in another order than they start. */
async function newBookings(server: TestServer): Promise<Timeslot[]> {
  const slots: Timeslot[] = [];
  for (const timeZone of ["Europe/Berlin", "Pacific/Auckland"]) {
    const room = await newRoom(server, { timeZone, name: timeZone });
    const workingHours = { start: "00:00", end: "24:00" };
    for (const date of ["2026-03-11", "2026-03-09", "2026-03-10"]) {
      const day = await newTimeslots(server, room, { date, slotDuration: 720, workingHours });
      for (const slot of day) {
        await newBooking(server, "alice", slot);
        slots.push(slot);
      }
    }
  }
  assert.equal(slots.length, 12);
  return slots;
}

const env = { MAX_PENDING_BOOKINGS: "0", DEFAULT_TIME_ZONE: "America/Los_Angeles" };

async function starts(server: TestServer, query: Record<string, unknown>): Promise<string[]> {
  const token = await server.token("admin", "admin");
  const { items } = await server.ok("listAllBookings", { token, query: { limit: 100, ...query } });
  return items.map(({ timeslot }) => timeslot.startTime);
}

Deno.test("listAllBookings: startFrom and startTo -> days on the wall clock of each room, both included", async () => {
  await using server = await startServer({ env });
  await newBookings(server);
  const day = { startFrom: "2026-03-10", startTo: "2026-03-10" };
  const expected = [
    "2026-03-09T11:00:00.000Z", // 00:00 in Auckland
    "2026-03-09T23:00:00.000Z", // 12:00 in Auckland, and 00:00 in Berlin
    "2026-03-09T23:00:00.000Z",
    "2026-03-10T11:00:00.000Z", // 12:00 in Berlin
  ];
  assert.deepEqual((await starts(server, day)).sort(), expected);
  assert.deepEqual(await starts(server, { ...day, sort: "start" }), expected);
  assert.deepEqual(await starts(server, { ...day, sort: "start", order: "desc" }), expected.toReversed());
  const instants = { startFrom: "2026-03-09T23:00:00Z", startTo: "2026-03-10T11:00:00Z", sort: "start" };
  assert.deepEqual(await starts(server, instants), expected.slice(1).concat("2026-03-10T11:00:00.000Z").sort());
  assert.deepEqual(await starts(server, { startFrom: "2026-03-12" }), []);
  assert.deepEqual(await starts(server, { startTo: "2026-03-08" }), []);
});

Deno.test("listAllBookings: sort and order -> pages without gaps, equal times by id", async () => {
  await using server = await startServer({ env });
  const slots = await newBookings(server);
  const sorted = slots.map(({ startTime }) => startTime).sort();
  const token = await server.token("admin", "admin");
  for (const order of ["asc", "desc"]) {
    const items: Booking[] = [];
    for (const page of [1, 2, 3]) {
      const query = { sort: "start", order, limit: 5, page };
      const answer = await server.ok("listAllBookings", { token, query });
      assert.equal(answer.total, 12);
      items.push(...answer.items);
    }
    assert.deepEqual(items.map(({ timeslot }) => timeslot.startTime), order === "asc" ? sorted : sorted.toReversed());
    assert.equal(new Set(items.map(({ id }) => id)).size, 12);
    const pairs = items.slice(1).map((item, index) => [items[index], item] as const);
    for (const [before, after] of pairs) {
      if (before?.timeslot.startTime !== after.timeslot.startTime) continue;
      assert(order === "asc" ? before.id < after.id : before.id > after.id);
    }
  }
  const ids = async (query: Record<string, unknown>) =>
    (await server.ok("listAllBookings", { token, query: { limit: 100, ...query } })).items.map(({ id }) => id);
  const newest = await ids({});
  assert.deepEqual(newest, newest.toSorted((a, b) => b - a));
  assert.deepEqual(await ids({ sort: "created" }), newest);
  assert.deepEqual(await ids({ order: "asc" }), newest.toReversed());
  assert.deepEqual(await ids({ sort: "start" }), await ids({ sort: "start", order: "asc" }));
});

Deno.test("listAllBookings: start with other filters -> all of them apply", async () => {
  await using server = await startServer({ env });
  const slots = await newBookings(server);
  const first = slots.find(({ startTime }) => startTime === "2026-03-10T11:00:00.000Z");
  assert(first);
  const mine = await newBooking(
    server,
    "bob",
    (await newTimeslots(server, await newRoom(server), { date: "2026-03-10" }))[0] ?? first,
  );
  await confirm(server, mine);
  const day = { startFrom: "2026-03-10", startTo: "2026-03-10", sort: "start" };
  assert.deepEqual(await starts(server, { ...day, status: "confirmed" }), [mine.timeslot.startTime]);
  assert.deepEqual(await starts(server, { ...day, userId: mine.userId }), [mine.timeslot.startTime]);
  assert.equal((await starts(server, { ...day, roomId: first.roomId })).length, 2);
  assert.deepEqual(await starts(server, { ...day, fromDate: "2026-03-03" }), []);
  const bobs = { token: await server.token("bob"), query: { from_date: "2026-03-10", sort: "start" } };
  assert.deepEqual((await server.ok("listBookings", bobs)).items.map(({ id }) => id), [mine.id]);
});

Deno.test("listAllBookings: startTo before startFrom, unknown sort or order -> 400", async () => {
  await using server = await startServer();
  const token = await server.token("admin", "admin");
  const reversed = { startFrom: "2026-03-10", startTo: "2026-03-09" };
  await server.refused("invalid_date_range", "listAllBookings", { token, query: reversed });
  for (
    const query of [{ sort: "price" }, { order: "up" }, { sort: "start", order: "ASC" }, { startFrom: "tomorrow" }]
  ) {
    await server.refused("validation_failed", "listAllBookings", { token, query });
  }
});

Deno.test("admin bookings list: --start-from, --start-to and --sort start -> who comes on that day, earliest first", async () => {
  await using server = await startServer({ env });
  await newBookings(server);
  const { stdout } = await admin(server, "bookings list --start-from 2026-03-10 --start-to 2026-03-10 --sort start");
  const lines = [...stdout.matchAll(/(2026-03-\d\d \d\d:\d\d) +(Pacific|Europe)/g)].map(([, time, zone]) =>
    `${time} ${zone}`
  );
  assert.deepEqual(lines, [
    ...["2026-03-10 00:00 Pacific", "2026-03-10 00:00 Europe", "2026-03-10 12:00 Pacific", "2026-03-10 12:00 Europe"],
  ]);
});
