/** Nobody holds more timeslots than they may without paying. */
import assert from "node:assert/strict";
import { type Booking, Problem, type Timeslot } from "../../generated/contract.ts";
import { parseConfig } from "../../src/config.ts";
import { allRows } from "../contract/example_calls.ts";
import { confirm, newBooking, newRoom, newTimeslots } from "../support/builders.ts";
import { checkoutIn, pay } from "../support/sandbox_payments.ts";
import { startServer, type TestServer } from "../support/server.ts";

const env = { MAX_PENDING_BOOKINGS: "5" };
const online = { ...env, PAYMENT_PROVIDER: "sandbox" };

/** Free timeslots of an hour that cost 60.00 EUR each, a whole day of them and the next. */
async function newHours(server: TestServer, fields: Record<string, unknown> = {}): Promise<Timeslot[]> {
  const room = await newRoom(server, fields);
  const workingHours = { start: "00:00", end: "24:00" };
  const first = await newTimeslots(server, room, { date: "2026-03-09", workingHours });
  return [...first, ...await newTimeslots(server, room, { date: "2026-03-10", workingHours })];
}

/** Says how booking went: `201`, or `400 too_many_pending_bookings`. */
async function book(server: TestServer, subject: string, slot: Timeslot | undefined, key?: string): Promise<string> {
  assert(slot !== undefined);
  const { status, body } = await server.call("createBooking", {
    token: await server.token(subject),
    body: { roomId: slot.roomId, timeslotId: slot.id },
    headers: key === undefined ? {} : { "Idempotency-Key": key },
  });
  return status < 400 ? String(status) : `${status} ${Problem.parse(body).code}`;
}

async function bookAll(server: TestServer, subject: string, slots: Timeslot[]): Promise<Booking[]> {
  const made: Booking[] = [];
  for (const slot of slots) made.push(await newBooking(server, subject, slot));
  return made;
}

async function pendingOf(server: TestServer, subject: string): Promise<number> {
  const query = { status: "pending", limit: 100 };
  return (await server.ok("listBookings", { token: await server.token(subject), query })).total;
}

const tooMany = "400 too_many_pending_bookings";

Deno.test("the sixth booking that waits is refused with too_many_pending_bookings, and takes nothing", async (t) => {
  for (const settings of [env, online]) {
    await t.step(JSON.stringify(settings), async () => {
      await using server = await startServer({ env: settings });
      const slots = await newHours(server);
      await bookAll(server, "alice", slots.slice(0, 5));
      const before = await allRows(server.db);
      const [, , , , , slot] = slots;
      assert(slot);
      const body = { roomId: slot.roomId, timeslotId: slot.id };
      const request = { token: await server.token("alice"), body };
      const { status, detail } = await server.refused("too_many_pending_bookings", "createBooking", request);
      assert.equal(status, 400);
      assert.match(detail, /\b5\b/);
      assert.deepEqual(await allRows(server.db), before);
      assert.equal(await book(server, "bob", slot), "201");
    });
  }
});

Deno.test("other users are not affected, and each has as many", async () => {
  await using server = await startServer({ env });
  const slots = await newHours(server);
  for (const subject of ["alice", "bob"]) {
    const own = slots.splice(0, 6);
    await bookAll(server, subject, own.slice(0, 5));
    assert.equal(await book(server, subject, own[5]), tooMany);
  }
});

for (const isKeyed of [false, true]) {
  const how = isKeyed ? ", each with an Idempotency-Key" : "";
  Deno.test(`of forty bookings at once by one user on two servers exactly five are made${how}`, async () => {
    await using first = await startServer({ env, pool: 10 });
    await using second = await startServer({ env, pool: 10, database: { url: first.databaseUrl } });
    // The first round opens the connections, so that the later ones are more at the same moment.
    for (const subject of ["alice", "bob", "carol", "dave"]) {
      const slots = (await newHours(first)).slice(0, 40);
      const outcomes = await Promise.all(slots.map((slot, index) => {
        return book(index % 2 === 0 ? first : second, subject, slot, isKeyed ? `key-${index}` : undefined);
      }));
      assert.deepEqual(outcomes.sort(), [...Array(5).fill("201"), ...Array(35).fill(tooMany)]);
      assert.equal(await pendingOf(first, subject), 5);
    }
    const rows = await first.db.selectFrom("bookings").select("id").execute();
    assert.equal(rows.length, 20);
  });
}

