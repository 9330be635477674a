/** `MAX_PENDING_BOOKINGS`: how many timeslots a user may hold without paying. */
import assert from "node:assert/strict";
import { sql } from "kysely";
import type { Booking, Timeslot } from "../../generated/contract.ts";
import { parseConfig } from "../../src/config.ts";
import { allRows } from "../contract/example_calls.ts";
import { confirm, newBooking } from "../support/builders.ts";
import { checkoutIn, pay } from "../support/sandbox_payments.ts";
import { sharedServer, startServer, type TestServer } from "../support/server.ts";
import { book, countPending, env, newHours, tooMany } from "./pending_bookings.ts";

const online = { ...env, PAYMENT_PROVIDER: "sandbox" };

async function bookAll(server: TestServer, subject: string, slots: Timeslot[]): Promise<Booking[]> {
  const made: Booking[] = [];
  for (const slot of slots) made.push(await newBooking(server, subject, slot));
  return made;
}

Deno.test("createBooking: a sixth pending booking -> 400 too_many_pending_bookings, nothing changes", async (t) => {
  for (const settings of [env, online]) {
    await t.step(JSON.stringify(settings), async () => {
      await using server = await sharedServer({ env: settings, group: "pending bookings" });
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
      assert.equal(await book(server, await server.token("bob"), slot), "201");
    });
  }
});

Deno.test("createBooking: another user has 5 pending bookings -> each user may have 5", async () => {
  await using server = await sharedServer({ env });
  const slots = await newHours(server);
  for (const subject of ["alice", "bob"]) {
    const own = slots.splice(0, 6);
    await bookAll(server, subject, own.slice(0, 5));
    assert.equal(await book(server, await server.token(subject), own[5]), tooMany);
  }
});

/** The ways in which a booking stops being pending. */
const ends: { name: string; settings: Record<string, string>; end: (server: TestServer, first: Booking) => unknown }[] =
  [
    {
      name: "payment",
      settings: online,
      end: async (server, booking) => {
        const request = { token: await server.token("alice"), params: { bookingId: booking.id } };
        const { checkoutUrl } = await server.ok("createCheckout", request);
        assert(checkoutUrl !== null);
        await pay(server, { booking, checkoutUrl, checkout: checkoutIn(checkoutUrl) });
      },
    },
    { name: "confirmation by an admin", settings: env, end: (server, booking) => confirm(server, booking) },
    {
      name: "cancellation by its user",
      settings: env,
      end: async (server, { id: bookingId }) =>
        await server.ok("cancelBooking", { token: await server.token("alice"), params: { bookingId } }),
    },
    {
      name: "cancellation by an admin",
      settings: env,
      end: async (server, { id: bookingId }) => {
        const token = await server.token("admin", "admin");
        await server.ok("updateBookingStatus", { token, params: { bookingId }, body: { status: "cancelled" } });
      },
    },
    {
      name: "end of its hold",
      settings: { ...online, HOLD_MINUTES: "15" },
      end: async (server, { holdExpiresAt }) => {
        assert(holdExpiresAt !== null);
        server.clock.set(holdExpiresAt);
        await server.sweep();
      },
    },
    {
      name: "start of its timeslot",
      settings: env,
      end: (server, { timeslot }) => server.clock.set(timeslot.startTime),
    },
  ];

for (const { name, settings, end } of ends) {
  Deno.test(`createBooking: ${name} of one of 5 pending bookings -> exactly one more`, async () => {
    await using server = await sharedServer({ env: settings });
    const token = await server.token("alice");
    const slots = await newHours(server);
    const [first, ...others] = slots.splice(0, 5);
    assert(first);
    const booking = await newBooking(server, "alice", first);
    // Held for a minute longer, so that only the first one's time is over.
    server.clock.set("2026-03-02T10:01:00.000Z");
    await bookAll(server, "alice", others);
    assert.equal(await book(server, token, slots[0]), tooMany);
    await end(server, booking);
    assert.equal(await book(server, token, slots[0]), "201");
    assert.equal(await book(server, token, slots[1]), tooMany);
  });
}

