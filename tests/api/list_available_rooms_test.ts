import assert from "node:assert/strict";
import fc from "fast-check";
import { type LogEvent, sql } from "kysely";
import type { AvailableRoom, AvailableRoomPage, Room, RoomType, Timeslot } from "../../generated/contract.ts";
import { newBooking, newRoom, newRoomWithTimeslot, newTimeslots } from "../support/builders.ts";
import { untilWaiting } from "../support/database.ts";
import { eventually } from "../support/process.ts";
import { startServer, type TestServer } from "../support/server.ts";

const day = { from: "2026-03-09", to: "2026-03-09" };

async function search(server: TestServer, query: Record<string, unknown>): Promise<AvailableRoomPage> {
  return await server.ok("listAvailableRooms", { query });
}

/** The starts of all timeslots that are found. */
async function starts(server: TestServer, query: Record<string, unknown>): Promise<string[]> {
  const { items } = await search(server, query);
  return items.flatMap(({ timeslots }) => timeslots.map(({ startTime }) => startTime.slice(0, 16)));
}

Deno.test("listAvailableRooms answers anybody with rooms by name, each with its free timeslots, earliest first", async () => {
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

Deno.test("listAvailableRooms pages rooms, and counts them on a page past the end too", async () => {
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

Deno.test("listAvailableRooms leaves out rooms of another type, too small, deactivated, or with nothing free", async () => {
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

Deno.test("listAvailableRooms shows timeslots of at least duration minutes, and of 30 when it is not said", async () => {
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

Deno.test("listAvailableRooms takes dates for days where each room is, and times without an offset for its local time", async () => {
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
  // One end where the room is, the other an instant.
  assert.deepEqual(await starts(server, { from: "2026-03-10", to: "2026-03-09T16:00:00Z" }), [tokyo[1]]);
});

Deno.test("listAvailableRooms wants timeslots to start from a date-time on, and to end by one", async () => {
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

Deno.test("listAvailableRooms is one statement, and a second one only when it meets a room in a zone for the first time", async () => {
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

Deno.test("listAvailableRooms leaves the database to other requests, however many searches wait", async () => {
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

Deno.test("listAvailableRooms answers 503 service_unavailable to whoever comes when 100 others wait", async () => {
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

Deno.test("listAvailableRooms answers 400 invalid_date_range when the range ends before it starts or is over 7 days", async () => {
  await using server = await startServer();
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

Deno.test("listAvailableRooms answers 400 validation_failed for a day that does not exist, and names the field", async () => {
  await using server = await startServer();
  for (const [from, to, path] of [["2026-02-30", "2026-03-01", "from"], ["2026-03-01", "0001-01-01", "to"]]) {
    const { errors } = await server.refused("validation_failed", "listAvailableRooms", { query: { from, to } });
    assert.deepEqual(errors?.map((error) => [error.in, error.path]), [["query", path]]);
  }
});

// Clocks change in Berlin on October 25, in New York and Havana (at midnight) on November 1.
const zones = ["UTC", "Europe/Berlin", "America/New_York", "America/Havana", "Pacific/Chatham", "Asia/Kathmandu"];
const types: RoomType[] = ["office", "meeting"];
const firstDay = Temporal.PlainDate.from("2026-10-22");

interface Moment {
  kind: "date" | "local" | "instant";
  /** Minutes after the first day has begun. */
  minutes: number;
}

const textOf = ({ kind, minutes }: Moment): string => {
  const time = firstDay.toPlainDateTime().add({ minutes });
  return kind === "date" ? `${time.toPlainDate()}` : kind === "local" ? `${time}` : `${time}Z`;
};

/** When `moment`, of which a date lasts to its end, is over or begins in `zone`. */
function instantOf(moment: Moment, zone: string, { end }: { end: boolean }): number {
  const text = textOf(moment);
  if (moment.kind === "instant") return Date.parse(text);
  if (moment.kind === "local") return Temporal.PlainDateTime.from(text).toZonedDateTime(zone).epochMilliseconds;
  return Temporal.PlainDate.from(text).add({ days: end ? 1 : 0 }).toZonedDateTime(zone).epochMilliseconds;
}

Deno.test("listAvailableRooms equals what listFreeTimeslots answers for each room, day by day", async () => {
  await using server = await startServer({ now: "2026-10-23T10:00:00.000Z" });
  const token = await server.token("admin", "admin");
  const rooms: Room[] = [];
  for (const [index, timeZone] of [...zones, ...zones].entries()) {
    const name = `Room ${(index * 5) % 7}`;
    const fields = {
      name,
      timeZone,
      capacity: 1 + index % 4,
      roomType: types[index % 3 === 0 ? 0 : 1],
      autoConfirm: true,
    };
    const room = await newRoom(server, { ...fields, hourlyRate: null });
    rooms.push(room);
    const slotDuration = [45, 90, 200, 480][index % 4];
    const days = { startDate: "2026-10-22", endDate: "2026-11-03", workingHours: { start: "00:00", end: "24:00" } };
    await server.ok("generateTimeslots", { token, body: { roomId: room.id, slotDuration, ...days } });
  }
  await server.ok("deleteRoom", { token, params: { roomId: rooms[3]?.id } });
  const days = Array.from({ length: 14 }, (_, index) => firstDay.add({ days: index - 1 }).toString());
  const free = new Map<number, Timeslot[]>();
  const read = async (): Promise<void> => {
    for (const { id: roomId } of rooms) {
      const answers = days.map((date) =>
        server.ok("listFreeTimeslots", { params: { roomId }, query: { date, duration: 1 } })
      );
      free.set(roomId, (await Promise.all(answers)).flatMap(({ timeslots }) => timeslots));
    }
  };
  await read();
  const all = [...free.values()].flat();
  for (let pick = 0; pick < 120; pick++) {
    await newBooking(server, "alice", all.splice((pick * 7_919) % all.length, 1)[0] ?? assert.fail());
  }
  await read();

  const moment = (minutes: fc.Arbitrary<number>): fc.Arbitrary<Moment> =>
    fc.record({ kind: fc.constantFrom("date", "local", "instant"), minutes });
  const query = fc.record({
    from: moment(fc.nat(10 * 1_440)),
    length: fc.oneof(fc.nat(7 * 1_440), fc.nat(600)),
    toKind: fc.option(fc.constantFrom<Moment["kind"]>("date", "local", "instant"), { nil: undefined }),
    duration: fc.option(fc.constantFrom(1, 45, 46, 200, 481), { nil: undefined }),
    type: fc.option(fc.constantFrom(...types), { nil: undefined }),
    capacity: fc.option(fc.integer({ min: 1, max: 5 }), { nil: undefined }),
  });
  let found = 0;
  const equal = fc.asyncProperty(query, async ({ from, length, toKind = from.kind, ...filter }) => {
    const to = { kind: toKind, minutes: from.minutes + length };
    const expected: AvailableRoom[] = [];
    for (const room of rooms) {
      if (room.id === rooms[3]?.id || room.roomType !== (filter.type ?? room.roomType)) continue;
      if (room.capacity < (filter.capacity ?? 1)) continue;
      const [begin, end] = [
        instantOf(from, room.timeZone, { end: false }),
        instantOf(to, room.timeZone, { end: true }),
      ];
      const timeslots = (free.get(room.id) ?? []).filter(({ startTime, endTime }) => {
        const [start, over] = [Date.parse(startTime), Date.parse(endTime)];
        const isLong = over - start >= (filter.duration ?? 30) * 60_000;
        return isLong && start >= begin && (to.kind === "date" ? start < end : over <= end);
      });
      if (timeslots.length > 0) expected.push({ room, timeslots });
    }
    expected.sort((a, b) => a.room.name < b.room.name ? -1 : a.room.name > b.room.name ? 1 : a.room.id - b.room.id);
    const given = Object.entries({ from: textOf(from), to: textOf(to), ...filter }).filter(([, value]) =>
      value !== undefined
    );
    const { status, body } = await server.call("listAvailableRooms", { query: Object.fromEntries(given) });
    // A date lasts to its end, which may make the range longer than may be asked for.
    const isLong = length + (toKind === "date" ? 1_440 : 0) + (from.kind === "date" ? 1_440 : 0) > 7 * 1_440;
    if (status === 400 && isLong) return;
    found += expected.length;
    assert.deepEqual(body, {
      items: expected,
      total: expected.length,
      page: 1,
      limit: 50,
      pages: Math.min(1, expected.length),
    });
  });
  await fc.assert(equal, { numRuns: 150, endOnFailure: true });
  assert(found > 100);
});
