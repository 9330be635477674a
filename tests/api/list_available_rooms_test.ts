import assert from "node:assert/strict";
import type { LogEvent } from "kysely";
import type { AvailableRoomPage } from "../../generated/contract.ts";
import { newBooking, newRoom, newRoomWithTimeslot, newTimeslots } from "../support/builders.ts";
import { sharedServer, startServer, type TestServer } from "../support/server.ts";

// Each test has days of its own, in a year of this file. So it does not find the rooms of others.
const on = (date: string) => ({ from: date, to: date });
const nineToTen = { start: "09:00", end: "10:00" };

async function search(server: TestServer, query: Record<string, unknown>): Promise<AvailableRoomPage> {
  return await server.ok("listAvailableRooms", { query });
}

/** Starts of all timeslots that match. */
async function starts(server: TestServer, query: Record<string, unknown>): Promise<string[]> {
  const { items } = await search(server, query);
  return items.flatMap(({ timeslots }) => timeslots.map(({ startTime }) => startTime.slice(0, 16)));
}

Deno.test("listAvailableRooms: no token -> rooms by name, each with its free timeslots, earliest first", async () => {
  await using server = await sharedServer();
  const hours = { date: "2029-05-05", workingHours: { start: "09:00", end: "11:00" } };
  const named = async (name: string) => {
    const room = await newRoom(server, { name });
    const timeslots = await newTimeslots(server, room, hours);
    return { room, timeslots };
  };
  const last = await named("Sea");
  const first = await named("Lake");
  const second = await named("Lake");
  await newRoom(server, { name: "Empty" });
  assert.deepEqual(await search(server, on("2029-05-05")), {
    items: [first, second, last],
    minimumDuration: 1,
    total: 3,
    page: 1,
    limit: 50,
    pages: 1,
    nextCursor: null,
  });
});

Deno.test("listAvailableRooms: page and limit -> that page, the total on a page past the end too", async () => {
  await using server = await sharedServer();
  const date = "2029-05-06";
  for (const name of ["A", "B", "C"]) {
    await newTimeslots(server, await newRoom(server, { name }), { date, workingHours: nineToTen });
  }
  const page = async (page: number) => {
    const { items, total, pages } = await search(server, { ...on(date), page, limit: 2 });
    return { names: items.map(({ room }) => room.name), total, pages };
  };
  assert.deepEqual(await page(1), { names: ["A", "B"], total: 3, pages: 2 });
  assert.deepEqual(await page(2), { names: ["C"], total: 3, pages: 2 });
  assert.deepEqual(await page(3), { names: [], total: 3, pages: 2 });
  assert.equal((await search(server, { ...on(date), limit: 1_000 })).limit, 100);
});

Deno.test("listAvailableRooms: other type, too small, deactivated or booked rooms -> not listed", async () => {
  await using server = await sharedServer();
  const admin = await server.token("admin", "admin");
  const date = "2029-05-07";
  const newBookableRoom = async (fields: Record<string, unknown>) => {
    const room = await newRoom(server, fields);
    const [timeslot] = await newTimeslots(server, room, { date, workingHours: nineToTen });
    assert(timeslot);
    return { room, timeslot };
  };
  await newBookableRoom({ name: "Fits", roomType: "office", capacity: 4 });
  await newBookableRoom({ name: "Meeting", roomType: "meeting", capacity: 4 });
  await newBookableRoom({ name: "Small", roomType: "office", capacity: 3 });
  const { room } = await newBookableRoom({ name: "Closed", roomType: "office", capacity: 4 });
  await server.ok("deleteRoom", { token: admin, params: { roomId: room.id } });
  const { timeslot } = await newBookableRoom({ name: "Booked", roomType: "office", capacity: 4 });
  const booking = await newBooking(server, "alice", timeslot);
  const names = async (query: Record<string, unknown>) =>
    (await search(server, { ...on(date), ...query })).items.map(({ room }) => room.name);
  assert.deepEqual(await names({ type: "office", capacity: 4 }), ["Fits"]);
  assert.deepEqual(await names({ type: "office" }), ["Fits", "Small"]);
  assert.deepEqual(await names({ capacity: 4 }), ["Fits", "Meeting"]);
  assert.deepEqual(await names({}), ["Fits", "Meeting", "Small"]);
  await server.ok("cancelBooking", { token: await server.token("alice"), params: { bookingId: booking.id } });
  assert.deepEqual(await names({ type: "office", capacity: 4 }), ["Booked", "Fits"]);
  server.clock.set(timeslot.startTime);
  assert.deepEqual(await names({}), []);
});

