import assert from "node:assert/strict";
import type { Booking, BookingStatus } from "../../generated/contract.ts";
import { confirm, missingId, newBooking, newRoom, newRoomWithTimeslot, newTimeslots } from "../support/builders.ts";
import { eventTypes } from "../support/sandbox_payments.ts";
import { sharedServer, type TestServer } from "../support/server.ts";

const statuses: BookingStatus[] = ["pending", "confirmed", "cancelled", "completed", "no_show"];
const otherWords = [
  "paid",
  "refunded",
  "CONFIRMED",
  " confirmed",
  "constructor",
  "__proto__",
  "toString",
  "hasOwnProperty",
];

const afterStart: Record<BookingStatus, BookingStatus[]> = {
  pending: ["cancelled"],
  confirmed: ["completed", "no_show", "cancelled"],
  cancelled: [],
  completed: ["confirmed", "no_show"],
  no_show: ["confirmed", "completed"],
};
const beforeStart: Record<BookingStatus, BookingStatus[]> = {
  ...afterStart,
  pending: ["confirmed", "cancelled"],
  confirmed: ["cancelled"],
};

async function decide(server: TestServer, { id: bookingId }: Booking, status: string): Promise<Booking> {
  const token = await server.token("admin", "admin");
  return await server.ok("updateBookingStatus", { token, params: { bookingId }, body: { status } });
}

/** Fails unless the transition is refused and the booking stays as it was. Returns the problem's detail. */
async function refuse(server: TestServer, booking: Booking, status: string): Promise<string> {
  const request = { token: await server.token("admin", "admin"), params: { bookingId: booking.id } };
  const refusal = { ...request, body: { status } };
  const problem = await server.refused("invalid_status_transition", "updateBookingStatus", refusal);
  assert.equal(problem.status, 400);
  assert.deepEqual(await server.ok("getBooking", request), booking);
  return problem.detail;
}

/** Creates so many bookings in status `from`, before their timeslots start. */
async function newBookings(server: TestServer, from: BookingStatus, count: number): Promise<Booking[]> {
  const before = server.clock.now().toISOString();
  const slots = await newTimeslots(server, await newRoom(server), { date: "2026-03-09", slotDuration: 30 });
  const bookings: Booking[] = [];
  for (const slot of slots.slice(0, count)) {
    let booking = await newBooking(server, "alice", slot);
    if (from !== "pending") booking = await confirm(server, booking);
    server.clock.set("2026-03-09T18:00:00.000Z");
    if (from !== "pending" && from !== "confirmed") booking = await decide(server, booking, from);
    server.clock.set(before);
    bookings.push(booking);
  }
  assert.equal(bookings.length, count);
  return bookings;
}

for (
  const { when, now, allowed } of [
    { when: "before the start", now: "2026-03-09T08:59:59.999Z", allowed: beforeStart },
    { when: "after the start", now: "2026-03-09T18:00:00.000Z", allowed: afterStart },
  ]
) {
  Deno.test(`updateBookingStatus: each transition ${when} -> allowed or refused as in the contract`, async (t) => {
    await using server = await sharedServer();
    const words = [...statuses, ...otherWords];
    for (const from of statuses) {
      server.clock.set("2026-03-02T10:00:00.000Z");
      // A refused transition changes nothing, so one booking is enough for all of them.
      const [unchanged, ...others] = await newBookings(server, from, 1 + allowed[from].length);
      server.clock.set(now);
      for (const word of words) {
        const to = allowed[from].find((status) => status === word);
        await t.step(`${from} to "${word}" -> ${to === undefined ? "refused" : "allowed"}`, async () => {
          const booking = to === undefined ? unchanged : others[allowed[from].indexOf(to)];
          assert(booking);
          if (to !== undefined) {
            assert.equal((await decide(server, booking, word)).status, to);
            return;
          }
          const detail = await refuse(server, booking, word);
          assert(detail.startsWith(`Invalid status transition to: ${word}`), detail);
        });
      }
    }
  });
}

for (const status of ["completed", "no_show"]) {
  Deno.test(`updateBookingStatus: ${status} -> refused a millisecond before the start, allowed at the start`, async () => {
    await using server = await sharedServer();
    const { timeslot } = await newRoomWithTimeslot(server);
    const booking = await confirm(server, await newBooking(server, "alice", timeslot));
    server.clock.set("2026-03-09T08:59:59.999Z");
    await refuse(server, booking, status);
    server.clock.set("2026-03-09T09:00:00.000Z");
    const closed = await decide(server, booking, status);
    assert.deepEqual(closed, { ...booking, status, updatedAt: "2026-03-09T09:00:00.000Z" });
  });
}

