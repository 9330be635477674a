import assert from "node:assert/strict";
import { confirm, newBooking, newRoom, newRoomWithTimeslot, newTimeslots } from "../support/builders.ts";
import { eventTypes, newCheckout, pay } from "../support/sandbox_payments.ts";
import { sharedServer, startServer } from "../support/server.ts";

Deno.test("setSandboxClock: later time -> the clock runs from there", async () => {
  await using server = await sharedServer();
  const token = await server.token("admin", "admin");
  const body = { now: "2026-03-09T09:00:00.123+01:00" };
  const moved = { now: "2026-03-09T08:00:00.123Z", isMoved: true };
  assert.deepEqual(await server.ok("setSandboxClock", { token, body }), moved);
  // Two and a half seconds pass.
  server.clock.set("2026-03-02T10:00:02.500Z");
  assert.deepEqual(await server.ok("getSandboxClock", { token }), { now: "2026-03-09T08:00:02.623Z", isMoved: true });
  const further = { now: "2026-03-20T00:00:00.000Z", isMoved: true };
  assert.deepEqual(await server.ok("setSandboxClock", { token, body: { now: further.now } }), further);
});

Deno.test("setSandboxClock: earlier time -> 400 clock_goes_forward, the same time -> accepted", async () => {
  await using server = await sharedServer();
  const token = await server.token("admin", "admin");
  const set = { token, body: { now: "2026-03-09T08:00:00.000Z" } };
  const moved = await server.ok("setSandboxClock", set);
  assert.deepEqual(await server.ok("setSandboxClock", set), moved);
  for (const now of ["2026-03-09T07:59:59.999Z", "2026-03-02T10:00:00Z", "0001-01-01T00:00:00Z"]) {
    const { status, detail } = await server.refused("clock_goes_forward", "setSandboxClock", { token, body: { now } });
    assert.equal(status, 400);
    assert.match(detail, /2026-03-09T08:00:00\.000Z/);
  }
  assert.deepEqual(await server.ok("getSandboxClock", { token }), moved);
});

Deno.test("setSandboxClock: time of a hold's expiry -> the hold has expired when it answers, not before", async () => {
  await using server = await sharedServer({ env: { PAYMENT_PROVIDER: "sandbox" } });
  const admin = await server.token("admin", "admin");
  const token = await server.token("alice");
  const { room, timeslot } = await newRoomWithTimeslot(server);
  const { booking } = await newCheckout(server, "alice", timeslot);
  const request = { token, params: { bookingId: booking.id } };
  assert.equal(booking.holdExpiresAt, "2026-03-02T10:15:00.000Z");

  await server.ok("setSandboxClock", { token: admin, body: { now: "2026-03-02T10:14:59.999Z" } });
  assert.deepEqual(await server.ok("getBooking", request), booking);

  await server.ok("setSandboxClock", { token: admin, body: { now: "2026-03-02T10:15:00Z" } });
  const { status, cancellationReason, cancelledAt } = await server.ok("getBooking", request);
  assert.deepEqual([status, cancellationReason, cancelledAt], [
    "cancelled",
    "hold_expired",
    "2026-03-02T10:15:00.000Z",
  ]);
  assert.deepEqual(await eventTypes(server, booking), ["created", "cancelled"]);
  const query = { date: "2026-03-09" };
  const { timeslots } = await server.ok("listFreeTimeslots", { params: { roomId: room.id }, query });
  assert.deepEqual(timeslots, [timeslot]);
});

