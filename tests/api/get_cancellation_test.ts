/** getCancellation: what it says is what the cancellation that follows gives back. */
import fc from "fast-check";
import { sql } from "kysely";
import assert from "node:assert/strict";
import type { Booking, BookingStatus, Cancellation, Timeslot } from "../../generated/contract.ts";
import { confirm, newBooking, newRoom, newRoomWithTimeslot, newTimeslots } from "../support/builders.ts";
import { newCheckout, pay, reportRefund } from "../support/sandbox_payments.ts";
import { startServer, type TestServer } from "../support/server.ts";

const hour = 3_600_000;
const start = "2026-03-02T10:00:00.000Z";

/** Moves the clock to so many milliseconds before the start. */
function goTo(server: TestServer, { startTime }: Timeslot, ahead: number): void {
  server.clock.set(before({ startTime }, ahead));
}

function before({ startTime }: { startTime: string }, ahead: number): string {
  return new Date(Date.parse(startTime) - ahead).toISOString();
}

async function quote(server: TestServer, { id: bookingId }: Booking): Promise<Cancellation> {
  return await server.ok("getCancellation", { token: await server.token("alice"), params: { bookingId } });
}

async function cancel(server: TestServer, { id: bookingId }: Booking): Promise<number> {
  const request = { token: await server.token("alice"), params: { bookingId } };
  return (await server.ok("cancelBooking", request)).refundAmount;
}

Deno.test("getCancellation tells the tier that applies, to the millisecond, and when the next one begins", async (t) => {
  await using server = await startServer();
  const { timeslot } = await newRoomWithTimeslot(server, { hourlyRate: 59.99 });
  const booking = await confirm(server, await newBooking(server, "alice", timeslot));
  const rest = { bookingId: booking.id, currency: "EUR" };
  const all = { refundPercent: 100, tierHours: 24, nextTierAt: before(timeslot, 24 * hour), nextRefundPercent: 50 };
  const half = { refundPercent: 50, tierHours: 12, nextTierAt: before(timeslot, 12 * hour), nextRefundPercent: 0 };
  const none = { refundPercent: 0, tierHours: null, nextTierAt: null, nextRefundPercent: null };
  const cases = [
    { ahead: 160 * hour, expected: { ...rest, ...all, refundAmount: 59.99 } },
    { ahead: 24 * hour + 1, expected: { ...rest, ...all, refundAmount: 59.99 } },
    { ahead: 24 * hour, expected: { ...rest, ...all, refundAmount: 59.99 } },
    { ahead: 24 * hour - 1, expected: { ...rest, ...half, refundAmount: 30 } },
    { ahead: 12 * hour, expected: { ...rest, ...half, refundAmount: 30 } },
    { ahead: 12 * hour - 1, expected: { ...rest, ...none, refundAmount: 0 } },
    { ahead: 1, expected: { ...rest, ...none, refundAmount: 0 } },
  ];
  for (const { ahead, expected } of cases) {
    await t.step(`${ahead} ms before: ${expected.refundPercent} %`, async () => {
      goTo(server, timeslot, ahead);
      assert.deepEqual(await quote(server, booking), expected);
    });
  }
  goTo(server, timeslot, 200 * hour);
  const request = { token: await server.token("alice"), params: { bookingId: booking.id } };
  assert.deepEqual(await server.ok("getBooking", request), booking, "to ask changes nothing");
});

Deno.test("getCancellation knows a tier of 0 hours, which holds until the start: there is no next one", async () => {
  await using server = await startServer({ env: { CANCELLATION_TIERS: "2:80,0:25" } });
  const { timeslot } = await newRoomWithTimeslot(server);
  const booking = await confirm(server, await newBooking(server, "alice", timeslot));
  const rest = { bookingId: booking.id, currency: "EUR" };
  goTo(server, timeslot, 2 * hour);
  assert.deepEqual(await quote(server, booking), {
    ...rest,
    refundAmount: 48,
    refundPercent: 80,
    tierHours: 2,
    nextTierAt: before(timeslot, 2 * hour),
    nextRefundPercent: 25,
  });
  for (const ahead of [2 * hour - 1, 1]) {
    goTo(server, timeslot, ahead);
    const last = { refundAmount: 15, refundPercent: 25, tierHours: 0, nextTierAt: null, nextRefundPercent: null };
    assert.deepEqual(await quote(server, booking), { ...rest, ...last });
  }
  assert.equal(await cancel(server, booking), 15);
});

