/** getCancellation returns the refund that a cancellation at that moment pays. */
import assert from "node:assert/strict";
import type { BookingStatus } from "../../generated/contract.ts";
import { confirm, missingId, newBooking, newRoom, newRoomWithTimeslot, newTimeslots } from "../support/builders.ts";
import { newCheckout, pay, reportRefund } from "../support/sandbox_payments.ts";
import { sharedServer, startServer } from "../support/server.ts";
import { before, cancel, hour, moveClock, quote, start } from "./cancellations.ts";

Deno.test("getCancellation: any time before the start -> the tier of that millisecond and the start of the next", async (t) => {
  await using server = await sharedServer();
  const { timeslot } = await newRoomWithTimeslot(server, { hourlyRate: 59.99 });
  const booking = await confirm(server, await newBooking(server, "alice", timeslot));
  const rest = { bookingId: booking.id, currency: "EUR", maxRefundPercent: null };
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
    await t.step(`${ahead} ms before -> ${expected.refundPercent} %`, async () => {
      moveClock(server, timeslot, ahead);
      assert.deepEqual(await quote(server, booking), expected);
    });
  }
  moveClock(server, timeslot, 200 * hour);
  const request = { token: await server.token("alice"), params: { bookingId: booking.id } };
  assert.deepEqual(await server.ok("getBooking", request), booking, "the query changes nothing");
});

Deno.test("getCancellation: tier of 0 hours -> applies until the start, no next tier", async () => {
  await using server = await sharedServer({ env: { CANCELLATION_TIERS: "2:80,0:25" } });
  const { timeslot } = await newRoomWithTimeslot(server);
  const booking = await confirm(server, await newBooking(server, "alice", timeslot));
  const rest = { bookingId: booking.id, currency: "EUR", maxRefundPercent: null };
  moveClock(server, timeslot, 2 * hour);
  assert.deepEqual(await quote(server, booking), {
    ...rest,
    refundAmount: 48,
    refundPercent: 80,
    tierHours: 2,
    nextTierAt: before(timeslot, 2 * hour),
    nextRefundPercent: 25,
  });
  for (const ahead of [2 * hour - 1, 1]) {
    moveClock(server, timeslot, ahead);
    const last = { refundAmount: 15, refundPercent: 25, tierHours: 0, nextTierAt: null, nextRefundPercent: null };
    assert.deepEqual(await quote(server, booking), { ...rest, ...last });
  }
  assert.equal(await cancel(server, booking), 15);
});

Deno.test("getCancellation: fractions of hours and percents -> half a cent rounded up", async (t) => {
  await using server = await sharedServer({ env: { CANCELLATION_TIERS: "1.1:10,48:100,24.25:75.5" } });
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
      moveClock(server, timeslot, ahead);
      const { refundAmount, refundPercent, tierHours, nextTierAt, nextRefundPercent } = await quote(server, booking);
      assert.deepEqual([refundAmount, refundPercent, tierHours, nextTierAt, nextRefundPercent], expected);
      assert.equal(await cancel(server, booking), refundAmount);
    });
  }
});

Deno.test("getCancellation: nothing paid -> refundAmount 0, with the tier", async () => {
  await using server = await sharedServer({ env: { PAYMENT_PROVIDER: "sandbox" } });
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
      maxRefundPercent: null,
      tierHours: 24,
      nextTierAt: before(booking.timeslot, 24 * hour),
      nextRefundPercent: 50,
    });
    assert.equal(await cancel(server, booking), 0);
  }
});

Deno.test("getCancellation: refunded at the provider before -> only the rest", async (t) => {
  await using server = await sharedServer({ env: { PAYMENT_PROVIDER: "sandbox" } });
  const slots = await newTimeslots(server, await newRoom(server), { date: "2026-03-09" });
  const cases = [
    { refundedCents: 2_500, ahead: 24 * hour, refund: 35 },
    { refundedCents: 2_500, ahead: 24 * hour - 1, refund: 5 },
    { refundedCents: 3_000, ahead: 24 * hour - 1, refund: 0 },
    { refundedCents: 4_000, ahead: 24 * hour - 1, refund: 0 },
    { refundedCents: 6_000, ahead: 24 * hour, refund: 0 },
    { refundedCents: 1, ahead: 1, refund: 0 },
  ];
  for (const [index, { refundedCents, ahead, refund }] of cases.entries()) {
    await t.step(`${refundedCents / 100} of 60 refunded, ${ahead} ms before -> ${refund}`, async () => {
      server.clock.set(start);
      const slot = slots[index];
      assert(slot);
      const checkout = await newCheckout(server, "alice", slot);
      await pay(server, checkout);
      await reportRefund(server, checkout, refundedCents);
      moveClock(server, slot, ahead);
      assert.equal((await quote(server, checkout.booking)).refundAmount, refund);
      assert.equal(await cancel(server, checkout.booking), refund);
    });
  }
});

Deno.test("getCancellation: rescheduled booking -> tiers of its creation, at most the percentage at the move", async () => {
  await using server = await sharedServer();
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
  const token = await server.token("alice");
  const params = { bookingId: booking.id };
  assert.equal((await other.ok("getCancellation", { token, params })).refundPercent, 50);
  await other.ok("rescheduleBooking", { token, params, body: { newTimeslotId: later.id } });
  const { refundPercent, maxRefundPercent, nextTierAt } = await other.ok("getCancellation", { token, params });
  assert.deepEqual([refundPercent, maxRefundPercent, nextTierAt], [50, 50, before(later, 12 * hour)]);
});

Deno.test("getCancellation: cancelled, completed, no_show or started -> 400 booking_not_cancellable", async (t) => {
  await using server = await sharedServer();
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
  await t.step("started", async () => {
    server.clock.set(start);
    const { timeslot } = await newRoomWithTimeslot(server);
    const booking = await newBooking(server, "alice", timeslot);
    moveClock(server, timeslot, 1);
    await quote(server, booking);
    for (const ahead of [0, -1]) {
      moveClock(server, timeslot, ahead);
      await server.refused("booking_not_cancellable", "getCancellation", { token, params: { bookingId: booking.id } });
    }
  });
});

Deno.test("getCancellation: owner and admin -> the same, another user -> 403 not_booking_owner", async () => {
  await using server = await sharedServer();
  const { timeslot } = await newRoomWithTimeslot(server);
  const booking = await confirm(server, await newBooking(server, "alice", timeslot));
  moveClock(server, timeslot, 20 * hour);
  const params = { bookingId: booking.id };
  const quoted = await quote(server, booking);
  assert.equal(quoted.refundPercent, 50);
  assert.deepEqual(await server.ok("getCancellation", { token: await server.token("admin", "admin"), params }), quoted);
  const request = { token: await server.token("bob"), params };
  assert.equal((await server.refused("not_booking_owner", "getCancellation", request)).status, 403);
});

Deno.test("getCancellation: unknown booking -> 404 booking_not_found", async () => {
  await using server = await sharedServer();
  for (const token of [await server.token("alice"), await server.token("admin", "admin")]) {
    const request = { token, params: { bookingId: missingId } };
    assert.equal((await server.refused("booking_not_found", "getCancellation", request)).status, 404);
  }
});
