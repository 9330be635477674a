import assert from "node:assert/strict";
import fc from "fast-check";
import type { Booking, BookingStats, BookingStatus, Timeslot } from "../../generated/contract.ts";
import { bookAt, confirm, newBooking, newRoom, newTimeslots } from "../support/builders.ts";
import { startServer, type TestServer } from "../support/server.ts";

const none = { pending: 0, confirmed: 0, cancelled: 0, completed: 0, no_show: 0 };

async function stats(server: TestServer, query: Record<string, unknown> = {}): Promise<BookingStats> {
  return await server.ok("getBookingStats", { token: await server.token("admin", "admin"), query });
}

const rooms = [
  { rateCents: 3_333n, currency: "EUR", minutes: 25 },
  { rateCents: 1_999n, currency: "USD", minutes: 50 },
  { rateCents: 1_234_567n, currency: "USD", minutes: 55 },
  { rateCents: 7n, currency: "EUR", minutes: 5 },
  // 1.15 x 100 is 114.99999999999999 in binary floating point.
  { rateCents: 115n, currency: "GBP", minutes: 60 },
  { rateCents: undefined, currency: "CHF", minutes: 30 },
];

interface Fate {
  status: BookingStatus;
  isPaid: boolean;
  /** When, in seconds from the start of the timeslot, it takes its last status. */
  at: number;
  /** Who cancels it, and how much of what was paid comes back then. */
  cancelled?: { by: "user" | "admin"; percent: bigint };
}

const hour = 3_600;
const fates: Fate[] = [
  { status: "pending", isPaid: false, at: 0 },
  { status: "confirmed", isPaid: true, at: 0 },
  { status: "completed", isPaid: true, at: 1 },
  { status: "no_show", isPaid: true, at: hour },
  { status: "cancelled", isPaid: false, at: -48 * hour, cancelled: { by: "user", percent: 0n } },
  { status: "cancelled", isPaid: true, at: -24 * hour, cancelled: { by: "user", percent: 100n } },
  { status: "cancelled", isPaid: true, at: -12 * hour, cancelled: { by: "user", percent: 50n } },
  { status: "cancelled", isPaid: true, at: -1, cancelled: { by: "user", percent: 0n } },
  { status: "cancelled", isPaid: true, at: hour, cancelled: { by: "admin", percent: 100n } },
];

interface Story {
  /** Index in `rooms`. */
  room: number;
  /** Minutes from the first possible instant to the booking. */
  madeAfter: number;
  fate: Fate;
}

const story: fc.Arbitrary<Story> = fc.record({
  room: fc.nat(rooms.length - 1),
  madeAfter: fc.nat(60 * 24 * 60),
  fate: fc.constantFrom(...fates),
});

const madeAt = ({ madeAfter }: Story): number => Date.parse("2026-01-10T00:00:00.000Z") + madeAfter * 60_000;

/** Lets a story happen, through the API. */
async function tell(server: TestServer, teller: Story, slot: Timeslot): Promise<void> {
  const { fate } = teller;
  server.clock.set(new Date(madeAt(teller)).toISOString());
  const booking: Booking = await newBooking(server, "alice", slot);
  if (fate.isPaid) await confirm(server, booking);
  if (booking.status === fate.status || fate.status === "confirmed") return;
  server.clock.set(new Date(Date.parse(slot.startTime) + fate.at * 1_000).toISOString());
  const params = { bookingId: booking.id };
  if (fate.cancelled?.by === "user") {
    await server.ok("cancelBooking", { token: await server.token("alice"), params });
  } else {
    const token = await server.token("admin", "admin");
    await server.ok("updateBookingStatus", { token, params, body: { status: fate.status } });
  }
}

/** Counts the stories by hand, in whole cents. */
function recount(stories: Story[]): BookingStats {
  const byStatus = { ...none };
  const cents = new Map<string, bigint>();
  for (const { room, fate } of stories) {
    const { rateCents = 0n, currency, minutes } = rooms[room] ?? assert.fail();
    const price = (rateCents * BigInt(minutes) + 30n) / 60n;
    const paid = fate.isPaid ? price : 0n;
    const refunded = (paid * (fate.cancelled?.percent ?? 0n) + 50n) / 100n;
    byStatus[fate.status]++;
    cents.set(currency, (cents.get(currency) ?? 0n) + paid - refunded);
  }
  const inUnits = (amount: bigint) => Number(amount) / 100;
  return {
    total: stories.length,
    byStatus,
    revenue: inUnits([...cents.values()].reduce((sum, amount) => sum + amount, 0n)),
    revenueByCurrency: Object.fromEntries([...cents].map(([currency, amount]) => [currency, inUnits(amount)])),
  };
}