Deno.test("getCancellation knows parts of hours and of percents, and rounds half a cent up", async (t) => {
  await using server = await startServer({ env: { CANCELLATION_TIERS: "1.1:10,48:100,24.25:75.5" } });
  const { timeslot } = await newRoomWithTimeslot(server, { hourlyRate: 0.2 });
  const cases = [
    { ahead: 24.25 * hour, expected: [0.15, 75.5, 24.25, before(timeslot, 87_300_000), 10] },
    { ahead: 24.25 * hour - 1, expected: [0.02, 10, 1.1, before(timeslot, 3_960_000), 0] },
    { ahead: 3_960_000, expected: [0.02, 10, 1.1, before(timeslot, 3_960_000), 0] },
    { ahead: 3_959_999, expected: [0, 0, null, null, null] },
  ];
  for (const { ahead, expected } of cases) {
    await t.step(`${ahead / hour} hours before`, async () => {
      server.clock.set(start);
      const booking = await confirm(server, await newBooking(server, "alice", timeslot));
      goTo(server, timeslot, ahead);
      const { refundAmount, refundPercent, tierHours, nextTierAt, nextRefundPercent } = await quote(server, booking);
      assert.deepEqual([refundAmount, refundPercent, tierHours, nextTierAt, nextRefundPercent], expected);
      assert.equal(await cancel(server, booking), refundAmount);
    });
  }
});

Deno.test("getCancellation says 0 for a booking of which nothing was paid, with the tier all the same", async () => {
  await using server = await startServer({ env: { PAYMENT_PROVIDER: "sandbox" } });
  const { timeslot: waiting } = await newRoomWithTimeslot(server);
  const { timeslot: free } = await newRoomWithTimeslot(server, {
    hourlyRate: null,
    currency: "CHF",
    autoConfirm: true,
  });
  const { booking: unpaid } = await newCheckout(server, "alice", waiting);
  const costless = await newBooking(server, "alice", free);
  for (const booking of [unpaid, costless]) {
    assert.deepEqual(await quote(server, booking), {
      bookingId: booking.id,
      refundAmount: 0,
      currency: booking.currency,
      refundPercent: 100,
      tierHours: 24,
      nextTierAt: before(booking.timeslot, 24 * hour),
      nextRefundPercent: 50,
    });
    assert.equal(await cancel(server, booking), 0);
  }
});

Deno.test("getCancellation leaves out what the operator has given back at the provider already", async (t) => {
  await using server = await startServer({ env: { PAYMENT_PROVIDER: "sandbox" } });
  const slots = await newTimeslots(server, await newRoom(server), { date: "2026-03-09" });
  const cases = [
    { given: 2_500, ahead: 24 * hour, refund: 35 },
    { given: 2_500, ahead: 24 * hour - 1, refund: 5 },
    { given: 3_000, ahead: 24 * hour - 1, refund: 0 },
    { given: 4_000, ahead: 24 * hour - 1, refund: 0 },
    { given: 6_000, ahead: 24 * hour, refund: 0 },
    { given: 1, ahead: 1, refund: 0 },
  ];
  for (const [index, { given, ahead, refund }] of cases.entries()) {
    await t.step(`${given / 100} of 60 given back: ${refund} ${ahead} ms before`, async () => {
      server.clock.set(start);
      const slot = slots[index];
      assert(slot);
      const checkout = await newCheckout(server, "alice", slot);
      await pay(server, checkout);
      await reportRefund(server, checkout, given);
      goTo(server, slot, ahead);
      assert.equal((await quote(server, checkout.booking)).refundAmount, refund);
      assert.equal(await cancel(server, checkout.booking), refund);
    });
  }
});

