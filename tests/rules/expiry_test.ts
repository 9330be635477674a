/** Pending bookings that nobody paid or confirmed in time. One sweep works on them in chunks of 100. */
import assert from "node:assert/strict";
import { sql } from "kysely";
import { lockBooking } from "../../src/bookings/queries.ts";
import type { Booking } from "../../generated/contract.ts";
import { confirm, newBooking, newRoom, newRoomWithTimeslot, newTimeslots } from "../support/builders.ts";
import { sharedServer, startServer, type TestServer } from "../support/server.ts";

Deno.test("sweep: 130 holds have expired, another transaction has locked one of the first 100 -> the other 129 are released", async () => {
  await using server = await sharedServer({ env: { PAYMENT_PROVIDER: "sandbox" } });
  const slots = await newTimeslots(server, await newRoom(server), {
    date: "2026-03-09",
    slotDuration: 5,
    workingHours: { start: "08:00", end: "20:00" },
  });
  const taken = slots.slice(0, 130);
  assert.equal(taken.length, 130);
  // Five bookings per user, the limit of pending ones.
  const bookings = await Promise.all(taken.map((slot, index) => newBooking(server, `guest-${index % 26}`, slot)));
  const [locked] = bookings.map(({ id }) => id).sort((a, b) => a - b);
  assert(locked);
  const held = async () => {
    const rows = await server.db.selectFrom("bookings").select("id")
      .where("id", "in", bookings.map(({ id }) => id)).where("status", "=", "pending").execute();
    return rows.map(({ id }) => id);
  };
  // The locked hold expires first, so the first chunk has it.
  await server.db.updateTable("bookings").set({ hold_expires_at: new Date("2026-03-02T10:00:01.000Z") }).where(
    "id",
    "=",
    locked,
  )
    .execute();
  server.clock.set("2026-03-02T11:00:00.000Z");
  await server.db.transaction().execute(async (trx) => {
    // The sweep may take longer on a busy machine.
    await sql`set local idle_in_transaction_session_timeout = 0`.execute(trx);
    await lockBooking(trx, locked);
    await server.sweep();
    assert.deepEqual(await held(), [locked]);
  });
  await server.sweep();
  assert.deepEqual(await held(), []);
});

/** Alice's request for a free room whose bookings an admin confirms. */
async function newRequest(server: TestServer): Promise<Booking> {
  const { timeslot } = await newRoomWithTimeslot(server, { hourlyRate: null });
  const request = await newBooking(server, "alice", timeslot);
  assert.deepEqual([request.status, request.holdExpiresAt], ["pending", null]);
  return request;
}

Deno.test("sweep: request that nobody has confirmed at its start -> cancelled as not_confirmed, with its events", async () => {
  await using server = await sharedServer();
  const request = await newRequest(server);
  const confirmed = await confirm(server, await newRequest(server));
  const alice = { token: await server.token("alice") };
  const read = ({ id: bookingId }: Booking) => server.ok("getBooking", { ...alice, params: { bookingId } });
  server.clock.set("2026-03-09T08:59:59.999Z");
  await server.sweep();
  assert.deepEqual(await read(request), request);
  server.clock.set("2026-03-09T09:00:00.000Z");
  await server.sweep();
  await server.sweep();
  const ended: Booking = {
    ...request,
    status: "cancelled",
    cancellationReason: "not_confirmed",
    cancelledAt: "2026-03-09T09:00:00.000Z",
    updatedAt: "2026-03-09T09:00:00.000Z",
  };
  assert.deepEqual(await read(request), ended);
  assert.deepEqual(await read(confirmed), confirmed);
  await server.settled();
  const admin = { token: await server.token("admin", "admin") };
  const { items } = await server.ok("listEvents", { ...admin, query: { roomId: request.roomId, limit: 1000 } });
  const [cancelled, freed, ...others] = items.slice(-2);
  assert(cancelled?.event === "booking_update" && freed?.event === "timeslot_update" && others.length === 0);
  assert.deepEqual([cancelled.data.type, cancelled.data.booking], ["cancelled", ended]);
  assert.deepEqual([freed.data.change, freed.data.isAvailable], ["freed", false]);
});

Deno.test("sweep: unpaid booking without a payment provider at its start -> cancelled as not_confirmed", async () => {
  await using server = await sharedServer();
  const { timeslot } = await newRoomWithTimeslot(server);
  const { id: bookingId } = await newBooking(server, "alice", timeslot);
  server.clock.set(timeslot.startTime);
  await server.sweep();
  const request = { token: await server.token("alice"), params: { bookingId } };
  const { status, cancellationReason, paymentStatus } = await server.ok("getBooking", request);
  assert.deepEqual([status, cancellationReason, paymentStatus], ["cancelled", "not_confirmed", "unpaid"]);
});

Deno.test("getBookingStats: bookings that nobody paid or confirmed in time -> not in the cancellation rate", async () => {
  await using server = await startServer();
  await newRequest(server);
  const room = await newRoom(server);
  const [first, second] = await newTimeslots(server, room, { date: "2026-03-09" });
  assert(first && second);
  await confirm(server, await newBooking(server, "alice", first));
  const { id: bookingId } = await newBooking(server, "alice", second);
  await server.ok("cancelBooking", { token: await server.token("alice"), params: { bookingId } });
  server.clock.set("2026-03-09T09:00:00.000Z");
  await server.sweep();
  const stats = await server.ok("getBookingStats", { token: await server.token("admin", "admin") });
  assert.deepEqual([stats.byStatus.cancelled, stats.cancellationRate], [2, 0.5]);
});
