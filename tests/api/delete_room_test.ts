import assert from "node:assert/strict";
import { missingId, newBooking, newRoomWithTimeslot, newTimeslots } from "../support/builders.ts";
import { sharedServer, type TestServer } from "../support/server.ts";

async function deactivate(server: TestServer, roomId: number): Promise<unknown> {
  return await server.ok("deleteRoom", { token: await server.token("admin", "admin"), params: { roomId } });
}

const query = { date: "2026-03-09" };

Deno.test("deleteRoom: active room -> inactive, without free timeslots and new bookings", async () => {
  await using server = await sharedServer();
  const { room, timeslot } = await newRoomWithTimeslot(server);
  const params = { roomId: room.id };
  assert.deepEqual(await deactivate(server, room.id), { message: "Room deactivated" });

  assert.deepEqual(await server.ok("getRoom", { params }), { ...room, isActive: false });
  assert.deepEqual((await server.ok("listFreeTimeslots", { params, query })).timeslots, []);
  const booking = { token: await server.token("alice"), body: { ...params, timeslotId: timeslot.id } };
  await server.refused("room_inactive", "createBooking", booking);
});

Deno.test("deleteRoom: room with a booking -> booking unchanged, can still be confirmed and cancelled", async () => {
  await using server = await sharedServer();
  const { room, timeslot } = await newRoomWithTimeslot(server);
  const params = { bookingId: (await newBooking(server, "alice", timeslot)).id };
  const alice = await server.token("alice");
  const before = await server.ok("getBooking", { token: alice, params });
  await deactivate(server, room.id);

  assert.deepEqual(await server.ok("getBooking", { token: alice, params }), before);
  const confirmation = { token: await server.token("admin", "admin"), params, body: { status: "confirmed" } };
  assert.equal((await server.ok("updateBookingStatus", confirmation)).status, "confirmed");
  assert.equal((await server.ok("cancelBooking", { token: alice, params })).booking.status, "cancelled");
});

Deno.test("deleteRoom: inactive room -> 200, nothing changes", async () => {
  await using server = await sharedServer();
  const { room } = await newRoomWithTimeslot(server);
  const params = { roomId: room.id };
  await deactivate(server, room.id);
  const before = await server.ok("getRoom", { params });
  server.clock.set("2026-03-03T10:00:00.000Z");
  assert.deepEqual(await deactivate(server, room.id), { message: "Room deactivated" });
  assert.deepEqual(await server.ok("getRoom", { params }), before);
});

Deno.test("deleteRoom: isActive true afterwards -> the same timeslots are free again", async () => {
  await using server = await sharedServer();
  const { room, timeslot } = await newRoomWithTimeslot(server);
  const params = { roomId: room.id };
  await deactivate(server, room.id);
  await server.ok("updateRoom", { token: await server.token("admin", "admin"), params, body: { isActive: true } });
  assert.deepEqual(await server.ok("listFreeTimeslots", { params, query }), {
    room,
    date: query.date,
    minimumDuration: 30,
    timeslots: [timeslot],
  });
  assert.equal((await newBooking(server, "alice", timeslot)).status, "pending");
});

Deno.test("deleteRoom: another room -> unchanged", async () => {
  await using server = await sharedServer();
  const { room } = await newRoomWithTimeslot(server);
  const { room: other } = await newRoomWithTimeslot(server);
  await deactivate(server, room.id);
  assert.deepEqual(await server.ok("getRoom", { params: { roomId: other.id } }), other);
  assert.equal((await newTimeslots(server, other, { date: "2026-03-10" })).length, 8);
});

Deno.test("deleteRoom: unknown room -> 404 room_not_found", async () => {
  await using server = await sharedServer();
  const { room } = await newRoomWithTimeslot(server);
  const token = await server.token("admin", "admin");
  for (const roomId of [missingId, Number.MAX_SAFE_INTEGER]) {
    const { status } = await server.refused("room_not_found", "deleteRoom", { token, params: { roomId } });
    assert.equal(status, 404);
  }
  assert.deepEqual(await server.ok("getRoom", { params: { roomId: room.id } }), room);
});