Deno.test("getCancellation follows a booking to another timeslot, and keeps to the tiers that it was made with", async () => {
  await using server = await startServer();
  const room = await newRoom(server);
  const [first] = await newTimeslots(server, room, { date: "2026-03-09" });
  const [later] = await newTimeslots(server, room, { date: "2026-03-11" });
  assert(first && later);
  const booking = await confirm(server, await newBooking(server, "alice", first));
  await using other = await startServer({
    database: { url: server.databaseUrl },
    env: { CANCELLATION_TIERS: "1:1" },
    now: before(first, 20 * hour),
  });
  assert.equal((await quote(other, booking)).refundPercent, 50);
  const request = { token: await other.token("alice"), params: { bookingId: booking.id } };
  await other.ok("rescheduleBooking", { ...request, body: { newTimeslotId: later.id } });
  const { refundPercent, nextTierAt } = await quote(other, booking);
  assert.deepEqual([refundPercent, nextTierAt], [100, before(later, 24 * hour)]);
});

Deno.test("getCancellation answers 400 booking_not_cancellable when there is nothing to cancel any more", async (t) => {
  await using server = await startServer();
  const token = await server.token("alice");
  const admin = await server.token("admin", "admin");
  const ends: BookingStatus[] = ["cancelled", "completed", "no_show"];
  for (const status of ends) {
    await t.step(status, async () => {
      server.clock.set(start);
      const { timeslot } = await newRoomWithTimeslot(server);
      const params = { bookingId: (await confirm(server, await newBooking(server, "alice", timeslot))).id };
      server.clock.set(timeslot.startTime);
      await server.ok("updateBookingStatus", { token: admin, params, body: { status } });
      server.clock.set(start);
      for (const each of [token, admin]) {
        const problem = await server.refused("booking_not_cancellable", "getCancellation", { token: each, params });
        assert.equal(problem.status, 400);
      }
    });
  }
  await t.step("it has started", async () => {
    server.clock.set(start);
    const { timeslot } = await newRoomWithTimeslot(server);
    const booking = await newBooking(server, "alice", timeslot);
    goTo(server, timeslot, 1);
    await quote(server, booking);
    for (const ahead of [0, -1]) {
      goTo(server, timeslot, ahead);
      await server.refused("booking_not_cancellable", "getCancellation", { token, params: { bookingId: booking.id } });
    }
  });
});

Deno.test("getCancellation tells an admin what it tells the user, and anybody else 403 not_booking_owner", async () => {
  await using server = await startServer();
  const { timeslot } = await newRoomWithTimeslot(server);
  const booking = await confirm(server, await newBooking(server, "alice", timeslot));
  goTo(server, timeslot, 20 * hour);
  const params = { bookingId: booking.id };
  const told = await quote(server, booking);
  assert.equal(told.refundPercent, 50);
  assert.deepEqual(await server.ok("getCancellation", { token: await server.token("admin", "admin"), params }), told);
  const request = { token: await server.token("bob"), params };
  assert.equal((await server.refused("not_booking_owner", "getCancellation", request)).status, 403);
});

Deno.test("getCancellation answers 404 booking_not_found for a booking that is not there", async () => {
  await using server = await startServer();
  for (const token of [await server.token("alice"), await server.token("admin", "admin")]) {
    const request = { token, params: { bookingId: 1 } };
    assert.equal((await server.refused("booking_not_found", "getCancellation", request)).status, 404);
  }
});

/** Up to 150 hours, with parts down to a ten-thousandth, and each number of hours once; the earliest first. */
const tiers = fc.uniqueArray(
  fc.record({
    hours: fc.oneof(
      fc.integer({ min: 0, max: 150 }),
      fc.integer({ min: 0, max: 15_000 }).map((hundredths) => hundredths / 100),
      fc.integer({ min: 0, max: 1_500_000 }).map((parts) => parts / 10_000),
    ),
    percent: fc.oneof(
      fc.integer({ min: 0, max: 100 }),
      fc.integer({ min: 0, max: 1_000 }).map((tenths) => tenths / 10),
    ),
  }),
  { maxLength: 5, selector: ({ hours }) => hours },
).map((all) => all.sort((a, b) => b.hours - a.hours));

