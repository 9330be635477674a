import assert from "node:assert/strict";
import type { BookingStats } from "../../generated/contract.ts";
import { bookAt, missingId, newRoom } from "../support/builders.ts";
import { sharedServer, startServer, type TestServer } from "../support/server.ts";

const none = { pending: 0, confirmed: 0, cancelled: 0, completed: 0, no_show: 0 };

async function stats(server: TestServer, query: Record<string, unknown> = {}): Promise<BookingStats> {
  return await server.ok("getBookingStats", { token: await server.token("admin", "admin"), query });
}

Deno.test("getBookingStats: no bookings -> zeros for all five statuses", async () => {
  await using server = await startServer();
  const zeros = { total: 0, byStatus: none, revenue: 0, bookableMinutes: 0, bookedMinutes: 0, occupancy: null };
  assert.deepEqual(await stats(server), {
    ...zeros,
    revenueByCurrency: {},
    cancellationRate: null,
    noShowRate: null,
    byDay: [{ date: "2026-03-01", ...zeros }, { date: "2026-03-02", ...zeros }],
    byRoom: [],
  });
});

Deno.test("getBookingStats: booked in February for December -> counted in February", async () => {
  await using server = await sharedServer();
  const { id: roomId } = await bookAt(server, ["2026-02-10T10:00:00.000Z"]);
  assert.equal((await stats(server, { roomId, fromDate: "2026-02-10", toDate: "2026-02-10" })).total, 1);
  assert.equal((await stats(server, { roomId, fromDate: "2026-12-01", toDate: "2026-12-01" })).total, 0);
});

Deno.test("getBookingStats: no dates -> this month of DEFAULT_TIME_ZONE until now", async () => {
  await using server = await sharedServer({ env: { DEFAULT_TIME_ZONE: "America/New_York" } });
  // March begins at 05:00 UTC in New York.
  const lastOfFebruary = "2026-03-01T04:59:59.999Z";
  const firstOfMarch = "2026-03-01T05:00:00.000Z";
  const now = "2026-03-15T12:00:00.000Z";
  const soon = "2026-03-15T12:00:00.001Z";
  const { id: roomId } = await bookAt(server, [lastOfFebruary, firstOfMarch, now, soon]);
  for (const [time, total] of [[now, 2], [soon, 3], [lastOfFebruary, 1], [firstOfMarch, 1]] as const) {
    server.clock.set(time);
    assert.equal((await stats(server, { roomId })).total, total, time);
  }
  server.clock.set(now);
  assert.equal((await stats(server, { roomId, fromDate: "2026-02-28" })).total, 3);
});

Deno.test("getBookingStats: first to last day of the calendar -> every booking", async () => {
  await using server = await sharedServer();
  const { id: roomId } = await bookAt(server, ["2026-02-10T10:00:00.000Z", "2026-11-10T10:00:00.000Z"]);
  const { total } = await stats(server, { roomId, fromDate: "1900-01-01", toDate: "9999-12-31" });
  assert.equal(total, 2);
});

Deno.test("getBookingStats: calendar days -> days of DEFAULT_TIME_ZONE, first and last included", async (t) => {
  const zones = [
    { DEFAULT_TIME_ZONE: "UTC", dayStarts: "2026-11-01T00:00:00.000Z", dayEnds: "2026-11-02T00:00:00.000Z" },
    // On that day the clocks go back: it has 25 hours, and in Havana two midnights.
    {
      DEFAULT_TIME_ZONE: "America/New_York",
      dayStarts: "2026-11-01T04:00:00.000Z",
      dayEnds: "2026-11-02T05:00:00.000Z",
    },
    { DEFAULT_TIME_ZONE: "America/Havana", dayStarts: "2026-11-01T04:00:00.000Z", dayEnds: "2026-11-02T05:00:00.000Z" },
  ];
  for (const { DEFAULT_TIME_ZONE, dayStarts, dayEnds } of zones) {
    await t.step(DEFAULT_TIME_ZONE, async () => {
      await using server = await sharedServer({ env: { DEFAULT_TIME_ZONE } });
      const before = (instant: string) => new Date(Date.parse(instant) - 1).toISOString();
      const { id: roomId } = await bookAt(server, [before(dayStarts), dayStarts, before(dayEnds), dayEnds]);
      const total = async (query: Record<string, string>) => (await stats(server, { roomId, ...query })).total;
      assert.equal(await total({ fromDate: "2026-11-01", toDate: "2026-11-01" }), 2);
      assert.equal(await total({ fromDate: "2026-10-31", toDate: "2026-10-31" }), 1);
      assert.equal(await total({ fromDate: "2026-11-02", toDate: "2026-11-02" }), 1);
      assert.equal(await total({ fromDate: dayStarts, toDate: before(dayEnds) }), 2);
      assert.equal(await total({ fromDate: "2026-11-01T00:00:00", toDate: "2026-11-01T23:59:59.998" }), 1);
    });
  }
});

