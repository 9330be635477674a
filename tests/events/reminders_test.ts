/** Reminders: one for each booking, in time, with any number of servers. */
import assert from "node:assert/strict";
import type { Booking } from "../../generated/contract.ts";
import { confirm, newBooking, newRoom, newTimeslots } from "../support/builders.ts";
import { sharedServer, startServer, type TestServer } from "../support/server.ts";
import { openSocket } from "../support/socket.ts";

/** The ids of alice's bookings with a reminder in the feed, in its order. */
async function reminded(server: TestServer): Promise<number[]> {
  await server.settled();
  const { items } = await server.ok("listEvents", { token: await server.token("alice") });
  return items.flatMap((event) => event.event === "booking_reminder" ? [event.data.booking.id] : []);
}

/** Confirmed bookings of alice at 09:00, 10:00 … of 2026-03-09. */
async function confirmedBookings(server: TestServer, count: number): Promise<Booking[]> {
  const slots = await newTimeslots(server, await newRoom(server), { date: "2026-03-09" });
  const bookings: Booking[] = [];
  for (const slot of slots.slice(0, count)) {
    bookings.push(await confirm(server, await newBooking(server, "alice", slot)));
  }
  return bookings;
}

Deno.test("booking_reminder: a confirmed booking -> once, an hour before its start", async () => {
  await using server = await sharedServer();
  const [first, second] = await confirmedBookings(server, 2);
  assert(first && second);
  await server.settled();
  await using socket = await openSocket(server, { token: await server.token("alice") });
  socket.send({ action: "join_booking_room" });
  await socket.expect("joined");
  server.clock.set("2026-03-09T07:59:59.999Z");
  await server.sweep();
  assert.deepEqual(await reminded(server), []);
  server.clock.set("2026-03-09T08:00:00.000Z");
  await server.sweep();
  await server.sweep();
  assert.deepEqual(await reminded(server), [first.id]);
  const { data, occurredAt } = await socket.expect("booking_reminder");
  assert.deepEqual(data, { booking: first, message: "Your appointment is coming up!" });
  assert.equal(occurredAt, "2026-03-09T08:00:00.000Z");
  server.clock.set("2026-03-09T09:30:00.000Z");
  await server.sweep();
  assert.deepEqual(await reminded(server), [first.id, second.id]);
});

Deno.test("booking_reminder: servers sweep at once, another one later -> one for each booking", async () => {
  await using first = await startServer();
  const bookings = await confirmedBookings(first, 8);
  const others = await Promise.all(
    [1, 2].map(() => startServer({ database: { url: first.databaseUrl }, env: { REMINDER_LEAD_MINUTES: "1440" } })),
  );
  await using second = others[0] ?? first;
  await using third = others[1] ?? first;
  for (const { clock } of [second, third]) clock.set("2026-03-09T08:00:00.000Z");
  await Promise.all([second, third].flatMap((server) => Array.from({ length: 5 }, () => server.sweep())));
  await using later = await startServer({
    database: { url: first.databaseUrl },
    env: { REMINDER_LEAD_MINUTES: "1440" },
    now: "2026-03-09T08:30:00.000Z",
  });
  await later.sweep();
  assert.deepEqual((await reminded(first)).sort(), bookings.map(({ id }) => id).sort());
});

Deno.test("booking_reminder: pending, cancelled or started bookings -> none", async () => {
  await using server = await sharedServer();
  const [first, second, third, fourth] = await newTimeslots(server, await newRoom(server), { date: "2026-03-09" });
  assert(first && second && third && fourth);
  await newBooking(server, "alice", second);
  const cancelled = await confirm(server, await newBooking(server, "alice", third));
  await server.ok("cancelBooking", { token: await server.token("alice"), params: { bookingId: cancelled.id } });
  const started = await confirm(server, await newBooking(server, "alice", first));
  const late = await newBooking(server, "alice", fourth);
  server.clock.set("2026-03-09T11:30:00.000Z");
  await server.sweep();
  assert.deepEqual(await reminded(server), []);
  assert.equal(started.status, "confirmed");
  // A booking that is confirmed late gets its reminder at once.
  await confirm(server, late);
  await server.sweep();
  assert.deepEqual(await reminded(server), [late.id]);
});

Deno.test("booking_reminder: moved after its reminder -> another one for the new time", async () => {
  await using server = await sharedServer();
  const [first, last] = await newTimeslots(server, await newRoom(server), {
    date: "2026-03-09",
    slotDuration: 240,
  });
  assert(first && last);
  const { id: bookingId } = await confirm(server, await newBooking(server, "alice", first));
  server.clock.set("2026-03-09T08:30:00.000Z");
  await server.sweep();
  const token = await server.token("alice");
  await server.ok("rescheduleBooking", { token, params: { bookingId }, body: { newTimeslotId: last.id } });
  await server.sweep();
  assert.deepEqual(await reminded(server), [bookingId]);
  server.clock.set("2026-03-09T12:30:00.000Z");
  await server.sweep();
  assert.deepEqual(await reminded(server), [bookingId, bookingId]);
});

Deno.test("booking_reminder: REMINDER_LEAD_MINUTES 0 -> none", async () => {
  await using server = await startServer({ env: { REMINDER_LEAD_MINUTES: "0" } });
  await confirmedBookings(server, 1);
  server.clock.set("2026-03-09T08:59:59.999Z");
  await server.sweep();
  assert.deepEqual(await reminded(server), []);
});