/** Milliseconds before the start down to which a tier holds. */
const holdsUntil = ({ hours }: { hours: number }) => Math.ceil(Math.round(hours * 10_000) * 360);

Deno.test("for any price, tiers and moment a cancellation gives back what was told before, until nextTierAt and not longer", async () => {
  await using server = await startServer({ env: { PAYMENT_PROVIDER: "sandbox" } });
  const room = await newRoom(server);
  const [slot] = await newTimeslots(server, room, { date: "2026-03-09" });
  assert(slot);
  const admin = await server.token("admin", "admin");
  const scenario = fc.record({
    cents: fc.oneof(fc.integer({ min: 1, max: 300 }), fc.integer({ min: 1, max: 99_999_999 })),
    given: fc.oneof({ weight: 3, arbitrary: fc.constant(0) }, {
      weight: 1,
      arbitrary: fc.double({ min: 0, max: 1, noNaN: true }),
    }),
    tiers,
    ahead: fc.integer({ min: 1, max: 160 * hour }),
    // Mostly at a boundary, or beside it.
    boundary: fc.option(fc.record({ index: fc.nat({ max: 4 }), offset: fc.constantFrom(-1, 0, 1) }), { freq: 3 }),
  });
  const property = fc.asyncProperty(scenario, async ({ cents, given, tiers, ahead, boundary }) => {
    server.clock.set(start);
    await server.ok("updateRoom", { token: admin, params: { roomId: room.id }, body: { hourlyRate: cents / 100 } });
    const checkout = await newCheckout(server, "alice", slot);
    const { booking } = checkout;
    await pay(server, checkout);
    const givenCents = Math.floor(given * cents);
    if (givenCents > 0) await reportRefund(server, checkout, givenCents);
    // As if the server had had these tiers.
    await server.db.updateTable("bookings").set({ cancellation_tiers: sql`${JSON.stringify(tiers)}::text::jsonb` })
      .where("id", "=", booking.id).execute();

    const at = boundary === null ? undefined : tiers[boundary.index];
    const left = at === undefined ? ahead : Math.max(1, holdsUntil(at) + (boundary?.offset ?? 0));
    goTo(server, slot, left);
    const told = await quote(server, booking);
    const index = tiers.findIndex((tier) => holdsUntil(tier) <= left);
    const [tier, next] = index === -1 ? [] : tiers.slice(index);
    const due = (BigInt(cents) * BigInt(Math.round((tier?.percent ?? 0) * 10)) + 500n) / 1_000n - BigInt(givenCents);
    const isLast = tier === undefined || tier.hours === 0;
    assert.deepEqual(told, {
      bookingId: booking.id,
      refundAmount: due > 0n ? Number(due) / 100 : 0,
      currency: "EUR",
      refundPercent: tier?.percent ?? 0,
      tierHours: tier?.hours ?? null,
      nextTierAt: isLast ? null : before(slot, holdsUntil(tier)),
      nextRefundPercent: isLast ? null : next?.percent ?? 0,
    });
    if (told.nextTierAt !== null) {
      const last = Date.parse(told.nextTierAt);
      server.clock.set(new Date(last + 1).toISOString());
      if (last + 1 < Date.parse(slot.startTime)) {
        assert.equal((await quote(server, booking)).refundPercent, told.nextRefundPercent, "one millisecond later");
      }
      server.clock.set(told.nextTierAt);
      assert.deepEqual(await quote(server, booking), told, "at nextTierAt");
    }
    assert.equal(await cancel(server, booking), told.refundAmount);
  });
  await fc.assert(property, { numRuns: 100, seed: 20_260_309, endOnFailure: true });
});
