import assert from "node:assert/strict";
import type { Booking, BookingPage, Room } from "../../generated/contract.ts";
import { confirm, newBooking, newRoom, newTimeslots } from "../support/builders.ts";
import { sharedServer, type TestServer } from "../support/server.ts";

const wholeDay = { start: "00:00", end: "24:00" };

async function list(server: TestServer, subject: string, query: Record<string, unknown> = {}): Promise<BookingPage> {
  return await server.ok("listBookings", { token: await server.token(subject), query });
}

/** Starts of the timeslots of alice's bookings that match, earliest first. */
async function starts(server: TestServer, query: Record<string, unknown>): Promise<string[]> {
  const { items, total } = await list(server, "alice", query);
  assert.equal(items.length, total);
  return items.map(({ timeslot }) => timeslot.startTime).sort();
}

/** Creates bookings of alice in `room`, one for each of the first `count` hours of `date`. */
async function bookHours(server: TestServer, room: Room, date: string, count = 24): Promise<Booking[]> {
  const slots = await newTimeslots(server, room, { date, workingHours: wholeDay });
  const bookings: Booking[] = [];
  for (const slot of slots.slice(0, count)) bookings.push(await newBooking(server, "alice", slot));
  return bookings;
}

Deno.test("listBookings: user or admin -> the caller's own bookings only", async () => {
  await using server = await sharedServer();
  const slots = await newTimeslots(server, await newRoom(server), { date: "2026-03-09" });
  const [first, second] = slots;
  assert(first && second);
  const hers = await newBooking(server, "alice", first);
  const his = await newBooking(server, "bob", second);
  assert.deepEqual(await list(server, "alice"), { items: [hers], total: 1, page: 1, limit: 25, nextCursor: null });
  assert.deepEqual((await list(server, "bob")).items, [his]);
  assert.deepEqual(await list(server, "nobody"), { items: [], total: 0, page: 1, limit: 25, nextCursor: null });
  const admin = await server.token("admin", "admin");
  assert.deepEqual((await server.ok("listBookings", { token: admin })).items, []);
});

Deno.test("listBookings: order -> newest first, then the higher id", async () => {
  await using server = await sharedServer();
  const slots = await newTimeslots(server, await newRoom(server), { date: "2026-03-09" });
  // The order of creation differs from the orders of timeslots and ids.
  const times = ["10:00:00.001", "10:00:00.000", "10:00:00.002", "10:00:00.001"];
  const ids: number[] = [];
  for (const [index, time] of times.entries()) {
    server.clock.set(`2026-03-02T${time}Z`);
    const slot = slots[[2, 0, 3, 1][index] ?? 0];
    assert(slot);
    ids.push((await newBooking(server, "alice", slot)).id);
  }
  const [first, second, third, fourth] = ids;
  assert.deepEqual((await list(server, "alice")).items.map(({ id }) => id), [third, fourth, first, second]);
});

Deno.test("listBookings: status, alone and with dates -> bookings of that status", async () => {
  await using server = await sharedServer();
  const token = await server.token("admin", "admin");
  const slots = await newTimeslots(server, await newRoom(server), { date: "2026-03-09" });
  const wanted = ["pending", "confirmed", "cancelled", "completed", "no_show"];
  for (const [index, status] of wanted.entries()) {
    const slot = slots[index];
    assert(slot);
    const booking = await newBooking(server, "alice", slot);
    if (status === "pending") continue;
    await confirm(server, booking);
    server.clock.set("2026-03-09T18:00:00.000Z");
    const params = { bookingId: booking.id };
    if (status !== "confirmed") await server.ok("updateBookingStatus", { token, params, body: { status } });
    server.clock.set("2026-03-02T10:00:00.000Z");
  }
  for (const status of wanted) {
    for (const dates of [{}, { from_date: "2026-03-09", to_date: "2026-03-09" }]) {
      const { items, total } = await list(server, "alice", { status, ...dates });
      assert.deepEqual(items.map((booking) => booking.status), [status]);
      assert.equal(total, 1);
    }
  }
  assert.equal((await list(server, "alice", { status: "pending", from_date: "2026-03-10" })).total, 0);
});