Deno.test("getBookingStats: end before start -> 400 invalid_date_range", async (t) => {
  await using server = await sharedServer();
  const token = await server.token("admin", "admin");
  const ranges = [
    ["2026-03-10", "2026-03-09"],
    ["2026-03-10", "2026-01-01"],
    ["2026-03-09T10:00:00Z", "2026-03-09T09:59:59Z"],
    ["2026-03-09", "2026-03-08T23:59:59Z"],
  ];
  for (const [fromDate, toDate] of ranges) {
    await t.step(`${fromDate} to ${toDate}`, async () => {
      const query = { fromDate, toDate };
      assert.equal((await server.refused("invalid_date_range", "getBookingStats", { token, query })).status, 400);
    });
  }
});

Deno.test("getBookingStats: toDate alone -> from the start of its month", async () => {
  await using server = await sharedServer();
  const { id: roomId } = await bookAt(server, ["2026-02-10T10:00:00Z", "2026-03-20T10:00:00Z"]);
  assert.equal((await stats(server, { roomId, toDate: "2026-02-28" })).total, 1);
  assert.equal((await stats(server, { roomId, toDate: "2026-02-09" })).total, 0);
  assert.equal((await stats(server, { roomId, toDate: "2026-03-19" })).total, 0);
});

Deno.test("getBookingStats: room without bookings and timeslots -> zeros on every day; unknown room -> 400 unknown_room", async () => {
  await using server = await sharedServer();
  await bookAt(server, ["2026-03-02T11:00:00.000Z"]);
  const range = { fromDate: "2026-03-01", toDate: "2026-03-02" };
  const { id: roomId } = await newRoom(server);
  const { byDay, byRoom, total, occupancy } = await stats(server, { ...range, roomId });
  assert.deepEqual([total, occupancy, byRoom], [0, null, []]);
  assert.deepEqual(byDay.map(({ date, total }) => [date, total]), [["2026-03-01", 0], ["2026-03-02", 0]]);
  const token = await server.token("admin", "admin");
  const unknown = { token, query: { ...range, roomId: missingId } };
  assert.equal((await server.refused("unknown_room", "getBookingStats", unknown)).status, 400);
});

Deno.test("getBookingStats: up to 366 days -> byDay, more days -> empty byDay", async () => {
  await using server = await sharedServer();
  const { id: roomId } = await bookAt(server, ["2026-02-10T10:00:00.000Z"]);
  const days = async (fromDate: string, toDate: string) => {
    const { byDay, total, byRoom } = await stats(server, { roomId, fromDate, toDate });
    assert.deepEqual([total, byRoom.length], [1, 1]);
    return byDay.length;
  };
  assert.equal(await days("2026-02-10", "2026-02-10"), 1);
  assert.equal(await days("2026-01-01", "2027-01-01"), 366);
  assert.equal(await days("2026-01-01", "2027-01-02"), 0);
  assert.equal(await days("1900-01-01", "9999-12-31"), 0);
  // Timeslots of the future can be counted, bookings made in the future cannot.
  const future = await stats(server, { roomId, fromDate: "2027-01-01", toDate: "2027-01-01" });
  assert.deepEqual([future.total, future.byDay.length], [0, 1]);
  for (const fromDate of ["2027-01-01", "2026-02-10T10:00:00.001Z"]) {
    const request = { token: await server.token("admin", "admin"), query: { roomId, fromDate } };
    const { detail } = await server.refused("invalid_date_range", "getBookingStats", request);
    assert.equal(detail, "fromDate is in the future. Give a toDate after it, too.");
  }
});
