import assert from "node:assert/strict";
import type { Booking, BookingPage } from "../../generated/contract.ts";
import { bookAt, confirm, missingId, newBooking, newRoom, newTimeslots } from "../support/builders.ts";
import { sharedServer, startServer, type TestServer } from "../support/server.ts";

async function list(server: TestServer, query: Record<string, unknown> = {}): Promise<BookingPage> {
  return await server.ok("listAllBookings", { token: await server.token("admin", "admin"), query });
}

/** Creation times of alice's bookings that match, the earliest first. */
async function createdAt(server: TestServer, query: Record<string, unknown>): Promise<string[]> {
  const { id: userId } = await server.ok("getMe", { token: await server.token("alice") });
  const { items, total } = await list(server, { userId, ...query });
  assert.equal(items.length, total);
  return items.map((booking) => booking.createdAt).reverse();
}

Deno.test("listAllBookings: bookings of several users -> all, newest first", async () => {
  await using server = await startServer();
  const slots = await newTimeslots(server, await newRoom(server), { date: "2026-03-09" });
  const made: Booking[] = [];
  for (const [index, subject] of ["alice", "bob", "carol", "alice"].entries()) {
    const slot = slots.at(-1 - index);
    assert(slot);
    server.clock.set(`2026-03-02T10:00:0${index === 3 ? 0 : index}.000Z`);
    made.push(await newBooking(server, subject, slot));
  }
  const [first, second, third, fourth] = made;
  assert.deepEqual(await list(server), {
    items: [third, second, fourth, first],
    total: 4,
    page: 1,
    limit: 50,
    nextCursor: null,
  });
});

Deno.test("listAllBookings: each combination of status, room, user and day -> matching bookings", async () => {
  await using server = await startServer();
  const rooms = [await newRoom(server), await newRoom(server)];
  const made: Booking[] = [];
  for (const day of ["2026-03-02", "2026-03-03"]) {
    server.clock.set(`${day}T12:00:00.000Z`);
    for (const room of rooms) {
      const date = day === "2026-03-02" ? "2026-03-09" : "2026-03-10";
      const slots = await newTimeslots(server, room, { date, workingHours: { start: "09:00", end: "13:00" } });
      for (const [index, slot] of slots.entries()) {
        const booking = await newBooking(server, index < 2 ? "alice" : "bob", slot);
        made.push(index % 2 === 0 ? booking : await confirm(server, booking));
      }
    }
  }
  const [room] = rooms;
  const { id: userId } = await server.ok("getMe", { token: await server.token("alice") });
  assert(room);
  assert.equal(made.length, 16);
  const filters: { query: Record<string, unknown>; keeps: (booking: Booking) => boolean }[] = [
    { query: { status: "confirmed" }, keeps: (booking) => booking.status === "confirmed" },
    { query: { roomId: room.id }, keeps: (booking) => booking.roomId === room.id },
    { query: { userId }, keeps: (booking) => booking.userId === userId },
    {
      query: { fromDate: "2026-03-03", toDate: "2026-03-03" },
      keeps: (booking) => booking.createdAt.startsWith("2026-03-03"),
    },
  ];
  for (let chosen = 0; chosen < 2 ** filters.length; chosen++) {
    const together = filters.filter((_, index) => chosen & (1 << index));
    const query = Object.assign({}, ...together.map((filter) => filter.query));
    const expected = made.filter((booking) => together.every(({ keeps }) => keeps(booking))).map(({ id }) => id);
    const { items, total } = await list(server, query);
    assert.deepEqual(items.map(({ id }) => id), expected.reverse(), JSON.stringify(query));
    assert.equal(total, 16 / 2 ** together.length);
  }
  assert.equal((await list(server, { roomId: (await newRoom(server)).id })).total, 0);
  const unknown = { token: await server.token("admin", "admin"), query: { roomId: missingId } };
  assert.equal((await server.refused("unknown_room", "listAllBookings", unknown)).status, 400);
  assert.equal((await list(server, { userId: Number.MAX_SAFE_INTEGER })).total, 0);
});

for (
  const { DEFAULT_TIME_ZONE, dayStarts, dayEnds } of [
    { DEFAULT_TIME_ZONE: "UTC", dayStarts: "2026-03-08T00:00:00.000Z", dayEnds: "2026-03-09T00:00:00.000Z" },
    // The clocks go forward in New York on that day, so it has 23 hours.
    {
      DEFAULT_TIME_ZONE: "America/New_York",
      dayStarts: "2026-03-08T05:00:00.000Z",
      dayEnds: "2026-03-09T04:00:00.000Z",
    },
    {
      DEFAULT_TIME_ZONE: "Pacific/Auckland",
      dayStarts: "2026-03-07T11:00:00.000Z",
      dayEnds: "2026-03-08T11:00:00.000Z",
    },
  ]
) {
  Deno.test(`listAllBookings: dates, default time zone ${DEFAULT_TIME_ZONE} -> calendar days there, both included`, async () => {
    await using server = await sharedServer({ env: { DEFAULT_TIME_ZONE } });
    const before = (instant: string) => new Date(Date.parse(instant) - 1).toISOString();
    const created = [before(dayStarts), dayStarts, before(dayEnds), dayEnds];
    await bookAt(server, created);
    const day = "2026-03-08";
    assert.deepEqual(await createdAt(server, { fromDate: day, toDate: day }), created.slice(1, 3));
    assert.deepEqual(await createdAt(server, { fromDate: day }), created.slice(1));
    assert.deepEqual(await createdAt(server, { toDate: day }), created.slice(0, 3));
    assert.deepEqual(await createdAt(server, { fromDate: "2026-03-07", toDate: "2026-03-09" }), created);
  });
}

