import assert from "node:assert/strict";
import fc from "fast-check";
import { sql } from "kysely";
import type { Booking, BookingStats, BookingStatus, Room, Timeslot } from "../../generated/contract.ts";
import { bookAt, confirm, newBooking, newRoom, newTimeslots } from "../support/builders.ts";
import { untilWaiting } from "../support/database.ts";
import { startServer, type TestServer } from "../support/server.ts";
import { daysBetween, wallClockAt } from "../support/wall_clock_oracle.ts";

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

type Counted = Pick<BookingStats, "total" | "byStatus" | "revenue" | "revenueByCurrency">;

function counted({ total, byStatus, revenue, revenueByCurrency }: BookingStats): Counted {
  return { total, byStatus, revenue, revenueByCurrency };
}

/** Counts the stories by hand, in whole cents. */
function recount(stories: Story[]): Counted {
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
      assert.deepEqual(counted(await stats(server, everything)), recount(stories));
      // Ranges that begin and end exactly with a booking: both are counted.
      for (const pick of picks) {
        const [from, to] = pick.map((index) => madeAt(stories[index % stories.length] ?? assert.fail()))
          .sort((a, b) => a - b);
        assert(from !== undefined && to !== undefined);
        const range = { fromDate: new Date(from).toISOString(), toDate: new Date(to).toISOString() };
        const expected = recount(stories.filter((each) => madeAt(each) >= from && madeAt(each) <= to));
        assert.deepEqual(counted(await stats(server, range)), expected, JSON.stringify(range));
      }
    },
  );
  await fc.assert(history, { numRuns: 4, endOnFailure: true });
});

