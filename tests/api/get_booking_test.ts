import assert from "node:assert/strict";
import { missingId, newBooking, newRoomWithTimeslot } from "../support/builders.ts";
import { sharedServer } from "../support/server.ts";

Deno.test("getBooking: owner -> the booking as created", async () => {
  await using server = await sharedServer();
  const { timeslot } = await newRoomWithTimeslot(server);
  const booking = await newBooking(server, "alice", timeslot);
  const params = { bookingId: booking.id };
  assert.deepEqual(await server.ok("getBooking", { token: await server.token("alice"), params }), booking);
});

Deno.test("getBooking: admin -> any booking", async () => {
  await using server = await sharedServer();
  const { timeslot } = await newRoomWithTimeslot(server);
  const booking = await newBooking(server, "alice", timeslot);
  const params = { bookingId: booking.id };
  assert.deepEqual(await server.ok("getBooking", { token: await server.token("admin", "admin"), params }), booking);
});

Deno.test("getBooking: another user -> 403 not_booking_owner, also if cancelled", async () => {
  await using server = await sharedServer();
  const { timeslot } = await newRoomWithTimeslot(server);
  const { id: bookingId } = await newBooking(server, "alice", timeslot);
  const params = { bookingId };
  const bob = await server.token("bob");
  assert.equal((await server.refused("not_booking_owner", "getBooking", { token: bob, params })).status, 403);
  await server.ok("cancelBooking", { token: await server.token("alice"), params });
  await server.refused("not_booking_owner", "getBooking", { token: bob, params });
});

Deno.test("getBooking: unknown booking -> 404 booking_not_found, for users and admins", async () => {
  await using server = await sharedServer();
  for (const token of [await server.token("alice"), await server.token("admin", "admin")]) {
    for (const bookingId of [missingId, Number.MAX_SAFE_INTEGER]) {
      const problem = await server.refused("booking_not_found", "getBooking", { token, params: { bookingId } });
      assert.equal(problem.status, 404);
    }
  }
});

Deno.test("getBooking: room renamed and moved to another zone -> the new name and zone, times in UTC", async () => {
  await using server = await sharedServer();
  const { room, timeslot } = await newRoomWithTimeslot(server, { timeZone: "Europe/Berlin" });
  const { id: bookingId } = await newBooking(server, "alice", timeslot);
  const change = { token: await server.token("admin", "admin"), params: { roomId: room.id } };
  await server.ok("updateRoom", { ...change, body: { name: "Renamed", timeZone: "America/New_York" } });
  const booking = await server.ok("getBooking", { token: await server.token("alice"), params: { bookingId } });
  assert.deepEqual(booking.room, { id: room.id, name: "Renamed", roomType: "meeting", timeZone: "America/New_York" });
  assert.deepEqual(booking.timeslot, {
    id: timeslot.id,
    roomId: room.id,
    startTime: "2026-03-09T08:00:00.000Z",
    endTime: "2026-03-09T09:00:00.000Z",
  });
});
