import assert from "node:assert/strict";
import { type LogEvent, sql } from "kysely";
import type { AvailableRoomPage, Room } from "../../generated/contract.ts";
import { newBooking, newRoom, newRoomWithTimeslot, newTimeslots } from "../support/builders.ts";
import { untilWaiting } from "../support/database.ts";
import { eventually } from "../support/process.ts";
import { sharedServer, startServer, type TestServer } from "../support/server.ts";

const day = { from: "2026-03-09", to: "2026-03-09" };

async function search(server: TestServer, query: Record<string, unknown>): Promise<AvailableRoomPage> {
  return await server.ok("listAvailableRooms", { query });
}

/** Starts of all timeslots that match. */
async function starts(server: TestServer, query: Record<string, unknown>): Promise<string[]> {
  const { items } = await search(server, query);
  return items.flatMap(({ timeslots }) => timeslots.map(({ startTime }) => startTime.slice(0, 16)));
}

Deno.test("listAvailableRooms: no token -> rooms by name, each with its free timeslots, earliest first", async () => {
  await using server = await startServer();
  const hours = { date: "2026-03-09", workingHours: { start: "09:00", end: "11:00" } };
  const named = async (name: string) => {
    const room = await newRoom(server, { name });
    const timeslots = await newTimeslots(server, room, hours);
    return { room, timeslots };
  };
  const last = await named("Sea");
  const first = await named("Lake");
  const second = await named("Lake");
  await newRoom(server, { name: "Empty" });
  assert.deepEqual(await search(server, day), { items: [first, second, last], total: 3, page: 1, limit: 50, pages: 1 });
});

Deno.test("listAvailableRooms: page and limit -> that page, the total on a page past the end too", async () => {
  await using server = await startServer();
  const rooms: Room[] = [];
  for (const name of ["A", "B", "C"]) rooms.push((await newRoomWithTimeslot(server, { name })).room);
  const page = async (page: number) => {
    const { items, total, pages } = await search(server, { ...day, page, limit: 2 });
    return { names: items.map(({ room }) => room.name), total, pages };
  };
  assert.deepEqual(await page(1), { names: ["A", "B"], total: 3, pages: 2 });
  assert.deepEqual(await page(2), { names: ["C"], total: 3, pages: 2 });
  assert.deepEqual(await page(3), { names: [], total: 3, pages: 2 });
  assert.equal((await search(server, { ...day, limit: 1_000 })).limit, 100);
});

Deno.test("listAvailableRooms: other type, too small, deactivated or booked rooms -> not listed", async () => {
  await using server = await startServer();
  const admin = await server.token("admin", "admin");
  await newRoomWithTimeslot(server, { name: "Fits", roomType: "office", capacity: 4 });
  await newRoomWithTimeslot(server, { name: "Meeting", roomType: "meeting", capacity: 4 });
  await newRoomWithTimeslot(server, { name: "Small", roomType: "office", capacity: 3 });
  const { room } = await newRoomWithTimeslot(server, { name: "Closed", roomType: "office", capacity: 4 });
  await server.ok("deleteRoom", { token: admin, params: { roomId: room.id } });
  const { timeslot } = await newRoomWithTimeslot(server, { name: "Booked", roomType: "office", capacity: 4 });
  const booking = await newBooking(server, "alice", timeslot);
  const names = async (query: Record<string, unknown>) =>
    (await search(server, { ...day, ...query })).items.map(({ room }) => room.name);
  assert.deepEqual(await names({ type: "office", capacity: 4 }), ["Fits"]);
  assert.deepEqual(await names({ type: "office" }), ["Fits", "Small"]);
  assert.deepEqual(await names({ capacity: 4 }), ["Fits", "Meeting"]);
  assert.deepEqual(await names({}), ["Fits", "Meeting", "Small"]);
  await server.ok("cancelBooking", { token: await server.token("alice"), params: { bookingId: booking.id } });
  assert.deepEqual(await names({ type: "office", capacity: 4 }), ["Booked", "Fits"]);
  server.clock.set("2026-03-09T09:00:00.000Z");
  assert.deepEqual(await names({}), []);
});

Deno.test("listAvailableRooms: duration -> timeslots of at least so many minutes, by default 30", async () => {
  await using server = await startServer();
  const room = await newRoom(server);
  for (const [slotDuration, start, end] of [[15, "09:00", "09:15"], [30, "10:00", "10:30"], [45, "11:00", "11:45"]]) {
    await newTimeslots(server, room, { date: "2026-03-09", slotDuration, workingHours: { start, end } });
  }
  assert.equal((await starts(server, { ...day, duration: 1 })).length, 3);
  assert.equal((await starts(server, day)).length, 2);
  assert.equal((await starts(server, { ...day, duration: 31 })).length, 1);
  assert.equal((await search(server, { ...day, duration: 46 })).total, 0);
});

