import assert from "node:assert/strict";
import type { Booking, BookingStatus } from "../../generated/contract.ts";
import { confirm, newBooking, newRoom, newRoomWithTimeslot, newTimeslots } from "../support/builders.ts";
import { startServer, type TestServer } from "../support/server.ts";

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
  pending: ["confirmed", "cancelled"],
  confirmed: ["completed", "no_show", "cancelled"],
  cancelled: [],
  completed: [],
  no_show: [],
};
const beforeStart: Record<BookingStatus, BookingStatus[]> = { ...afterStart, confirmed: ["cancelled"] };

async function decide(server: TestServer, { id: bookingId }: Booking, status: string): Promise<Booking> {
  const token = await server.token("admin", "admin");
  return await server.ok("updateBookingStatus", { token, params: { bookingId }, body: { status } });
}

/** Answers the problem's detail. Fails unless the booking stays as it was. */
async function refuse(server: TestServer, booking: Booking, status: string): Promise<string> {
  const request = { token: await server.token("admin", "admin"), params: { bookingId: booking.id } };
  const refusal = { ...request, body: { status } };
  const problem = await server.refused("invalid_status_transition", "updateBookingStatus", refusal);
  assert.equal(problem.status, 400);
  assert.deepEqual(await server.ok("getBooking", request), booking);
  return problem.detail;
}

/** For each word of the table a booking of its own in status `from`, made before the timeslots start. */
async function bookingsIn(server: TestServer, from: BookingStatus, count: number): Promise<Booking[]> {
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
  Deno.test(`updateBookingStatus allows ${when} exactly the transitions of the contract`, async (t) => {
    await using server = await startServer();
    const words = [...statuses, ...otherWords];
    for (const from of statuses) {
      server.clock.set("2026-03-02T10:00:00.000Z");
      const bookings = await bookingsIn(server, from, words.length);
      server.clock.set(now);
      for (const [index, word] of words.entries()) {
        const to = allowed[from].find((status) => status === word);
        await t.step(`${from} to "${word}": ${to === undefined ? "refused" : "allowed"}`, async () => {
          const booking = bookings[index];
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
  Deno.test(`updateBookingStatus refuses ${status} a millisecond before the start and allows it at the start`, async () => {
    await using server = await startServer();
    const { timeslot } = await newRoomWithTimeslot(server);
    const booking = await confirm(server, await newBooking(server, "alice", timeslot));
    server.clock.set("2026-03-09T08:59:59.999Z");
    await refuse(server, booking, status);
    server.clock.set("2026-03-09T09:00:00.000Z");
    const closed = await decide(server, booking, status);
    assert.deepEqual(closed, { ...booking, status, updatedAt: "2026-03-09T09:00:00.000Z" });
  });
}

Deno.test("updateBookingStatus confirmed counts the price as paid in full", async () => {
  await using server = await startServer();
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

Deno.test("updateBookingStatus confirmed leaves a booking that costs nothing not_required", async () => {
  await using server = await startServer();
  const { timeslot } = await newRoomWithTimeslot(server, { hourlyRate: null });
  const { paymentStatus, amountPaid } = await confirm(server, await newBooking(server, "alice", timeslot));
  assert.deepEqual({ paymentStatus, amountPaid }, { paymentStatus: "not_required", amountPaid: 0 });
});

Deno.test("updateBookingStatus cancelled refunds everything, also a second before and long after the start", async (t) => {
  await using server = await startServer();
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

Deno.test("updateBookingStatus cancelled has nothing to refund of a pending booking", async () => {
  await using server = await startServer();
  const { timeslot } = await newRoomWithTimeslot(server);
  const cancelled = await decide(server, await newBooking(server, "alice", timeslot), "cancelled");
  const { paymentStatus, amountRefunded, cancellationReason } = cancelled;
  const expected = { paymentStatus: "unpaid", amountRefunded: 0, cancellationReason: "admin_request" };
  assert.deepEqual({ paymentStatus, amountRefunded, cancellationReason }, expected);
});

Deno.test("updateBookingStatus cancelled frees the timeslot at once", async () => {
  await using server = await startServer();
  const { room, timeslot } = await newRoomWithTimeslot(server);
  const booking = await confirm(server, await newBooking(server, "alice", timeslot));
  await decide(server, booking, "cancelled");
  const request = { params: { roomId: room.id }, query: { date: "2026-03-09" } };
  assert.deepEqual((await server.ok("listFreeTimeslots", request)).timeslots, [timeslot]);
  assert.equal((await newBooking(server, "bob", timeslot)).status, "pending");
});

Deno.test("updateBookingStatus keeps the timeslot of a completed and of a missed booking taken", async () => {
  await using server = await startServer();
  for (const status of ["completed", "no_show"]) {
    server.clock.set("2026-03-02T10:00:00.000Z");
    const { room, timeslot } = await newRoomWithTimeslot(server);
    const booking = await confirm(server, await newBooking(server, "alice", timeslot));
    server.clock.set("2026-03-09T09:00:00.000Z");
    await decide(server, booking, status);
    // Back before the start, so that nothing but the booking stands in the way.
    server.clock.set("2026-03-02T10:00:00.000Z");
    const body = { roomId: room.id, timeslotId: timeslot.id };
    await server.refused("timeslot_unavailable", "createBooking", { token: await server.token("bob"), body });
  }
});

Deno.test("updateBookingStatus answers 404 booking_not_found for a booking that is not there", async () => {
  await using server = await startServer();
  const request = { token: await server.token("admin", "admin"), params: { bookingId: 1 } };
  for (const status of ["confirmed", "cancelled"]) {
    const refusal = { ...request, body: { status } };
    assert.equal((await server.refused("booking_not_found", "updateBookingStatus", refusal)).status, 404);
  }
});
