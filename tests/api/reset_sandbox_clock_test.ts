import assert from "node:assert/strict";
import { newBooking, newRoom, newTimeslots } from "../support/builders.ts";
import { sharedServer } from "../support/server.ts";

Deno.test("resetSandboxClock: moved clock -> the real time, from which it can be moved again", async () => {
  await using server = await sharedServer();
  const token = await server.token("admin", "admin");
  await server.ok("setSandboxClock", { token, body: { now: "2026-03-09T08:00:00Z" } });
  // An hour passes.
  server.clock.set("2026-03-02T11:00:00.000Z");
  const real = { now: "2026-03-02T11:00:00.000Z", isMoved: false };
  assert.deepEqual(await server.ok("resetSandboxClock", { token }), real);
  assert.deepEqual(await server.ok("getSandboxClock", { token }), real);
  // A clock that is not moved stays as it is.
  assert.deepEqual(await server.ok("resetSandboxClock", { token }), real);
  // Earlier than the time of the moved clock.
  const body = { now: "2026-03-02T11:00:00.001Z" };
  const moved = { now: "2026-03-02T11:00:00.001Z", isMoved: true };
  assert.deepEqual(await server.ok("setSandboxClock", { token, body }), moved);
});

Deno.test("resetSandboxClock: booking made on the moved clock -> unchanged, later changes have the real time", async () => {
  await using server = await sharedServer();
  const token = await server.token("admin", "admin");
  const [slot] = await newTimeslots(server, await newRoom(server), { date: "2026-03-09" });
  assert(slot);
  await server.ok("setSandboxClock", { token, body: { now: "2026-03-08T00:00:00Z" } });
  const booking = await newBooking(server, "alice", slot);
  assert.equal(booking.createdAt, "2026-03-08T00:00:00.000Z");
  await server.ok("resetSandboxClock", { token });
  const request = { token: await server.token("alice"), params: { bookingId: booking.id } };
  assert.deepEqual(await server.ok("getBooking", request), booking);
  const { booking: cancelled } = await server.ok("cancelBooking", request);
  assert.equal(cancelled.cancelledAt, "2026-03-02T10:00:00.000Z");
});

Deno.test("resetSandboxClock: user or no token -> refused, the clock is unchanged", async () => {
  await using server = await sharedServer();
  const token = await server.token("admin", "admin");
  const moved = await server.ok("setSandboxClock", { token, body: { now: "2026-03-09T08:00:00Z" } });
  await server.refused("admin_required", "resetSandboxClock", { token: await server.token("alice") });
  await server.refused("token_missing", "resetSandboxClock");
  assert.deepEqual(await server.ok("getSandboxClock", { token }), moved);
});