Deno.test("listBookings: dates -> calendar days in the zone of each booking's room, both included", async () => {
  await using server = await sharedServer();
  const query = { from_date: "2026-03-09", to_date: "2026-03-10" };
  const expected: string[] = [];
  for (const timeZone of ["Pacific/Auckland", "Asia/Kathmandu", "UTC", "America/Los_Angeles"]) {
    const room = await newRoom(server, { timeZone });
    for (const date of ["2026-03-08", "2026-03-09", "2026-03-10", "2026-03-11"]) {
      const slots = await newTimeslots(server, room, { date, workingHours: wholeDay });
      const [first, last] = [slots.at(0), slots.at(-1)];
      assert(first && last);
      await newBooking(server, "alice", first);
      await newBooking(server, "alice", last);
      if (date === "2026-03-09" || date === "2026-03-10") expected.push(first.startTime, last.startTime);
    }
  }
  assert.equal(expected.length, 16);
  assert.deepEqual(await starts(server, query), expected.sort());
});

Deno.test("listBookings: day whose midnight is repeated or skipped -> begins at its first instant", async (t) => {
  // Clocks repeat midnight in Havana and skip it in Cairo.
  const cases = [
    { timeZone: "America/Havana", date: "2026-11-01", dayBefore: "2026-10-31", firstStart: "2026-11-01T04:00:00.000Z" },
    { timeZone: "Africa/Cairo", date: "2026-04-24", dayBefore: "2026-04-23", firstStart: "2026-04-23T22:00:00.000Z" },
  ];
  await using server = await sharedServer();
  for (const { timeZone, date, dayBefore, firstStart } of cases) {
    await t.step(timeZone, async () => {
      const room = await newRoom(server, { timeZone });
      const token = await server.token("admin", "admin");
      const rules = { startDate: date, endDate: date, workingHours: { start: "00:00", end: "02:00" } };
      await server.ok("generateTimeslots", { token, body: { roomId: room.id, ...rules } });
      const slot = await server.db.selectFrom("timeslots").select("id").where("room_id", "=", room.id)
        .where("starts_at", "=", firstStart).executeTakeFirstOrThrow();
      const body = { roomId: room.id, timeslotId: slot.id };
      await server.ok("createBooking", { token: await server.token("alice"), body });
      assert.deepEqual(await starts(server, { from_date: date, to_date: date }), [firstStart]);
      assert.deepEqual(await starts(server, { from_date: dayBefore, to_date: dayBefore }), []);
    });
  }
});

Deno.test("listBookings: date-times -> that instant, without an offset the room's local time", async (t) => {
  await using server = await sharedServer();
  const newYork = await newRoom(server, { timeZone: "America/New_York" });
  const berlin = await newRoom(server, { timeZone: "Europe/Berlin" });
  // 09:00 to 11:00 are 13:00 to 15:00 UTC in New York and 08:00 to 10:00 UTC in Berlin.
  for (const room of [newYork, berlin]) {
    const slots = await newTimeslots(server, room, {
      date: "2026-03-09",
      workingHours: { start: "09:00", end: "12:00" },
    });
    for (const slot of slots) await newBooking(server, "alice", slot);
  }
  const hours = (...numbers: number[]) =>
    numbers.map((hour) => `2026-03-09T${String(hour).padStart(2, "0")}:00:00.000Z`);
  const cases: [Record<string, string>, string[]][] = [
    [{ from_date: "1900-01-01", to_date: "9999-12-31" }, hours(8, 9, 10, 13, 14, 15)],
    [{ from_date: "2026-03-09T10:00:00Z" }, hours(10, 13, 14, 15)],
    [{ from_date: "2026-03-09T10:00:00.001Z" }, hours(13, 14, 15)],
    [{ to_date: "2026-03-09T13:00Z" }, hours(8, 9, 10, 13)],
    [{ to_date: "2026-03-09T12:59:59.999Z" }, hours(8, 9, 10)],
    [{ from_date: "2026-03-09T11:00:00+02:00", to_date: "2026-03-09T09:00:00-04:00" }, hours(9, 10, 13)],
    [{ from_date: "2026-03-09T10:00:00", to_date: "2026-03-09T10:00:00" }, hours(9, 14)],
    [{ from_date: "2026-03-09T10:00:01" }, hours(10, 15)],
    [{ to_date: "2026-03-09T09:59" }, hours(8, 13)],
    [{ from_date: "2026-03-09T10:00", to_date: "2026-03-09T13:30:00Z" }, hours(9, 10)],
    [{ from_date: "2026-03-09", to_date: "2026-03-09T10:00" }, hours(8, 9, 13, 14)],
    [{ from_date: "2026-03-10" }, []],
    [{ to_date: "2026-03-08" }, []],
  ];
  for (const [query, expected] of cases) {
    await t.step(JSON.stringify(query), async () => {
      assert.deepEqual(await starts(server, query), expected);
    });
  }
});