Deno.test("listAvailableRooms: duration -> timeslots of at least so many minutes, by default of any length", async () => {
  await using server = await sharedServer();
  const room = await newRoom(server);
  const day = on("2029-05-08");
  for (const [slotDuration, start, end] of [[15, "09:00", "09:15"], [30, "10:00", "10:30"], [45, "11:00", "11:45"]]) {
    await newTimeslots(server, room, { date: day.from, slotDuration, workingHours: { start, end } });
  }
  assert.equal((await starts(server, { ...day, duration: 1 })).length, 3);
  assert.equal((await starts(server, day)).length, 3);
  assert.equal((await search(server, { ...day, duration: 30 })).minimumDuration, 30);
  assert.equal((await starts(server, { ...day, duration: 31 })).length, 1);
  assert.equal((await search(server, { ...day, duration: 46 })).total, 0);
});

Deno.test("listAvailableRooms: dates, times without an offset -> days and local times of each room's zone", async () => {
  await using server = await sharedServer();
  const workingHours = { start: "23:00", end: "01:00" };
  for (const timeZone of ["Asia/Tokyo", "America/New_York"]) {
    await newTimeslots(server, await newRoom(server, { name: timeZone, timeZone }), {
      date: "2029-05-12",
      workingHours,
    });
  }
  const [newYork, tokyo] = [["2029-05-13T03:00", "2029-05-13T04:00"], [
    "2029-05-12T14:00",
    "2029-05-12T15:00",
  ]] as const;
  assert.deepEqual(await starts(server, on("2029-05-12")), [newYork[0], tokyo[0]]);
  assert.deepEqual(await starts(server, { from: "2029-05-12", to: "2029-05-13" }), [...newYork, ...tokyo]);
  assert.deepEqual(await starts(server, { from: "2029-05-13", to: "2029-05-13" }), [newYork[1], tokyo[1]]);
  assert.deepEqual(await starts(server, { from: "2029-05-12T23:00", to: "2029-05-13T00:00" }), [newYork[0], tokyo[0]]);
  assert.deepEqual(await starts(server, { from: "2029-05-12T23:00:01", to: "2029-05-13T01:00" }), [
    newYork[1],
    tokyo[1],
  ]);
  assert.deepEqual(await starts(server, { from: "2029-05-12T14:00:00Z", to: "2029-05-13T04:00:00Z" }), [
    newYork[0],
    ...tokyo,
  ]);
  // One end is a day of the room's zone, the other an instant.
  assert.deepEqual(await starts(server, { from: "2029-05-13", to: "2029-05-12T16:00:00Z" }), [tokyo[1]]);
});

Deno.test("listAvailableRooms: date-times -> timeslots that start at or after from and end by to", async () => {
  await using server = await sharedServer();
  await newTimeslots(server, await newRoom(server), {
    date: "2029-05-20",
    workingHours: { start: "09:00", end: "12:00" },
  });
  const between = (from: string, to: string) => starts(server, { from: `2029-05-20T${from}`, to: `2029-05-20T${to}` });
  const [nine, ten, eleven] = ["2029-05-20T09:00", "2029-05-20T10:00", "2029-05-20T11:00"];
  assert.deepEqual(await between("09:00", "12:00"), [nine, ten, eleven]);
  assert.deepEqual(await between("09:00:00.001", "12:00"), [ten, eleven]);
  assert.deepEqual(await between("09:00", "11:59:59.999"), [nine, ten]);
  assert.deepEqual(await between("10:00", "10:59"), []);
  assert.deepEqual(await between("10:00", "10:00"), []);
  assert.deepEqual(await starts(server, { from: "2029-05-20T10:30Z", to: "2029-05-20" }), [eleven]);
});

