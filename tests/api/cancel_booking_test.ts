import assert from "node:assert/strict";
import type { BookingStatus } from "../../generated/contract.ts";
import { confirm, missingId, newBooking, newRoom, newRoomWithTimeslot, newTimeslots } from "../support/builders.ts";
import { sharedServer } from "../support/server.ts";

Deno.test("cancelBooking: pending booking -> cancelled, with cancelledAt and the reason user_request", async () => {
  await using server = await sharedServer();
  const { timeslot } = await newRoomWithTimeslot(server);
  const booking = await newBooking(server, "alice", timeslot);
  server.clock.set("2026-03-02T11:30:00.250Z");
  const request = { token: await server.token("alice"), params: { bookingId: booking.id } };

  const cancelled = await server.ok("cancelBooking", request);

  assert.deepEqual(cancelled, {
    booking: {
      ...booking,
      status: "cancelled",
      cancellationReason: "user_request",
      cancelledAt: "2026-03-02T11:30:00.250Z",
      updatedAt: "2026-03-02T11:30:00.250Z",
    },
    refundAmount: 0,
    message: "Booking cancelled successfully",
  });
  assert.deepEqual(await server.ok("getBooking", request), cancelled.booking);
});

Deno.test("cancelBooking: paid booking -> refund of its tier, in the booking and in refundAmount", async (t) => {
  const cases = [
    { at: "2026-03-08T09:00:00.000Z", refund: 60, paymentStatus: "refunded" },
    { at: "2026-03-08T09:00:00.001Z", refund: 30, paymentStatus: "partially_refunded" },
    { at: "2026-03-09T08:00:00.000Z", refund: 0, paymentStatus: "paid" },
  ];
  await using server = await sharedServer();
  for (const { at, refund, paymentStatus } of cases) {
    await t.step(`at ${at} -> ${refund} of 60, ${paymentStatus}`, async () => {
      server.clock.set("2026-03-02T10:00:00.000Z");
      const { timeslot } = await newRoomWithTimeslot(server);
      const confirmed = await confirm(server, await newBooking(server, "alice", timeslot));
      server.clock.set(at);
      const request = { token: await server.token("alice"), params: { bookingId: confirmed.id } };
      const { booking, refundAmount } = await server.ok("cancelBooking", request);
      assert.equal(refundAmount, refund);
      assert.deepEqual(booking, {
        ...confirmed,
        status: "cancelled",
        paymentStatus,
        amountPaid: 60,
        amountRefunded: refund,
        refundAmount: refund,
        cancellationReason: "user_request",
        cancelledAt: at,
        updatedAt: at,
      });
    });
  }
});

Deno.test("cancelBooking: free booking -> paymentStatus stays not_required", async () => {
  await using server = await sharedServer();
  const { timeslot } = await newRoomWithTimeslot(server, { hourlyRate: null, autoConfirm: true });
  const { id: bookingId, status } = await newBooking(server, "alice", timeslot);
  assert.equal(status, "confirmed");
  const cancelled = await server.ok("cancelBooking", { token: await server.token("alice"), params: { bookingId } });
  assert.equal(cancelled.booking.paymentStatus, "not_required");
  assert.equal(cancelled.refundAmount, 0);
});

Deno.test("cancelBooking: two bookings, one cancelled -> its timeslot is free at once, the other is not", async () => {
  await using server = await sharedServer();
  const room = await newRoom(server);
  const slots = await newTimeslots(server, room, {
    date: "2026-03-09",
    workingHours: { start: "09:00", end: "11:00" },
  });
  const [first, second] = slots;
  assert(first && second);
  const { id: bookingId } = await newBooking(server, "alice", first);
  await newBooking(server, "alice", second);
  const free = async () => {
    const query = { date: "2026-03-09" };
    return (await server.ok("listFreeTimeslots", { params: { roomId: room.id }, query })).timeslots;
  };
  assert.deepEqual(await free(), []);
  await server.ok("cancelBooking", { token: await server.token("alice"), params: { bookingId } });
  assert.deepEqual(await free(), [first]);
  assert.equal((await newBooking(server, "bob", first)).status, "pending");
});

