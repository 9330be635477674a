import assert from "node:assert/strict";
import type { Room } from "../../generated/contract.ts";
import { confirm, missingId, newBooking, newRoom, newRoomWithTimeslot, newTimeslots } from "../support/builders.ts";
import { sharedServer, type TestServer } from "../support/server.ts";

/** Starts of a room's free timeslots that match the query. */
async function freeStarts(server: TestServer, { id: roomId }: Room, query: Record<string, unknown>): Promise<string[]> {
  const { timeslots } = await server.ok("listFreeTimeslots", { params: { roomId }, query });
  return timeslots.map(({ startTime }) => startTime);
}

/** Generates timeslots of a room for all hours, from 2026-03-08 to 2026-03-10. */
async function newTimeslotsAroundTheClock(server: TestServer, room: Room, slotDuration: number): Promise<void> {
  const workingHours = { start: "00:00", end: "24:00" };
  for (const date of ["2026-03-08", "2026-03-09", "2026-03-10"]) {
    await newTimeslots(server, room, { date, slotDuration, workingHours });
  }
}

Deno.test("listFreeTimeslots: no token -> the room, the day and its timeslots, earliest first", async () => {
  await using server = await sharedServer();
  const { room, timeslot } = await newRoomWithTimeslot(server);
  await newTimeslots(server, room, { date: "2026-03-09", workingHours: { start: "07:00", end: "09:00" } });
  const { room: other } = await newRoomWithTimeslot(server);
  const answer = await server.ok("listFreeTimeslots", { params: { roomId: room.id }, query: { date: "2026-03-09" } });
  assert.deepEqual(answer.room, room);
  assert.equal(answer.date, "2026-03-09");
  assert.deepEqual(answer.timeslots.map(({ startTime }) => startTime), [
    "2026-03-09T07:00:00.000Z",
    "2026-03-09T08:00:00.000Z",
    "2026-03-09T09:00:00.000Z",
  ]);
  assert.deepEqual(answer.timeslots[2], timeslot);
  assert.deepEqual(timeslot, {
    id: timeslot.id,
    roomId: room.id,
    startTime: "2026-03-09T09:00:00.000Z",
    endTime: "2026-03-09T10:00:00.000Z",
  });
  assert.deepEqual(await freeStarts(server, other, { date: "2026-03-09" }), ["2026-03-09T09:00:00.000Z"]);
});

for (const timeZone of ["UTC", "Pacific/Kiritimati", "Pacific/Pago_Pago", "Asia/Kathmandu", "Pacific/Chatham"]) {
  Deno.test(`listFreeTimeslots: room in ${timeZone} -> timeslots that start on that day there`, async () => {
    await using server = await sharedServer();
    const room = await newRoom(server, { timeZone });
    await newTimeslotsAroundTheClock(server, room, 60);
    const midnight = Temporal.PlainDate.from("2026-03-09").toZonedDateTime(timeZone);
    const hours = Array.from({ length: 24 }, (_, hour) => new Date(midnight.add({ hours: hour }).epochMilliseconds));
    const starts = await freeStarts(server, room, { date: "2026-03-09" });
    assert.deepEqual(starts, hours.map((start) => start.toISOString()));
  });
}

Deno.test("listFreeTimeslots: timeslot over midnight -> on the day of its start only", async () => {
  await using server = await sharedServer();
  const room = await newRoom(server, { timeZone: "Asia/Tokyo" });
  await newTimeslots(server, room, { date: "2026-03-09", workingHours: { start: "23:30", end: "00:30" } });
  assert.deepEqual(await freeStarts(server, room, { date: "2026-03-09" }), ["2026-03-09T14:30:00.000Z"]);
  assert.deepEqual(await freeStarts(server, room, { date: "2026-03-10" }), []);
});

const moments = [
  ["2026-03-09T00:00:00", "2026-03-09"],
  ["2026-03-09T23:59:59.999999999", "2026-03-09"],
  ["2026-03-09T23:30", "2026-03-09"],
  ["2026-03-08T14:59:59Z", "2026-03-08"],
  ["2026-03-08T15:00:00Z", "2026-03-09"],
  ["2026-03-09T14:59Z", "2026-03-09"],
  ["2026-03-09T15:00Z", "2026-03-10"],
  ["2026-03-09T23:59:59.999+09:00", "2026-03-09"],
  ["2026-03-09T23:59:59.999999999+09:00", "2026-03-09"],
  ["2026-03-08T22:00:00-05:00", "2026-03-09"],
  ["2026-03-09T04:30:00+14:00", "2026-03-08"],
] as const;

Deno.test("listFreeTimeslots: date-time -> its day in the room's time zone", async () => {
  await using server = await sharedServer();
  const room = await newRoom(server, { timeZone: "Asia/Tokyo" });
  await newTimeslotsAroundTheClock(server, room, 720);
  for (const [date, day] of moments) {
    const answer = await server.ok("listFreeTimeslots", { params: { roomId: room.id }, query: { date } });
    assert.equal(answer.date, day, date);
    assert.deepEqual(answer.timeslots.map(({ startTime }) => startTime), await freeStarts(server, room, { date: day }));
    assert.equal(answer.timeslots.length, 2, date);
  }
});