Deno.test("setSandboxClock: time of a reminder -> written once when it answers, not before", async () => {
  await using server = await sharedServer();
  const token = await server.token("admin", "admin");
  const { timeslot } = await newRoomWithTimeslot(server);
  const { id } = await confirm(server, await newBooking(server, "alice", timeslot));
  const reminders = async () => {
    await server.settled();
    const { items } = await server.ok("listEvents", { token, query: { roomId: timeslot.roomId } });
    return items.flatMap((event) =>
      event.event === "booking_reminder" ? [[event.data.booking.id, event.occurredAt]] : []
    );
  };
  await server.ok("setSandboxClock", { token, body: { now: "2026-03-09T07:59:59.999Z" } });
  assert.deepEqual(await reminders(), []);
  await server.ok("setSandboxClock", { token, body: { now: "2026-03-09T08:00:00Z" } });
  assert.deepEqual(await reminders(), [[id, "2026-03-09T08:00:00.000Z"]]);
  await server.ok("setSandboxClock", { token, body: { now: "2026-03-09T08:30:00Z" } });
  assert.equal((await reminders()).length, 1);
});

Deno.test("setSandboxClock: later times -> the refund tier, status changes and free timeslots of that time", async () => {
  await using server = await sharedServer({ env: { PAYMENT_PROVIDER: "sandbox" } });
  const admin = await server.token("admin", "admin");
  const room = await newRoom(server);
  const [first, second, third] = await newTimeslots(server, room, { date: "2026-03-09" });
  assert(first && second && third);
  const half = await newCheckout(server, "alice", first);
  const over = await newCheckout(server, "alice", second);
  for (const checkout of [half, over]) await pay(server, checkout);
  const token = await server.token("alice");

  await server.ok("setSandboxClock", { token: admin, body: { now: "2026-03-08T21:00:00Z" } });
  const params = { bookingId: half.booking.id };
  assert.equal((await server.ok("cancelBooking", { token, params })).refundAmount, 30);

  await server.ok("setSandboxClock", { token: admin, body: { now: "2026-03-09T10:00:00Z" } });
  const body = { status: "completed" };
  await server.ok("updateBookingStatus", { token: admin, params: { bookingId: over.booking.id }, body });
  const query = { date: "2026-03-09" };
  const { timeslots } = await server.ok("listFreeTimeslots", { params: { roomId: room.id }, query });
  assert.equal(timeslots[0]?.id, third.id);
});

Deno.test("setSandboxClock: invalid body or no admin -> refused, the clock is unchanged", async () => {
  await using server = await sharedServer();
  const token = await server.token("admin", "admin");
  const before = await server.ok("getSandboxClock", { token });
  const bodies = [
    {},
    { now: null },
    { now: 1_800_000_000_000 },
    { now: "" },
    { now: "tomorrow" },
    { now: "2027-03-09" },
    { now: "2027-03-09T08:00:00" },
    { now: "2027-02-30T08:00:00Z" },
    { now: "2027-03-09T25:00:00Z" },
    { now: "+275760-09-13T00:00:00.001Z" },
    { now: "2027-03-09T08:00:00Z", isMoved: false },
  ];
  for (const body of bodies) await server.refused("validation_failed", "setSandboxClock", { token, body });
  await server.refused("admin_required", "setSandboxClock", {
    token: await server.token("alice"),
    body: { now: "2027-03-09T08:00:00Z" },
  });
  assert.deepEqual(await server.ok("getSandboxClock", { token }), before);
});

Deno.test("setSandboxClock: last moment of the calendar -> refused, or the server works there", async () => {
  await using server = await startServer();
  const token = await server.token("admin", "admin");
  const { timeslot } = await newRoomWithTimeslot(server);
  const { status } = await server.call("setSandboxClock", { token, body: { now: "9999-12-31T23:59:59.999Z" } });
  if (status === 200) {
    assert.deepEqual(server.logged.filter((line) => line.includes("sweep failed")), []);
    // A second passes.
    server.clock.set("2026-03-02T10:00:01.000Z");
    await server.ok("getSandboxClock", { token });
    const body = { roomId: timeslot.roomId, timeslotId: timeslot.id };
    await server.refused("timeslot_unavailable", "createBooking", { token: await server.token("alice"), body });
    await server.ok("resetSandboxClock", { token });
  }
  assert.equal((await newBooking(server, "alice", timeslot)).status, "pending");
});
