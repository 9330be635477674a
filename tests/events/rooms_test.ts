/** `join_room`: changes in the availability of a room's timeslots. */
import assert from "node:assert/strict";
import type { TimeslotChange } from "../../generated/contract.ts";
import { newBooking, newRoom, newRoomWithTimeslot, newTimeslots } from "../support/builders.ts";
import { sharedServer, type TestServer } from "../support/server.ts";
import { openSocket, type TestSocket } from "../support/socket.ts";

async function joinRoom(server: TestServer, roomId: number): Promise<TestSocket> {
  await server.settled();
  const socket = await openSocket(server, { token: await server.token("watcher") });
  socket.send({ action: "join_room", roomId });
  assert.equal((await socket.expect("joined")).roomId, roomId);
  return socket;
}

async function nextChange(socket: TestSocket): Promise<TimeslotChange> {
  return (await socket.expect("timeslot_update")).data;
}

Deno.test("join_room: createBooking, cancelBooking -> taken, freed", async () => {
  await using server = await sharedServer();
  const { room, timeslot } = await newRoomWithTimeslot(server);
  const { startTime, endTime } = timeslot;
  await using socket = await joinRoom(server, room.id);
  const { id: bookingId } = await newBooking(server, "alice", timeslot);
  const about = { roomId: room.id, timeslotId: timeslot.id, startTime, endTime };
  assert.deepEqual(await nextChange(socket), { ...about, isAvailable: false, change: "taken" });
  await server.ok("cancelBooking", { token: await server.token("alice"), params: { bookingId } });
  assert.deepEqual(await nextChange(socket), { ...about, isAvailable: true, change: "freed" });
});

Deno.test("join_room: rescheduleBooking -> freed and taken, two events with cursors", async () => {
  await using server = await sharedServer();
  const room = await newRoom(server);
  const [first, second] = await newTimeslots(server, room, { date: "2026-03-09" });
  assert(first && second);
  const { id: bookingId } = await newBooking(server, "alice", first);
  await using socket = await joinRoom(server, room.id);
  const token = await server.token("alice");
  await server.ok("rescheduleBooking", { token, params: { bookingId }, body: { newTimeslotId: second.id } });
  const frames = [await socket.expect("timeslot_update"), await socket.expect("timeslot_update")];
  assert.deepEqual(frames.map(({ data }) => [data.change, data.timeslotId, data.isAvailable]), [
    ["freed", first.id, true],
    ["taken", second.id, false],
  ]);
  // A subscriber that reconnects between the two gets the second one.
  socket.send({ action: "join_room", roomId: room.id, after: frames[0]?.cursor ?? "" });
  await socket.expect("joined");
  assert.deepEqual(await socket.expect("timeslot_update"), frames[1]);
});

Deno.test("join_room: freed after the start or in a closed room -> isAvailable false", async () => {
  await using server = await sharedServer();
  const room = await newRoom(server);
  const [first, second] = await newTimeslots(server, room, { date: "2026-03-09" });
  assert(first && second);
  const bookings = [await newBooking(server, "alice", first), await newBooking(server, "alice", second)];
  await using socket = await joinRoom(server, room.id);
  const admin = await server.token("admin", "admin");
  const cancel = (index: number) => {
    const params = { bookingId: bookings[index]?.id };
    return server.ok("updateBookingStatus", { token: admin, params, body: { status: "cancelled" } });
  };
  server.clock.set(first.startTime);
  await cancel(0);
  assert.deepEqual((await nextChange(socket)).isAvailable, false);
  await server.ok("deleteRoom", { token: admin, params: { roomId: room.id } });
  assert.deepEqual((await nextChange(socket)).change, "room_closed");
  await cancel(1);
  const { change, timeslotId, isAvailable } = await nextChange(socket);
  assert.deepEqual({ change, timeslotId, isAvailable }, { change: "freed", timeslotId: second.id, isAvailable: false });
});

Deno.test("join_room: deleteTimeslot, a room closes and opens -> an event each, none for calls without a change", async () => {
  await using server = await sharedServer();
  const { room, timeslot } = await newRoomWithTimeslot(server);
  const token = await server.token("admin", "admin");
  await using socket = await joinRoom(server, room.id);
  const params = { roomId: room.id };
  await server.ok("deleteTimeslot", { token, params: { timeslotId: timeslot.id } });
  await server.ok("updateRoom", { token, params, body: { capacity: 3, isActive: true } });
  await server.ok("deleteRoom", { token, params });
  await server.ok("deleteRoom", { token, params });
  await server.ok("updateRoom", { token, params, body: { isActive: false } });
  await server.ok("updateRoom", { token, params, body: { isActive: true } });
  await server.ok("updateRoom", { token, params, body: { isActive: false } });
  const whole = { roomId: room.id, timeslotId: null, startTime: null, endTime: null };
  const { startTime, endTime } = timeslot;
  assert.deepEqual(await nextChange(socket), {
    roomId: room.id,
    timeslotId: timeslot.id,
    isAvailable: false,
    change: "deleted",
    startTime,
    endTime,
  });
  assert.deepEqual(await nextChange(socket), { ...whole, isAvailable: false, change: "room_closed" });
  assert.deepEqual(await nextChange(socket), { ...whole, isAvailable: true, change: "room_opened" });
  assert.deepEqual(await nextChange(socket), { ...whole, isAvailable: false, change: "room_closed" });
});

Deno.test("join_booking_room: all and one user on a socket -> each event once", async () => {
  await using server = await sharedServer();
  const slots = await newTimeslots(server, await newRoom(server), { date: "2026-03-09" });
  const [first, second] = slots;
  assert(first && second);
  const { userId } = await newBooking(server, "alice", first);
  await server.settled();
  await using socket = await openSocket(server, { token: await server.token("admin", "admin") });
  socket.send({ action: "join_booking_room", userId: "all" });
  assert.equal((await socket.expect("joined")).userId, "all");
  socket.send({ action: "join_booking_room", userId });
  await socket.expect("joined");
  const { id: bookingId } = await newBooking(server, "alice", second);
  await server.ok("cancelBooking", { token: await server.token("alice"), params: { bookingId } });
  assert.equal((await socket.expect("booking_update")).data.type, "created");
  assert.equal((await socket.expect("booking_update")).data.type, "cancelled");
});