Deno.test("updateBookingStatus: completed or no_show taken back -> confirmed, nothing about the payment changes", async (t) => {
  await using server = await sharedServer();
  const corrections: BookingStatus[][] = [["completed", "confirmed"], ["no_show", "confirmed"], [
    "completed",
    "no_show",
  ]];
  for (const [wrong = "completed", right = "confirmed"] of corrections) {
    await t.step(`${wrong} to ${right}`, async () => {
      server.clock.set("2026-03-02T10:00:00.000Z");
      const { timeslot } = await newRoomWithTimeslot(server);
      const booking = await confirm(server, await newBooking(server, "alice", timeslot));
      server.clock.set("2026-03-09T09:10:00.000Z");
      await decide(server, booking, wrong);
      // The room may cost something else since then.
      const room = { token: await server.token("admin", "admin"), params: { roomId: booking.roomId } };
      await server.ok("updateRoom", { ...room, body: { hourlyRate: 90 } });
      server.clock.set("2026-03-09T09:20:00.000Z");
      const corrected = await decide(server, booking, right);
      assert.deepEqual(corrected, { ...booking, status: right, updatedAt: "2026-03-09T09:20:00.000Z" });
      assert.deepEqual(await eventTypes(server, booking), ["created", "confirmed", wrong, right]);
      await server.sweep();
      assert.equal((await server.ok("getBooking", { ...room, params: { bookingId: booking.id } })).status, right);
    });
  }
});

Deno.test("updateBookingStatus: confirmed -> the price counts as paid", async () => {
  await using server = await sharedServer();
  const { timeslot } = await newRoomWithTimeslot(server, { hourlyRate: 33.33 });
  const booking = await newBooking(server, "alice", timeslot);
  server.clock.set("2026-03-03T10:00:00.000Z");
  const confirmed = await decide(server, booking, "confirmed");
  assert.deepEqual(confirmed, {
    ...booking,
    status: "confirmed",
    paymentStatus: "paid",
    amountPaid: 33.33,
    updatedAt: "2026-03-03T10:00:00.000Z",
  });
  const params = { bookingId: booking.id };
  assert.deepEqual(await server.ok("getBooking", { token: await server.token("alice"), params }), confirmed);
});

Deno.test("updateBookingStatus: confirmed, no price -> paymentStatus not_required", async () => {
  await using server = await sharedServer();
  const { timeslot } = await newRoomWithTimeslot(server, { hourlyRate: null });
  const { paymentStatus, amountPaid } = await confirm(server, await newBooking(server, "alice", timeslot));
  assert.deepEqual({ paymentStatus, amountPaid }, { paymentStatus: "not_required", amountPaid: 0 });
});

Deno.test("updateBookingStatus: cancelled shortly before, at or long after the start -> full refund", async (t) => {
  await using server = await sharedServer();
  for (const now of ["2026-03-09T08:59:59.000Z", "2026-03-09T09:00:00.000Z", "2026-04-09T09:00:00.000Z"]) {
    await t.step(now, async () => {
      server.clock.set("2026-03-02T10:00:00.000Z");
      const { timeslot } = await newRoomWithTimeslot(server);
      const confirmed = await confirm(server, await newBooking(server, "alice", timeslot));
      server.clock.set(now);
      assert.deepEqual(await decide(server, confirmed, "cancelled"), {
        ...confirmed,
        status: "cancelled",
        paymentStatus: "refunded",
        amountPaid: 60,
        amountRefunded: 60,
        refundAmount: 60,
        cancellationReason: "admin_request",
        cancelledAt: now,
        updatedAt: now,
      });
    });
  }
});

Deno.test("updateBookingStatus: pending to cancelled -> no refund", async () => {
  await using server = await sharedServer();
  const { timeslot } = await newRoomWithTimeslot(server);
  const cancelled = await decide(server, await newBooking(server, "alice", timeslot), "cancelled");
  const { paymentStatus, amountRefunded, cancellationReason } = cancelled;
  const expected = { paymentStatus: "unpaid", amountRefunded: 0, cancellationReason: "admin_request" };
  assert.deepEqual({ paymentStatus, amountRefunded, cancellationReason }, expected);
});

Deno.test("updateBookingStatus: cancelled -> the timeslot is free at once", async () => {
  await using server = await sharedServer();
  const { room, timeslot } = await newRoomWithTimeslot(server);
  const booking = await confirm(server, await newBooking(server, "alice", timeslot));
  await decide(server, booking, "cancelled");
  const request = { params: { roomId: room.id }, query: { date: "2026-03-09" } };
  assert.deepEqual((await server.ok("listFreeTimeslots", request)).timeslots, [timeslot]);
  assert.equal((await newBooking(server, "bob", timeslot)).status, "pending");
});

Deno.test("updateBookingStatus: completed or no_show -> the timeslot stays booked", async () => {
  await using server = await sharedServer();
  for (const status of ["completed", "no_show"]) {
    server.clock.set("2026-03-02T10:00:00.000Z");
    const { room, timeslot } = await newRoomWithTimeslot(server);
    const booking = await confirm(server, await newBooking(server, "alice", timeslot));
    server.clock.set("2026-03-09T09:00:00.000Z");
    await decide(server, booking, status);
    // Before the start again, so that only the booking is a reason to refuse.
    server.clock.set("2026-03-02T10:00:00.000Z");
    const body = { roomId: room.id, timeslotId: timeslot.id };
    await server.refused("timeslot_unavailable", "createBooking", { token: await server.token("bob"), body });
  }
});

Deno.test("updateBookingStatus: unknown booking -> 404 booking_not_found", async () => {
  await using server = await sharedServer();
  const request = { token: await server.token("admin", "admin"), params: { bookingId: missingId } };
  for (const status of ["confirmed", "cancelled"]) {
    const refusal = { ...request, body: { status } };
    assert.equal((await server.refused("booking_not_found", "updateBookingStatus", refusal)).status, 404);
  }
});
