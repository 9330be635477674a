/** getBookingStats compared with a recount of random histories. */
import assert from "node:assert/strict";
import fc from "fast-check";
import type { Booking, BookingStats, BookingStatus, Timeslot } from "../../generated/contract.ts";
import { confirm, newBooking, newRoom, newTimeslots } from "../support/builders.ts";
import { runs } from "../support/properties.ts";
import { sharedServer, type TestServer } from "../support/server.ts";

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
  /** Time of its last status, in seconds from the start of the timeslot. */
  at: number;
  /** The person who cancels it, and the percentage that is refunded. */
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
  /** Minutes from January 10 to the booking. */
  madeAfter: number;
  fate: Fate;
}

const story: fc.Arbitrary<Story> = fc.record({
  room: fc.nat(rooms.length - 1),
  madeAfter: fc.nat(60 * 24 * 60),
  fate: fc.constantFrom(...fates),
});

const madeAt = ({ madeAfter }: Story, year: number): number => Date.UTC(year, 0, 10) + madeAfter * 60_000;

interface Chapter {
  story: Story;
  year: number;
  slot: Timeslot;
}

/** Makes the booking of a story through the API. */
async function makeBooking(server: TestServer, { story, year, slot }: Chapter): Promise<void> {
  const { fate } = story;
  server.clock.set(new Date(madeAt(story, year)).toISOString());
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

/** Counts the stories, in whole cents. */
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

/** Each run has a year of its own, in which no other test books. */
let lastYear = 2100;

Deno.test("getBookingStats: any history of bookings -> equals a recount to the cent", async () => {
  await using server = await sharedServer();
  const history = fc.asyncProperty(
    fc.array(story, { minLength: 8, maxLength: 24 }),
    fc.array(fc.tuple(fc.nat(), fc.nat()), { minLength: 4, maxLength: 4 }),
    async (stories, picks) => {
      const year = ++lastYear;
      const slots = new Map<number, Timeslot[]>();
      for (const [index, { rateCents, currency, minutes }] of rooms.entries()) {
        const hourlyRate = rateCents === undefined ? null : Number(rateCents) / 100;
        const room = await newRoom(server, { hourlyRate, currency });
        const rules = { date: `${year}-03-20`, slotDuration: minutes, workingHours: { start: "00:00", end: "24:00" } };
        slots.set(index, await newTimeslots(server, room, rules));
      }
      for (const each of stories) {
        await makeBooking(server, { story: each, year, slot: slots.get(each.room)?.shift() ?? assert.fail() });
      }

      const everything = { fromDate: `${year}-01-01`, toDate: `${year}-12-31` };
      assert.deepEqual(counted(await stats(server, everything)), recount(stories));
      // Ranges that start and end at the instant of a booking include it.
      for (const pick of picks) {
        const [from, to] = pick.map((index) => madeAt(stories[index % stories.length] ?? assert.fail(), year))
          .sort((a, b) => a - b);
        assert(from !== undefined && to !== undefined);
        const range = { fromDate: new Date(from).toISOString(), toDate: new Date(to).toISOString() };
        const expected = recount(stories.filter((each) => madeAt(each, year) >= from && madeAt(each, year) <= to));
        assert.deepEqual(counted(await stats(server, range)), expected, JSON.stringify(range));
      }
    },
  );
  await fc.assert(history, { numRuns: runs(2, 4), endOnFailure: true });
});