Deno.test("cancelBooking: 1 ms before the start -> cancelled, from the start on -> 400 booking_not_cancellable", async () => {
  await using server = await sharedServer();
  const { room, timeslot } = await newRoomWithTimeslot(server);
  const token = await server.token("alice");
  const [later] = await newTimeslots(server, room, { date: "2026-03-10" });
  assert(later);
  const early = await newBooking(server, "alice", timeslot);
  const late = await newBooking(server, "alice", later);

  server.clock.set("2026-03-09T08:59:59.999Z");
  await server.ok("cancelBooking", { token, params: { bookingId: early.id } });
  for (const now of ["2026-03-10T09:00:00.000Z", "2026-03-10T09:30:00.000Z", "2026-03-11T00:00:00.000Z"]) {
    server.clock.set(now);
    const params = { bookingId: late.id };
    assert.equal((await server.refused("booking_not_cancellable", "cancelBooking", { token, params })).status, 400);
    assert.deepEqual(await server.ok("getBooking", { token, params }), late);
  }
});

Deno.test("cancelBooking: cancelled, completed or no_show -> 400 booking_not_cancellable, booking unchanged", async (t) => {
  const statuses: BookingStatus[] = ["cancelled", "completed", "no_show"];
  await using server = await sharedServer();
  for (const status of statuses) {
    await t.step(status, async () => {
      server.clock.set("2026-03-02T10:00:00.000Z");
      const { timeslot } = await newRoomWithTimeslot(server);
      const { id: bookingId } = await confirm(server, await newBooking(server, "alice", timeslot));
      const params = { bookingId };
      server.clock.set("2026-03-09T09:00:00.000Z");
      const admin = await server.token("admin", "admin");
      const over = await server.ok("updateBookingStatus", { token: admin, params, body: { status } });
      // Before the start again, so that only the status is at fault.
      server.clock.set("2026-03-03T00:00:00.000Z");
      const token = await server.token("alice");
      await server.refused("booking_not_cancellable", "cancelBooking", { token, params });
      assert.deepEqual(await server.ok("getBooking", { token, params }), over);
    });
  }
});

Deno.test("cancelBooking: second call -> 400 booking_not_cancellable, first refund unchanged", async () => {
  await using server = await sharedServer();
  const { timeslot } = await newRoomWithTimeslot(server);
  const { id: bookingId } = await confirm(server, await newBooking(server, "alice", timeslot));
  const request = { token: await server.token("alice"), params: { bookingId } };
  const { booking } = await server.ok("cancelBooking", request);
  server.clock.set("2026-03-09T08:00:00.000Z");
  await server.refused("booking_not_cancellable", "cancelBooking", request);
  assert.deepEqual(await server.ok("getBooking", request), booking);
});

Deno.test("cancelBooking: another user or an admin -> 403 not_booking_owner, booking unchanged", async () => {
  await using server = await sharedServer();
  const { timeslot } = await newRoomWithTimeslot(server);
  const booking = await newBooking(server, "alice", timeslot);
  const params = { bookingId: booking.id };
  for (const token of [await server.token("bob"), await server.token("admin", "admin")]) {
    assert.equal((await server.refused("not_booking_owner", "cancelBooking", { token, params })).status, 403);
  }
  assert.deepEqual(await server.ok("getBooking", { token: await server.token("alice"), params }), booking);
});

Deno.test("cancelBooking: unknown booking -> 404 booking_not_found", async () => {
  await using server = await sharedServer();
  const request = { token: await server.token("alice"), params: { bookingId: missingId } };
  assert.equal((await server.refused("booking_not_found", "cancelBooking", request)).status, 404);
});

Deno.test("cancelBooking: room deactivated after the booking -> cancelled and refunded", async () => {
  await using server = await sharedServer();
  const { room, timeslot } = await newRoomWithTimeslot(server);
  const { id: bookingId } = await confirm(server, await newBooking(server, "alice", timeslot));
  await server.ok("deleteRoom", { token: await server.token("admin", "admin"), params: { roomId: room.id } });
  const { refundAmount } = await server.ok("cancelBooking", {
    token: await server.token("alice"),
    params: { bookingId },
  });
  assert.equal(refundAmount, 60);
});