Deno.test("getBookingStats answers zeros for all five statuses when there is nothing to count", async () => {
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

interface World {
  rooms: Room[];
  slots: Timeslot[];
  bookings: Booking[];
  timeZone: string;
}

interface Wanted {
  /** Instants in milliseconds, the last one not included. */
  from: number;
  to: number;
  roomId?: number;
}

/** What the statistics have to be, counted one by one from what lists answer. */
function expectedStats({ rooms, slots, bookings, timeZone }: World, { from, to, roomId }: Wanted): BookingStats {
  const within = (time: string) => from <= Date.parse(time) && Date.parse(time) < to;
  const dayOf = (time: string) => wallClockAt(timeZone, Date.parse(time)).slice(0, 10);
  const made = bookings.filter((each) => within(each.createdAt) && each.roomId === (roomId ?? each.roomId));
  const starting = slots.filter((each) => within(each.startTime) && each.roomId === (roomId ?? each.roomId));
  const live = new Set(bookings.filter(({ status }) => status !== "cancelled").map(({ timeslotId }) => timeslotId));
  const active = new Set(rooms.filter(({ isActive }) => isActive).map(({ id }) => id));
  const rate = (part: number, whole: number) => whole === 0 ? null : Number((part / whole).toFixed(4));
  const cents = (list: Booking[]) =>
    list.reduce((sum, { amountPaid, amountRefunded }) => sum + Math.round((amountPaid - amountRefunded) * 100), 0) /
    100;
  const minutes = (list: Timeslot[]) =>
    list.reduce((sum, { startTime, endTime }) => sum + (Date.parse(endTime) - Date.parse(startTime)) / 60_000, 0);
  const share = (made: Booking[], slots: Timeslot[]) => {
    const byStatus = { ...none };
    for (const { status } of made) byStatus[status]++;
    const bookableMinutes = minutes(slots.filter(({ id, roomId }) => active.has(roomId) || live.has(id)));
    const bookedMinutes = minutes(slots.filter(({ id }) => live.has(id)));
    const occupancy = rate(bookedMinutes, bookableMinutes);
    return { total: made.length, byStatus, revenue: cents(made), bookableMinutes, bookedMinutes, occupancy };
  };
  const all = share(made, starting);
  const lasting = made.filter(({ cancellationReason }) => cancellationReason !== "hold_expired");
  const { no_show, completed } = all.byStatus;
  const currencies = [...new Set(made.map(({ currency }) => currency))];
  const days = daysBetween(dayOf(new Date(from).toISOString()), dayOf(new Date(to - 1).toISOString()));
  return {
    ...all,
    revenueByCurrency: Object.fromEntries(currencies.map((currency) => [
      currency,
      cents(made.filter((each) => each.currency === currency)),
    ])),
    cancellationRate: rate(lasting.filter(({ status }) => status === "cancelled").length, lasting.length),
    noShowRate: rate(no_show, no_show + completed),
    byDay: days.length > 366 ? [] : days.map((date) => ({
      date,
      ...share(
        made.filter(({ createdAt }) => dayOf(createdAt) === date),
        starting.filter(({ startTime }) => dayOf(startTime) === date),
      ),
    })),
    byRoom: rooms.toSorted((a, b) => a.name < b.name ? -1 : a.name > b.name ? 1 : a.id - b.id)
      .map(({ id, name }) => ({ id, name, made: made.filter((each) => each.roomId === id) }))
      .map((each) => ({ ...each, slots: starting.filter(({ roomId }) => roomId === each.id) }))
      .filter(({ made, slots }) => made.length + slots.length > 0)
      .map(({ id, name, made, slots }) => ({ roomId: id, name, ...share(made, slots) })),
  };
}

/** Everything that the lists know. */
async function worldOf(server: TestServer, slots: Timeslot[], timeZone: string): Promise<World> {
  const token = await server.token("admin", "admin");
  const bookings: Booking[] = [];
  for (let page = 1;; page++) {
    const { items } = await server.ok("listAllBookings", { token, query: { page, limit: 100 } });
    bookings.push(...items);
    if (items.length < 100) break;
  }
  const { items: rooms } = await server.ok("listRooms", { query: { active: false, limit: 100 } });
  return { rooms, slots, bookings, timeZone };
}

/** A number from 0 to below 1, the same ones each time. */
function seeded(seed: number): () => number {
  // mulberry32
  return () => {
    seed = (seed + 0x6d2b79f5) | 0;
    let mixed = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

for (const [seed, timeZone] of [[1, "America/New_York"], [2, "UTC"], [3, "America/Havana"]] as const) {
  Deno.test(`getBookingStats equals a count one by one of every figure, in ${timeZone}`, async () => {
    const env = { DEFAULT_TIME_ZONE: timeZone, PAYMENT_PROVIDER: "sandbox" };
    // The clocks go back on November 1 in New York and Havana.
    await using server = await startServer({ now: "2026-10-28T10:00:00.000Z", env });
    const random = seeded(seed);
    const pick = <T>(list: T[]): T => list[Math.floor(random() * list.length)] ?? assert.fail();
    const admin = await server.token("admin", "admin");
    const slots: Timeslot[] = [];
    const layouts = [
      { name: "B", hourlyRate: 33.33, currency: "EUR", slotDuration: 45, timeZone: "Europe/Berlin" },
      { name: "A", hourlyRate: 19.99, currency: "USD", slotDuration: 200, timeZone },
      { name: "B", hourlyRate: null, currency: "CHF", slotDuration: 90, timeZone: "Asia/Tokyo" },
      { name: "Closed", hourlyRate: 60, currency: "EUR", slotDuration: 240, timeZone },
    ];
    const made: Room[] = [];
    for (const { slotDuration, ...fields } of layouts) {
      const room = await newRoom(server, fields);
      made.push(room);
      for (const day of ["2026-10-31", "2026-11-01", "2026-11-02", "2026-11-03"]) {
        const workingHours = { start: "00:00", end: "24:00" };
        slots.push(...await newTimeslots(server, room, { date: day, slotDuration, workingHours }));
      }
    }
    await newRoom(server, { name: "Nothing happens here" });

    let now = Date.parse("2026-10-28T10:00:00.000Z");
    const set = (time: number) => server.clock.set(new Date(now = time).toISOString());
    for (let round = 0; round < 90; round++) {
      set(now + Math.floor(random() * 2 * 3_600_000));
      const slot = pick(slots.filter(({ startTime }) => Date.parse(startTime) > now));
      const token = await server.token("alice");
      const body = { roomId: slot.roomId, timeslotId: slot.id };
      const { status, body: answer } = await server.call("createBooking", { token, body });
      if (status !== 201) continue;
      const { booking } = answer as { booking: Booking };
      const params = { bookingId: booking.id };
      const fate = pick(["wait", "confirm", "confirm", "confirm", "cancel", "refund", "close"]);
      if (fate !== "wait" && fate !== "cancel") await confirm(server, booking);
      if (fate === "cancel" || fate === "refund") await server.ok("cancelBooking", { token, params });
      if (fate === "close") {
        const body = { status: pick(["completed", "no_show", "cancelled"]) };
        const before = now;
        set(Date.parse(booking.timeslot.startTime));
        await server.ok("updateBookingStatus", { token: admin, params, body });
        set(before);
      }
    }
    const last = now;
    await server.sweep();
    await server.ok("deleteRoom", { token: admin, params: { roomId: made[3]?.id } });
    const world = await worldOf(server, slots, timeZone);
    const reasons = new Set(world.bookings.map(({ cancellationReason }) => cancellationReason));
    assert.deepEqual([...reasons].map(String).sort(), ["admin_request", "hold_expired", "null", "user_request"]);

    const midnight = (day: string) => Temporal.PlainDate.from(day).toZonedDateTime(timeZone).epochMilliseconds;
    const next = (day: string) => Temporal.PlainDate.from(day).add({ days: 1 }).toString();
    for (
      const [fromDate, toDate] of [
        ["2026-10-28", "2026-11-04"],
        ["2026-11-01", "2026-11-01"],
        ["2026-10-31", "2026-11-02"],
        ["2026-01-01", "2027-01-01"],
        ["2026-01-01", "2027-01-02"],
      ] as const
    ) {
      const range = { from: midnight(fromDate), to: midnight(next(toDate)) };
      const expected = expectedStats(world, range);
      assert.deepEqual(await stats(server, { fromDate, toDate }), expected, `${fromDate} to ${toDate}`);
      for (const { id: roomId } of made) {
        const ofRoom = expectedStats(world, { ...range, roomId });
        assert.deepEqual(await stats(server, { fromDate, toDate, roomId }), ofRoom, `room ${roomId}`);
      }
    }
    const [from, to] = ["2026-10-31T13:20:00.000Z", "2026-11-02T07:45:00.000Z"];
    const between = expectedStats(world, { from: Date.parse(from), to: Date.parse(to) + 1 });
    assert.deepEqual(await stats(server, { fromDate: from, toDate: to }), between);
    // Until now, which lies in the month after the first bookings.
    set(Math.max(last, Date.parse("2026-11-02T12:00:00.000Z")));
    const month = expectedStats(world, { from: midnight("2026-11-01"), to: now + 1 });
    assert.deepEqual(await stats(server), month);
  });
}

Deno.test("getBookingStats of a room that does not exist has zeros on every day", async () => {
  await using server = await startServer();
  await bookAt(server, ["2026-03-02T11:00:00.000Z"]);
  const range = { fromDate: "2026-03-01", toDate: "2026-03-02" };
  const { byDay, byRoom, total, occupancy } = await stats(server, { ...range, roomId: Number.MAX_SAFE_INTEGER });
  assert.deepEqual([total, occupancy, byRoom], [0, null, []]);
  assert.deepEqual(byDay.map(({ date, total }) => [date, total]), [["2026-03-01", 0], ["2026-03-02", 0]]);
});

Deno.test("getBookingStats tells days apart up to 366 of them, and never what has no end", async () => {
  await using server = await startServer();
  await bookAt(server, ["2026-02-10T10:00:00.000Z"]);
  const days = async (fromDate: string, toDate: string) => {
    const { byDay, total, byRoom } = await stats(server, { fromDate, toDate });
    assert.deepEqual([total, byRoom.length], [1, 1]);
    return byDay.length;
  };
  assert.equal(await days("2026-02-10", "2026-02-10"), 1);
  assert.equal(await days("2026-01-01", "2027-01-01"), 366);
  assert.equal(await days("2026-01-01", "2027-01-02"), 0);
  assert.equal(await days("1900-01-01", "9999-12-31"), 0);
  const future = await stats(server, { fromDate: "2027-01-01" });
  assert.deepEqual([future.total, future.byDay], [0, []]);
});

Deno.test("getBookingStats leaves the database to other requests, however many ask for it", async () => {
  await using server = await startServer({ pool: 4 });
  await bookAt(server, ["2026-03-02T11:00:00.000Z"]);
  const token = await server.token("admin", "admin");
  await server.ok("getMe", { token });
  const counts = await server.db.transaction().execute(async (trx) => {
    await sql`lock table bookings in access exclusive mode`.execute(trx);
    const waiting = Array.from({ length: 10 }, () => server.ok("getBookingStats", { token }));
    await untilWaiting(server.db, 1);
    for (let request = 0; request < 10; request++) assert.equal((await server.ok("listRooms", {})).total, 1);
    await untilWaiting(server.db, 1);
    return waiting;
  });
  for (const { total } of await Promise.all(counts)) assert.equal(total, 1);
});