Deno.test("listFreeTimeslots: timeslot that has started -> not listed", async () => {
  await using server = await sharedServer();
  const room = await newRoom(server);
  const query = { date: "2026-03-09" };
  await newTimeslots(server, room, { ...query, workingHours: { start: "09:00", end: "11:00" } });
  const [nine, ten] = ["2026-03-09T09:00:00.000Z", "2026-03-09T10:00:00.000Z"];
  for (
    const [now, free] of [
      ["2026-03-09T08:59:59.999Z", [nine, ten]],
      ["2026-03-09T09:00:00.000Z", [ten]],
      ["2026-03-09T09:30:00.000Z", [ten]],
      ["2026-03-09T10:00:00.000Z", []],
      ["2026-03-12T00:00:00.000Z", []],
    ] as const
  ) {
    server.clock.set(now);
    assert.deepEqual(await freeStarts(server, room, query), free, now);
  }
});

Deno.test("listFreeTimeslots: duration -> timeslots of at least so many minutes, by default 30", async () => {
  await using server = await sharedServer();
  const room = await newRoom(server);
  const day = { date: "2026-03-09" };
  for (const [slotDuration, start, end] of [[15, "09:00", "09:15"], [30, "10:00", "10:30"], [45, "11:00", "11:45"]]) {
    await newTimeslots(server, room, { ...day, slotDuration, workingHours: { start, end } });
  }
  const [quarter, half, threeQuarters] = await freeStarts(server, room, { ...day, duration: 1 });
  for (
    const [duration, free] of [
      [15, [quarter, half, threeQuarters]],
      [16, [half, threeQuarters]],
      [30, [half, threeQuarters]],
      [31, [threeQuarters]],
      [45, [threeQuarters]],
      [46, []],
      [1_440, []],
    ] as const
  ) assert.deepEqual(await freeStarts(server, room, { ...day, duration }), free, `duration=${duration}`);
  assert.deepEqual(await freeStarts(server, room, day), [half, threeQuarters]);
});

Deno.test("listFreeTimeslots: booked timeslot -> not listed until the booking is cancelled", async () => {
  await using server = await sharedServer();
  const room = await newRoom(server);
  const query = { date: "2026-03-09" };
  const timeslots = await newTimeslots(server, room, { ...query, workingHours: { start: "09:00", end: "11:00" } });
  const [nine, ten] = timeslots;
  assert(nine && ten);
  const booking = await newBooking(server, "alice", nine);
  assert.deepEqual(await freeStarts(server, room, query), [ten.startTime]);
  await confirm(server, booking);
  assert.deepEqual(await freeStarts(server, room, query), [ten.startTime]);
  await server.ok("cancelBooking", { token: await server.token("alice"), params: { bookingId: booking.id } });
  assert.deepEqual(await freeStarts(server, room, query), [nine.startTime, ten.startTime]);
  await newBooking(server, "bob", nine);
  assert.deepEqual(await freeStarts(server, room, query), [ten.startTime]);
});

Deno.test("listFreeTimeslots: deactivated room -> the room, no timeslots", async () => {
  await using server = await sharedServer();
  const { room } = await newRoomWithTimeslot(server);
  const params = { roomId: room.id };
  await server.ok("deleteRoom", { token: await server.token("admin", "admin"), params });
  const answer = await server.ok("listFreeTimeslots", { params, query: { date: "2026-03-09" } });
  assert.deepEqual(answer, {
    room: { ...room, isActive: false },
    date: "2026-03-09",
    minimumDuration: 30,
    timeslots: [],
  });
});

Deno.test("listFreeTimeslots: unknown room -> 404 room_not_found", async () => {
  await using server = await sharedServer();
  for (const date of ["2026-03-09", "2026-03-09T10:00:00Z"]) {
    const request = { params: { roomId: missingId }, query: { date } };
    assert.equal((await server.refused("room_not_found", "listFreeTimeslots", request)).status, 404);
  }
});

Deno.test("listFreeTimeslots: day or time that does not exist -> 400 validation_failed", async () => {
  await using server = await sharedServer();
  const { id: roomId } = await newRoom(server);
  for (
    const date of [
      ...["2026-02-29", "2026-02-30", "2026-04-31", "2026-13-01", "2026-00-10", "2026-03-00", "0000-01-01"],
      ...["2026-02-29T10:00:00", "2026-03-09T24:00:00", "2026-03-09T10:60", "2026-03-09T10:00:00+25:00"],
      ...["0000-01-01T10:00:00Z", "2026-03-09T10", "09.03.2026", "tomorrow", ""],
    ]
  ) {
    const request = { params: { roomId }, query: { date } };
    const { errors } = await server.refused("validation_failed", "listFreeTimeslots", request);
    assert.deepEqual(errors?.map((error) => [error.in, error.path]), [["query", "date"]], date);
  }
});

Deno.test("listFreeTimeslots: first and last moments of the calendar -> 200 or 400, never a failure", async () => {
  await using server = await sharedServer();
  const failed: unknown[] = [];
  for (const timeZone of ["Pacific/Kiritimati", "UTC", "Pacific/Pago_Pago"]) {
    const { id: roomId } = await newRoom(server, { timeZone });
    for (const day of ["0001-01-01", "9999-12-31"]) {
      for (const time of ["", "T00:00:00Z", "T23:59:59Z", "T00:00:00+23:59", "T23:59:59-23:59"]) {
        const query = { date: day + time };
        const { status } = await server.call("listFreeTimeslots", { params: { roomId }, query });
        if (status !== 200 && status !== 400) failed.push({ timeZone, ...query, status });
      }
    }
  }
  assert.deepEqual(failed, []);
});