Deno.test("rescheduleBooking: 5 pending bookings -> moved, and still 5", async () => {
  await using server = await sharedServer({ env });
  const slots = await newHours(server);
  const [booking] = await bookAll(server, "alice", slots.splice(0, 5));
  assert(booking);
  const token = await server.token("alice");
  for (const { id: newTimeslotId } of slots.splice(0, 3)) {
    await server.ok("rescheduleBooking", { token, params: { bookingId: booking.id }, body: { newTimeslotId } });
  }
  assert.equal(await countPending(server, token), 5);
  assert.equal(await book(server, token, slots[0]), tooMany);
});

Deno.test("createBooking: rooms with autoConfirm -> no limit, and no pending booking", async () => {
  await using server = await sharedServer({ env });
  const token = await server.token("alice");
  const free = await newHours(server, { hourlyRate: null, autoConfirm: true });
  for (const slot of free.slice(0, 7)) assert.equal(await book(server, token, slot), "201");
  await bookAll(server, "alice", (await newHours(server)).slice(0, 5));
  assert.equal(await book(server, token, free[7]), "201");
});

Deno.test("createBooking: 5 free bookings that an admin must confirm -> 400 too_many_pending_bookings", async () => {
  await using server = await sharedServer({ env });
  const token = await server.token("alice");
  const slots = await newHours(server, { hourlyRate: null, autoConfirm: false });
  await bookAll(server, "alice", slots.slice(0, 5));
  assert.equal(await book(server, token, slots[5]), tooMany);
});

Deno.test("createBooking: a taken timeslot and 5 pending bookings -> 400 timeslot_unavailable", async () => {
  await using server = await sharedServer({ env });
  const token = await server.token("alice");
  const slots = await newHours(server);
  await bookAll(server, "alice", slots.slice(0, 5));
  await newBooking(server, "bob", slots[5] ?? assert.fail());
  assert.equal(await book(server, token, slots[5]), "400 timeslot_unavailable");
});

Deno.test("MAX_PENDING_BOOKINGS: unset, 0, 1 -> 5, no limit, 1", async () => {
  assert.equal(parseConfig({}).maxPendingBookings, 5);
  const made: Record<string, number> = { "": 5, "0": 24, "1": 1 };
  for (const [MAX_PENDING_BOOKINGS, count] of Object.entries(made)) {
    await using server = await sharedServer({ env: { MAX_PENDING_BOOKINGS } });
    const token = await server.token("alice");
    const outcomes: string[] = [];
    for (const slot of (await newHours(server)).slice(0, 24)) outcomes.push(await book(server, token, slot));
    assert.deepEqual(outcomes, [...Array(count).fill("201"), ...Array(24 - count).fill(tooMany)]);
  }
});

Deno.test("createBooking: no booking was pending at the last ANALYZE -> the pending bookings of others are not read", async () => {
  await using server = await startServer({ env });
  const { db } = server;
  await server.token("alice");
  const [slot] = await newHours(server);
  assert(slot);
  await sql`insert into users (subject) values ('bob')`.execute(db);
  await sql`
    insert into timeslots (room_id, starts_at, ends_at)
    select ${slot.roomId}::bigint, t, t + interval '1 minute'
    from generate_series(timestamptz '2030-01-01Z', '2030-01-04Z', '1 minute') t
  `.execute(db);
  await sql`
    insert into bookings (user_id, room_id, timeslot_id, status, price, currency, payment_status, amount_paid,
      amount_refunded, cancellation_tiers, created_at, updated_at)
    select u.id, t.room_id, t.id, 'confirmed', 0, 'EUR', 'not_required', 0, 0, '[]', t.starts_at, t.starts_at
    from timeslots t, users u where t.starts_at >= '2030-01-01Z' and u.subject = 'bob'
  `.execute(db);
  await sql`vacuum analyze bookings`.execute(db);
  await sql`update bookings set status = 'pending' where id % 2 = 0`.execute(db);
  await db.transaction().execute(async (trx) => {
    await sql`select may_hold_another(id, 5, '2026-03-02Z') from users where subject = 'bob'`.execute(trx);
    const { rows } = await sql`
      select pg_stat_get_xact_numscans('bookings_pending_idx'::regclass) as pending,
        pg_stat_get_xact_numscans('bookings_status_idx'::regclass) as status
    `.execute(trx);
    assert.deepEqual(rows, [{ pending: 2, status: 0 }]);
  });
});
