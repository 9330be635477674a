/** getBookingStats compared with a count one by one of random bookings. */
import { sql } from "kysely";
import assert from "node:assert/strict";
import type { Booking, BookingStats, BookingStatus, Room, Timeslot } from "../../generated/contract.ts";
import { newRoom, userIdOf } from "../support/builders.ts";
import { runs } from "../support/properties.ts";
import { startServer, type TestServer } from "../support/server.ts";
import { daysBetween, wallClockAt } from "../support/wall_clock_oracle.ts";

const none = { pending: 0, confirmed: 0, cancelled: 0, completed: 0, no_show: 0 };

async function stats(server: TestServer, query: Record<string, unknown> = {}): Promise<BookingStats> {
  return await server.ok("getBookingStats", { token: await server.token("admin", "admin"), query });
}

interface World {
  rooms: Room[];
  slots: Timeslot[];
  bookings: Booking[];
  timeZone: string;
}

interface Selection {
  /** Epoch milliseconds; `to` is excluded. */
  from: number;
  to: number;
  roomId?: number;
}

/** The expected statistics, counted one by one from the lists. */
function expectedStats({ rooms, slots, bookings, timeZone }: World, { from, to, roomId }: Selection): BookingStats {
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
  const notExpired = made.filter(({ cancellationReason }) => cancellationReason !== "hold_expired");
  const { no_show, completed } = all.byStatus;
  const currencies = [...new Set(made.map(({ currency }) => currency))];
  const madeByDay = Map.groupBy(made, ({ createdAt }) => dayOf(createdAt));
  const startingByDay = Map.groupBy(starting, ({ startTime }) => dayOf(startTime));
  const days = daysBetween(dayOf(new Date(from).toISOString()), dayOf(new Date(to - 1).toISOString()));
  return {
    ...all,
    revenueByCurrency: Object.fromEntries(currencies.map((currency) => [
      currency,
      cents(made.filter((each) => each.currency === currency)),
    ])),
    cancellationRate: rate(notExpired.filter(({ status }) => status === "cancelled").length, notExpired.length),
    noShowRate: rate(no_show, no_show + completed),
    byDay: days.length > 366 ? [] : days.map((date) => ({
      date,
      ...share(madeByDay.get(date) ?? [], startingByDay.get(date) ?? []),
    })),
    byRoom: rooms.toSorted((a, b) => a.name < b.name ? -1 : a.name > b.name ? 1 : a.id - b.id)
      .map(({ id, name }) => ({ id, name, made: made.filter((each) => each.roomId === id) }))
      .map((each) => ({ ...each, slots: starting.filter(({ roomId }) => roomId === each.id) }))
      .filter(({ made, slots }) => made.length + slots.length > 0)
      .map(({ id, name, made, slots }) => ({ roomId: id, name, ...share(made, slots) })),
  };
}

/** All rooms and bookings, from the lists. */
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

/** All timeslots. */
async function allTimeslots(server: TestServer): Promise<Timeslot[]> {
  const rows = await server.db.selectFrom("timeslots").select(["id", "room_id", "starts_at", "ends_at"]).orderBy("id")
    .execute();
  return rows.map(({ id, room_id: roomId, starts_at, ends_at }) => ({
    id,
    roomId,
    startTime: starts_at,
    endTime: ends_at,
  }));
}

/** The state in which a booking ends. `paid` and `refunded` are percent of its price. */
interface Fate {
  status: BookingStatus;
  paid: 0 | 100;
  refunded: 0 | 50 | 100;
  reason: "user_request" | "admin_request" | "hold_expired" | null;
}

const fates: Fate[] = [
  { status: "pending", paid: 0, refunded: 0, reason: null },
  { status: "confirmed", paid: 100, refunded: 0, reason: null },
  { status: "confirmed", paid: 100, refunded: 0, reason: null },
  { status: "completed", paid: 100, refunded: 0, reason: null },
  { status: "no_show", paid: 100, refunded: 0, reason: null },
  { status: "cancelled", paid: 0, refunded: 0, reason: "hold_expired" },
  { status: "cancelled", paid: 0, refunded: 0, reason: "user_request" },
  { status: "cancelled", paid: 100, refunded: 0, reason: "user_request" },
  { status: "cancelled", paid: 100, refunded: 50, reason: "user_request" },
  { status: "cancelled", paid: 100, refunded: 100, reason: "admin_request" },
];

interface BookingRow extends Fate {
  timeslotId: number;
  /** The price. */
  cents: number;
  currency: string;
  madeAt: string;
}