Deno.test("listAvailableRooms: known zones -> one statement, a room in a new zone -> a second one", async () => {
  let count = 0;
  await using server = await startServer({
    log: ({ query }: LogEvent) => void (count += query.sql.startsWith('with "candidate"') ? 1 : 0),
  });
  const statements = async (): Promise<[number, number]> => {
    count = 0;
    const { total } = await search(server, on("2026-03-09"));
    return [total, count];
  };
  await newRoomWithTimeslot(server, { timeZone: "UTC" });
  assert.deepEqual(await statements(), [1, 2]);
  assert.deepEqual(await statements(), [1, 1]);
  const { room } = await newRoomWithTimeslot(server, { timeZone: "UTC" });
  assert.deepEqual(await statements(), [2, 1]);
  const request = { token: await server.token("admin", "admin"), params: { roomId: room.id } };
  await server.ok("updateRoom", { ...request, body: { timeZone: "Asia/Tokyo" } });
  assert.deepEqual(await statements(), [2, 2]);
  assert.deepEqual(await statements(), [2, 1]);
});

Deno.test("listAvailableRooms: range that ends before it starts, or over 7 days -> 400 invalid_date_range", async () => {
  await using server = await sharedServer();
  await newRoomWithTimeslot(server);
  const detail = async (from: string, to: string) =>
    (await server.refused("invalid_date_range", "listAvailableRooms", { query: { from, to } })).detail;
  for (
    const [from, to] of [
      ["2026-03-10", "2026-03-09"],
      ["2026-03-09T10:00", "2026-03-09T09:59"],
      ["2026-03-09T10:00Z", "2026-03-09T10:00+00:01"],
      ["2026-03-10T00:00", "2026-03-09"],
      ["2026-03-10", "2026-03-09T09:00Z"],
      ["2026-03-09T14:00:01Z", "2026-03-08"],
    ] as const
  ) assert.equal(await detail(from, to), "The range ends before it starts.", `${from} to ${to}`);
  for (
    const [from, to] of [
      ["2026-03-09", "2026-03-16"],
      ["2026-03-09T10:00", "2026-03-16T10:00:01"],
      ["2026-03-09T10:00Z", "2026-03-16T10:00:00.000000001Z"],
      ["1900-01-01", "9998-12-31"],
    ] as const
  ) assert.equal(await detail(from, to), "Ask for at most 7 days at once.", `${from} to ${to}`);
  for (
    const [from, to] of [
      ["2026-03-09", "2026-03-15"],
      ["2026-03-09T10:00", "2026-03-16T10:00"],
      ["2026-03-09T10:00Z", "2026-03-16T10:00Z"],
      ["1900-01-01", "1900-01-07"],
      ["9998-12-25", "9998-12-31"],
    ] as const
  ) await search(server, { from, to });
});

Deno.test("listAvailableRooms: day that does not exist -> 400 validation_failed with the field", async () => {
  await using server = await sharedServer();
  for (const [from, to, path] of [["2026-02-30", "2026-03-01", "from"], ["2026-03-01", "0001-01-01", "to"]]) {
    const { errors } = await server.refused("validation_failed", "listAvailableRooms", { query: { from, to } });
    assert.deepEqual(errors?.map((error) => [error.in, error.path]), [["query", path]]);
  }
});

Deno.test("listAvailableRooms: timeslots with milliseconds, in the last year -> exact times", async () => {
  await using server = await sharedServer();
  const room = await newRoom(server);
  const times = [
    ["2029-06-02T09:00:00.001Z", "2029-06-02T09:30:00.999Z"],
    ["9998-12-29T23:59:59.999Z", "9998-12-30T23:59:59.998Z"],
  ] as const;
  for (const [startTime, endTime] of times) {
    const timeslot = { room_id: room.id, starts_at: new Date(startTime), ends_at: new Date(endTime) };
    const { id } = await server.db.insertInto("timeslots").values(timeslot).returning("id").executeTakeFirstOrThrow();
    const { items } = await search(server, on(startTime.slice(0, 10)));
    assert.deepEqual(items, [{ room, timeslots: [{ id, roomId: room.id, startTime, endTime }] }]);
  }
});