Deno.test("listBookings: range that ends before it starts -> 400 invalid_date_range", async (t) => {
  await using server = await sharedServer();
  const token = await server.token("alice");
  const ranges = [
    ["2026-03-10", "2026-03-09"],
    ["2026-03-10", "2026-03-08"],
    ["2026-03-10", "2026-03-09T23:59:59"],
    ["2026-03-09T10:00:00", "2026-03-09T09:59:59"],
    ["2026-03-09T10:00:00Z", "2026-03-09T09:59:59.999Z"],
    ["2026-03-09T10:00:00Z", "2026-03-09T11:30:00+02:00"],
  ];
  for (const [from_date, to_date] of ranges) {
    await t.step(`${from_date} to ${to_date}`, async () => {
      const query = { from_date, to_date };
      assert.equal((await server.refused("invalid_date_range", "listBookings", { token, query })).status, 400);
    });
  }
  for (const moment of ["2026-03-09", "2026-03-09T10:00:00", "2026-03-09T10:00:00Z"]) {
    assert.equal((await list(server, "alice", { from_date: moment, to_date: moment })).total, 0);
  }
});

Deno.test("listBookings: day or time that does not exist, or before 1900 -> 400 validation_failed", async () => {
  await using server = await sharedServer();
  const token = await server.token("alice");
  for (
    const text of [
      "1899-12-31",
      "2026-02-29",
      "2026-13-01",
      "2026-03-00",
      "2026-03-09T24:00:00",
      "2026-03-09T10:60:00Z",
    ]
  ) {
    for (const path of ["from_date", "to_date"]) {
      const problem = await server.refused("validation_failed", "listBookings", { token, query: { [path]: text } });
      assert.deepEqual(problem.errors?.map((field) => [field.in, field.path]), [["query", path]]);
    }
  }
});

Deno.test("listBookings: 105 bookings -> pages of at most 100, each booking on one page", async () => {
  await using server = await sharedServer();
  const room = await newRoom(server);
  const made: number[] = [];
  for (const date of ["2026-03-09", "2026-03-10", "2026-03-11", "2026-03-12", "2026-03-13"]) {
    made.push(...(await bookHours(server, room, date, 21)).map(({ id }) => id));
  }
  const newestFirst = made.toReversed();
  const page = async (query: Record<string, unknown>) => {
    const { items, nextCursor: _, ...rest } = await list(server, "alice", query);
    return { ids: items.map(({ id }) => id), ...rest };
  };
  const total = 105;
  assert.deepEqual(await page({}), { ids: newestFirst.slice(0, 25), total, page: 1, limit: 25 });
  assert.deepEqual(await page({ limit: 40, page: 2 }), { ids: newestFirst.slice(40, 80), total, page: 2, limit: 40 });
  assert.deepEqual(await page({ limit: 40, page: 3 }), { ids: newestFirst.slice(80), total, page: 3, limit: 40 });
  assert.deepEqual(await page({ limit: 40, page: 4 }), { ids: [], total, page: 4, limit: 40 });
  assert.deepEqual(await page({ limit: 500 }), { ids: newestFirst.slice(0, 100), total, page: 1, limit: 100 });
  assert.deepEqual(await page({ limit: 500, page: 2 }), { ids: newestFirst.slice(100), total, page: 2, limit: 100 });
  const last = { page: 2_147_483_647, limit: Number.MAX_SAFE_INTEGER };
  assert.deepEqual(await page(last), { ids: [], total, page: 2_147_483_647, limit: 100 });
});