/** Inserts the bookings of alice. Their histories through the API are in `get_booking_stats_property_test.ts`. */
async function insertRows(server: TestServer, rows: BookingRow[]): Promise<void> {
  const userId = await userIdOf(server, "alice");
  await sql`
    insert into bookings (user_id, room_id, timeslot_id, status, price, currency, payment_status, amount_paid,
      amount_refunded, refund_amount, cancellation_reason, cancelled_at, cancellation_tiers, created_at, updated_at)
    select ${userId}, t.room_id, t.id, b.status, b.price, b.currency,
      (case when b.price = 0 then 'not_required' when b.amount_paid = 0 then 'unpaid' when b.refunded = 0 then 'paid'
        when b.refunded < b.amount_paid then 'partially_refunded' else 'refunded' end)::payment_status,
      b.amount_paid, b.refunded, b.refunded, b.reason, case when b.status = 'cancelled' then b.made_at end, '[]',
      b.made_at, b.made_at
    from jsonb_to_recordset(${JSON.stringify(rows.map(toRecord))}::text::jsonb) as b (timeslot_id bigint,
      status booking_status, price numeric, currency text, amount_paid numeric, refunded numeric,
      reason cancellation_reason, made_at timestamptz)
    join timeslots t on t.id = b.timeslot_id
  `.execute(server.db);
}

function toRecord({ timeslotId, status, cents, currency, paid, refunded, reason, madeAt }: BookingRow): unknown {
  const [paidCents, refundedCents] = [cents * paid / 100, Math.round(cents * refunded / 100)];
  const amounts = { price: cents / 100, amount_paid: paidCents / 100, refunded: refundedCents / 100 };
  return { timeslot_id: timeslotId, status, currency, reason, made_at: madeAt, ...amounts };
}

/** Random numbers from 0 to below 1, the same for a seed. */
function seeded(seed: number): () => number {
  // mulberry32
  return () => {
    seed = (seed + 0x6d2b79f5) | 0;
    let mixed = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** Bookings that are tried. A timeslot that is booked already gets no other one. */
const rounds = runs(35, 90);

const zones = ["America/New_York", "America/Havana", "UTC"];

for (const [index, timeZone] of zones.slice(0, runs(1, zones.length)).entries()) {
  Deno.test(`getBookingStats: random bookings, days of ${timeZone} -> every figure equals a count one by one`, async () => {
    const env = { DEFAULT_TIME_ZONE: timeZone, PAYMENT_PROVIDER: "sandbox" };
    // The clocks go back on November 1 in New York and Havana.
    await using server = await startServer({ now: "2026-10-28T10:00:00.000Z", env });
    const random = seeded(index + 1);
    const pick = <T>(list: T[]): T => list[Math.floor(random() * list.length)] ?? assert.fail();
    const admin = await server.token("admin", "admin");
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
      const workingHours = { start: "00:00", end: "24:00" };
      const rules = { startDate: "2026-10-31", endDate: "2026-11-03", slotDuration, workingHours };
      await server.ok("generateTimeslots", { token: admin, body: { roomId: room.id, ...rules } });
    }
    const slots = await allTimeslots(server);
    await newRoom(server, { name: "Nothing happens here" });

    let now = Date.parse("2026-10-28T10:00:00.000Z");
    const live = new Set<number>();
    const rows: BookingRow[] = [];
    for (let round = 0; round < rounds; round++) {
      now += Math.floor(random() * 2 * 3_600_000);
      const { id, roomId, ...slot } = pick(slots.filter(({ startTime }) => Date.parse(startTime) > now));
      if (live.has(id)) continue;
      const { hourlyRate, currency } = made.find((room) => room.id === roomId) ?? assert.fail();
      const minutes = (Date.parse(slot.endTime) - Date.parse(slot.startTime)) / 60_000;
      const cents = Math.round((hourlyRate ?? 0) * 100 * minutes / 60);
      const fate = pick(fates);
      if (fate.reason === null) live.add(id);
      rows.push({ timeslotId: id, cents, currency, ...fate, madeAt: new Date(now).toISOString() });
    }
    await insertRows(server, rows);
    const last = now;
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
    // Until now, in the month after the first bookings.
    now = Math.max(last, Date.parse("2026-11-02T12:00:00.000Z"));
    server.clock.set(new Date(now).toISOString());
    const month = expectedStats(world, { from: midnight("2026-11-01"), to: now + 1 });
    assert.deepEqual(await stats(server), month);
  });
}