Deno.test("getBookingStats equals a recount by hand, to the cent, whatever happened to the bookings", async () => {
  const history = fc.asyncProperty(
    fc.array(story, { minLength: 8, maxLength: 24 }),
    fc.array(fc.tuple(fc.nat(), fc.nat()), { minLength: 4, maxLength: 4 }),
    async (stories, picks) => {
      await using server = await startServer();
      const slots = new Map<number, Timeslot[]>();
      for (const [index, { rateCents, currency, minutes }] of rooms.entries()) {
        const hourlyRate = rateCents === undefined ? null : Number(rateCents) / 100;
        const room = await newRoom(server, { hourlyRate, currency });
        const rules = { date: "2026-03-20", slotDuration: minutes, workingHours: { start: "00:00", end: "24:00" } };
        slots.set(index, await newTimeslots(server, room, rules));
      }
      for (const each of stories) await tell(server, each, slots.get(each.room)?.shift() ?? assert.fail());

      const everything = { fromDate: "2026-01-01", toDate: "2026-12-31" };
      assert.deepEqual(await stats(server, everything), recount(stories));
      // Ranges that begin and end exactly with a booking: both are counted.
      for (const pick of picks) {
        const [from, to] = pick.map((index) => madeAt(stories[index % stories.length] ?? assert.fail()))
          .sort((a, b) => a - b);
        assert(from !== undefined && to !== undefined);
        const range = { fromDate: new Date(from).toISOString(), toDate: new Date(to).toISOString() };
        const expected = recount(stories.filter((each) => madeAt(each) >= from && madeAt(each) <= to));
        assert.deepEqual(await stats(server, range), expected, JSON.stringify(range));
      }
    },
  );
  await fc.assert(history, { numRuns: 4, endOnFailure: true });
});

Deno.test("getBookingStats answers zeros for all five statuses when there is nothing to count", async () => {
  await using server = await startServer();
  assert.deepEqual(await stats(server), { total: 0, byStatus: none, revenue: 0, revenueByCurrency: {} });
});

Deno.test("getBookingStats counts a booking by when it was made, whenever its timeslot is", async () => {
  await using server = await startServer();
  await bookAt(server, ["2026-02-10T10:00:00.000Z"]);
  assert.equal((await stats(server, { fromDate: "2026-02-10", toDate: "2026-02-10" })).total, 1);
  assert.equal((await stats(server, { fromDate: "2026-12-01", toDate: "2026-12-01" })).total, 0);
});

Deno.test("getBookingStats counts this month of the default time zone until now when there are no dates", async () => {
  await using server = await startServer({ env: { DEFAULT_TIME_ZONE: "America/New_York" } });
  // March begins at 05:00 UTC in New York.
  const lastOfFebruary = "2026-03-01T04:59:59.999Z";
  const firstOfMarch = "2026-03-01T05:00:00.000Z";
  const now = "2026-03-15T12:00:00.000Z";
  const soon = "2026-03-15T12:00:00.001Z";
  await bookAt(server, [lastOfFebruary, firstOfMarch, now, soon]);
  for (const [time, total] of [[now, 2], [soon, 3], [lastOfFebruary, 1], [firstOfMarch, 1]] as const) {
    server.clock.set(time);
    assert.equal((await stats(server)).total, total, time);
  }
  server.clock.set(now);
  assert.equal((await stats(server, { fromDate: "2026-02-28" })).total, 3);
});

Deno.test("getBookingStats counts everything from the first day of the calendar to its last", async () => {
  await using server = await startServer();
  await bookAt(server, ["2026-02-10T10:00:00.000Z", "2026-11-10T10:00:00.000Z"]);
  const { total } = await stats(server, { fromDate: "1900-01-01", toDate: "9999-12-31" });
  assert.equal(total, 2);
});

Deno.test("getBookingStats takes a calendar day of the default time zone, both days included", async (t) => {
  const zones = [
    { DEFAULT_TIME_ZONE: "UTC", dayStarts: "2026-11-01T00:00:00.000Z", dayEnds: "2026-11-02T00:00:00.000Z" },
    // The clocks go back in both on that day: it has 25 hours, and in Havana two midnights.
    {
      DEFAULT_TIME_ZONE: "America/New_York",
      dayStarts: "2026-11-01T04:00:00.000Z",
      dayEnds: "2026-11-02T05:00:00.000Z",
    },
    { DEFAULT_TIME_ZONE: "America/Havana", dayStarts: "2026-11-01T04:00:00.000Z", dayEnds: "2026-11-02T05:00:00.000Z" },
  ];
  for (const { DEFAULT_TIME_ZONE, dayStarts, dayEnds } of zones) {
    await t.step(DEFAULT_TIME_ZONE, async () => {
      await using server = await startServer({ env: { DEFAULT_TIME_ZONE } });
      const before = (instant: string) => new Date(Date.parse(instant) - 1).toISOString();
      await bookAt(server, [before(dayStarts), dayStarts, before(dayEnds), dayEnds]);
      const total = async (query: Record<string, string>) => (await stats(server, query)).total;
      assert.equal(await total({ fromDate: "2026-11-01", toDate: "2026-11-01" }), 2);
      assert.equal(await total({ fromDate: "2026-10-31", toDate: "2026-10-31" }), 1);
      assert.equal(await total({ fromDate: "2026-11-02", toDate: "2026-11-02" }), 1);
      assert.equal(await total({ fromDate: dayStarts, toDate: before(dayEnds) }), 2);
      assert.equal(await total({ fromDate: "2026-11-01T00:00:00", toDate: "2026-11-01T23:59:59.998" }), 1);
    });
  }
});

Deno.test("getBookingStats answers 400 invalid_date_range when the range ends before it starts", async (t) => {
  await using server = await startServer();
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

Deno.test("getBookingStats with an end alone counts the month in which the range ends", async () => {
  await using server = await startServer();
  await bookAt(server, ["2026-02-10T10:00:00Z", "2026-03-20T10:00:00Z"]);
  assert.equal((await stats(server, { toDate: "2026-02-28" })).total, 1);
  assert.equal((await stats(server, { toDate: "2026-02-09" })).total, 0);
  assert.equal((await stats(server, { toDate: "2026-03-19" })).total, 0);
});