Deno.test("listAllBookings: date-times -> that instant, without an offset local time", async (t) => {
  await using server = await sharedServer({ env: { DEFAULT_TIME_ZONE: "America/New_York" } });
  const [first, second, third] = ["2026-03-10T14:00:00.000Z", "2026-03-10T15:00:00.000Z", "2026-03-10T16:00:00.000Z"];
  assert(first && second && third);
  await bookAt(server, [first, second, third]);
  const cases: [Record<string, string>, string[]][] = [
    [{ fromDate: "1900-01-01", toDate: "9999-12-31" }, [first, second, third]],
    [{ fromDate: "2026-03-10T15:00:00Z" }, [second, third]],
    [{ fromDate: "2026-03-10T15:00:00.001Z" }, [third]],
    [{ toDate: "2026-03-10T16:00:00+01:00" }, [first, second]],
    [{ fromDate: "2026-03-10T11:00:00", toDate: "2026-03-10T11:00:00" }, [second]],
    [{ fromDate: "2026-03-10T11:00", toDate: "2026-03-10T16:00:00Z" }, [second, third]],
    [{ fromDate: "2026-03-11" }, []],
    [{ toDate: "2026-03-09" }, []],
  ];
  for (const [query, expected] of cases) {
    await t.step(JSON.stringify(query), async () => {
      assert.deepEqual(await createdAt(server, query), expected);
    });
  }
});

Deno.test("listAllBookings: first and last instant of the calendar in the farthest zones -> accepted", async () => {
  await using server = await sharedServer();
  const created = "2026-03-10T14:00:00.000Z";
  await bookAt(server, [created]);
  // In UTC they lie before 1900 and after 9999.
  const [first, last] = ["1900-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00"];
  assert.deepEqual(await createdAt(server, { fromDate: first, toDate: last }), [created]);
  assert.deepEqual(await createdAt(server, { toDate: first }), []);
  assert.deepEqual(await createdAt(server, { fromDate: last }), []);
});

Deno.test("listAllBookings: range that ends before it starts -> 400 invalid_date_range", async (t) => {
  await using server = await sharedServer({ env: { DEFAULT_TIME_ZONE: "America/New_York" } });
  const token = await server.token("admin", "admin");
  const ranges = [
    ["2026-03-10", "2026-03-09"],
    ["2026-03-10", "2026-02-10"],
    ["2026-03-09T10:00:00", "2026-03-09T09:59:59"],
    ["2026-03-09T10:00:00Z", "2026-03-09T11:30:00+02:00"],
    // The day starts at 04:00 UTC in New York.
    ["2026-03-09", "2026-03-09T03:59:59Z"],
    ["2026-03-10T04:00:00Z", "2026-03-09"],
  ];
  for (const [fromDate, toDate] of ranges) {
    await t.step(`${fromDate} to ${toDate}`, async () => {
      const query = { fromDate, toDate };
      assert.equal((await server.refused("invalid_date_range", "listAllBookings", { token, query })).status, 400);
    });
  }
  assert.deepEqual(await createdAt(server, { fromDate: "2026-03-09", toDate: "2026-03-09T04:00:00Z" }), []);
});

Deno.test("listAllBookings: 105 bookings -> pages of at most 100, each booking on one page", async () => {
  await using server = await sharedServer();
  const room = await newRoom(server);
  const slots = await newTimeslots(server, room, {
    date: "2026-03-09",
    slotDuration: 5,
    workingHours: { start: "09:00", end: "17:45" },
  });
  const ids: number[] = [];
  for (const slot of slots) ids.unshift((await newBooking(server, "alice", slot)).id);
  const total = 105;
  const page = async (query: Record<string, unknown>) => {
    const { items, nextCursor: _, ...rest } = await list(server, { roomId: room.id, ...query });
    return { ids: items.map(({ id }) => id), ...rest };
  };
  assert.deepEqual(await page({}), { ids: ids.slice(0, 50), total, page: 1, limit: 50 });
  assert.deepEqual(await page({ page: 3 }), { ids: ids.slice(100), total, page: 3, limit: 50 });
  assert.deepEqual(await page({ limit: 500 }), { ids: ids.slice(0, 100), total, page: 1, limit: 100 });
  assert.deepEqual(await page({ limit: 500, page: 2 }), { ids: ids.slice(100), total, page: 2, limit: 100 });
  assert.deepEqual(await page({ limit: 7, page: 99 }), { ids: [], total, page: 99, limit: 7 });
});