/** How a booking that waited no longer does. */
const ends: { name: string; settings: Record<string, string>; end: (server: TestServer, first: Booking) => unknown }[] =
  [
    {
      name: "is paid",
      settings: online,
      end: async (server, booking) => {
        const request = { token: await server.token("alice"), params: { bookingId: booking.id } };
        const { checkoutUrl } = await server.ok("createCheckout", request);
        assert(checkoutUrl !== null);
        await pay(server, { booking, checkoutUrl, checkout: checkoutIn(checkoutUrl) });
      },
    },
    { name: "is confirmed by an admin", settings: env, end: (server, booking) => confirm(server, booking) },
    {
      name: "is cancelled by its user",
      settings: env,
      end: async (server, { id: bookingId }) =>
        await server.ok("cancelBooking", { token: await server.token("alice"), params: { bookingId } }),
    },
    {
      name: "is cancelled by an admin",
      settings: env,
      end: async (server, { id: bookingId }) => {
        const token = await server.token("admin", "admin");
        await server.ok("updateBookingStatus", { token, params: { bookingId }, body: { status: "cancelled" } });
      },
    },
    {
      name: "was held for as long as it could be",
      settings: { ...online, HOLD_MINUTES: "15" },
      end: async (server, { holdExpiresAt }) => {
        assert(holdExpiresAt !== null);
        server.clock.set(holdExpiresAt);
        await server.sweep();
      },
    },
    {
      name: "waited until its timeslot started",
      settings: env,
      end: (server, { timeslot }) => server.clock.set(timeslot.startTime),
    },
  ];

for (const { name, settings, end } of ends) {
  Deno.test(`a booking that ${name} makes room for exactly one more`, async () => {
    await using server = await startServer({ env: settings });
    const slots = await newHours(server);
    const [first, ...others] = slots.splice(0, 5);
    assert(first);
    const booking = await newBooking(server, "alice", first);
    // Held for a minute longer, so that only the first one's time is over.
    server.clock.set("2026-03-02T10:01:00.000Z");
    await bookAll(server, "alice", others);
    assert.equal(await book(server, "alice", slots[0]), tooMany);
    await end(server, booking);
    assert.equal(await book(server, "alice", slots[0]), "201");
    assert.equal(await book(server, "alice", slots[1]), tooMany);
  });
}

Deno.test("a booking that moves is not another one", async () => {
  await using server = await startServer({ env });
  const slots = await newHours(server);
  const [booking] = await bookAll(server, "alice", slots.splice(0, 5));
  assert(booking);
  const token = await server.token("alice");
  for (const { id: newTimeslotId } of slots.splice(0, 3)) {
    await server.ok("rescheduleBooking", { token, params: { bookingId: booking.id }, body: { newTimeslotId } });
  }
  assert.equal(await pendingOf(server, "alice"), 5);
  assert.equal(await book(server, "alice", slots[0]), tooMany);
});

Deno.test("bookings that are confirmed at once hold nothing, and are made however many wait", async () => {
  await using server = await startServer({ env });
  const free = await newHours(server, { hourlyRate: null, autoConfirm: true });
  for (const slot of free.slice(0, 7)) assert.equal(await book(server, "alice", slot), "201");
  await bookAll(server, "alice", (await newHours(server)).slice(0, 5));
  assert.equal(await book(server, "alice", free[7]), "201");
});

Deno.test("a free booking that an admin has to confirm counts", async () => {
  await using server = await startServer({ env });
  const slots = await newHours(server, { hourlyRate: null, autoConfirm: false });
  await bookAll(server, "alice", slots.slice(0, 5));
  assert.equal(await book(server, "alice", slots[5]), tooMany);
});

Deno.test("a timeslot that is taken is refused as such, also to somebody who may hold no more", async () => {
  await using server = await startServer({ env });
  const slots = await newHours(server);
  await bookAll(server, "alice", slots.slice(0, 5));
  await newBooking(server, "bob", slots[5] ?? assert.fail());
  assert.equal(await book(server, "alice", slots[5]), "400 timeslot_unavailable");
});

Deno.test("who gives one back while they book another gets it or has too many, and is never told that it is taken", async () => {
  await using server = await startServer({ env, pool: 10 });
  const slots = await newHours(server);
  const token = await server.token("alice");
  const held = await bookAll(server, "alice", slots.splice(0, 5));
  for (let round = 0; round < 150; round++) {
    const oldest = held.shift();
    const slot = slots.shift();
    assert(oldest && slot);
    const [outcome] = await Promise.all([
      book(server, "alice", slot),
      server.ok("cancelBooking", { token, params: { bookingId: oldest.id } }),
    ]);
    assert(outcome === "201" || outcome === tooMany, `round ${round}: ${outcome}`);
    if (outcome === tooMany) assert.equal(await book(server, "alice", slot), "201");
    const { items } = await server.ok("listBookings", { token, query: { status: "pending" } });
    const newest = items.find(({ timeslotId }) => timeslotId === slot.id);
    assert(newest !== undefined && items.length === 5);
    held.push(newest);
    // What was given back is free again.
    slots.push(oldest.timeslot);
  }
});

Deno.test("MAX_PENDING_BOOKINGS is 5 unless it is set, and 0 for any number", async () => {
  assert.equal(parseConfig({}).maxPendingBookings, 5);
  const made: Record<string, number> = { "": 5, "0": 24, "1": 1 };
  for (const [MAX_PENDING_BOOKINGS, count] of Object.entries(made)) {
    await using server = await startServer({ env: { MAX_PENDING_BOOKINGS } });
    const outcomes: string[] = [];
    for (const slot of (await newHours(server)).slice(0, 24)) outcomes.push(await book(server, "alice", slot));
    assert.deepEqual(outcomes, [...Array(count).fill("201"), ...Array(24 - count).fill(tooMany)]);
  }
});