Deno.test("listAvailableRooms: dates, times without an offset -> days and local times of each room's zone", async () => {
  await using server = await startServer();
  const workingHours = { start: "23:00", end: "01:00" };
  for (const timeZone of ["Asia/Tokyo", "America/New_York"]) {
    await newTimeslots(server, await newRoom(server, { name: timeZone, timeZone }), {
      date: "2026-03-09",
      workingHours,
    });
  }
  const [newYork, tokyo] = [["2026-03-10T03:00", "2026-03-10T04:00"], [
    "2026-03-09T14:00",
    "2026-03-09T15:00",
  ]] as const;
  assert.deepEqual(await starts(server, day), [newYork[0], tokyo[0]]);
  assert.deepEqual(await starts(server, { from: "2026-03-09", to: "2026-03-10" }), [...newYork, ...tokyo]);
  assert.deepEqual(await starts(server, { from: "2026-03-10", to: "2026-03-10" }), [newYork[1], tokyo[1]]);
  assert.deepEqual(await starts(server, { from: "2026-03-09T23:00", to: "2026-03-10T00:00" }), [newYork[0], tokyo[0]]);
  assert.deepEqual(await starts(server, { from: "2026-03-09T23:00:01", to: "2026-03-10T01:00" }), [
    newYork[1],
    tokyo[1],
  ]);
  assert.deepEqual(await starts(server, { from: "2026-03-09T14:00:00Z", to: "2026-03-10T04:00:00Z" }), [
    newYork[0],
    ...tokyo,
  ]);
  // One end is a day of the room's zone, the other an instant.
  assert.deepEqual(await starts(server, { from: "2026-03-10", to: "2026-03-09T16:00:00Z" }), [tokyo[1]]);
});

Deno.test("listAvailableRooms: date-times -> timeslots that start at or after from and end by to", async () => {
  await using server = await startServer();
  await newTimeslots(server, await newRoom(server), {
    date: "2026-03-09",
    workingHours: { start: "09:00", end: "12:00" },
  });
  const between = (from: string, to: string) => starts(server, { from: `2026-03-09T${from}`, to: `2026-03-09T${to}` });
  const [nine, ten, eleven] = ["2026-03-09T09:00", "2026-03-09T10:00", "2026-03-09T11:00"];
  assert.deepEqual(await between("09:00", "12:00"), [nine, ten, eleven]);
  assert.deepEqual(await between("09:00:00.001", "12:00"), [ten, eleven]);
  assert.deepEqual(await between("09:00", "11:59:59.999"), [nine, ten]);
  assert.deepEqual(await between("10:00", "10:59"), []);
  assert.deepEqual(await between("10:00", "10:00"), []);
  assert.deepEqual(await starts(server, { from: "2026-03-09T10:30Z", to: "2026-03-09" }), [eleven]);
});

Deno.test("listAvailableRooms: known zones -> one statement, a room in a new zone -> a second one", async () => {
  let count = 0;
  await using server = await startServer({
    log: ({ query }: LogEvent) => void (count += query.sql.startsWith('with "candidate"') ? 1 : 0),
  });
  const statements = async (): Promise<[number, number]> => {
    count = 0;
    const { total } = await search(server, day);
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

Deno.test("listAvailableRooms: 10 searches on 4 connections -> 2 run, other requests are answered", async () => {
  await using server = await startServer({ pool: 4 });
  await newRoomWithTimeslot(server);
  await search(server, day);
  const searches = await server.db.transaction().execute(async (trx) => {
    await sql`lock table timeslots in access exclusive mode`.execute(trx);
    const waiting = Array.from({ length: 10 }, () => search(server, day));
    await untilWaiting(server.db, 2);
    for (let request = 0; request < 10; request++) assert.equal((await server.ok("listRooms", {})).total, 1);
    await untilWaiting(server.db, 2);
    return waiting;
  });
  for (const { total } of await Promise.all(searches)) assert.equal(total, 1);
});

Deno.test("listAvailableRooms: 110 searches at once -> 2 run, 100 wait, 8 get 503 service_unavailable", async () => {
  await using server = await startServer({ pool: 4 });
  await newRoomWithTimeslot(server);
  await search(server, day);
  const statuses: number[] = [];
  const searches = await server.db.transaction().execute(async (trx) => {
    await sql`lock table timeslots in access exclusive mode`.execute(trx);
    const waiting = Array.from({ length: 110 }, async () => {
      statuses.push((await server.call("listAvailableRooms", { query: day })).status);
    });
    await eventually(() => Promise.resolve(statuses.length === 8));
    return waiting;
  });
  await Promise.all(searches);
  assert.deepEqual(statuses, [...Array(8).fill(503), ...Array(102).fill(200)]);
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
