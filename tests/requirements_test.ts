/** The eight cases of the requirements. */
import assert from "node:assert/strict";
import { newBooking, newRoom, newRoomWithTimeslot } from "./support/builders.ts";
import { sharedServer, startServer } from "./support/server.ts";

Deno.test("listRooms: one room -> items and total", async () => {
  await using server = await startServer();
  await newRoom(server);
  const body = await server.ok("listRooms");
  assert("items" in body && "total" in body);
  assert.equal(body.total, 1);
});

Deno.test("listFreeTimeslots: date of tomorrow -> timeslots", async () => {
  await using server = await sharedServer();
  const { id: roomId } = await newRoom(server);
  const body = await server.ok("listFreeTimeslots", { params: { roomId }, query: { date: "2026-03-03" } });
  assert("timeslots" in body);
});

Deno.test("createBooking: token of a user -> 201, booking is pending", async () => {
  await using server = await sharedServer();
  const { room, timeslot } = await newRoomWithTimeslot(server);
  const body = { timeslotId: timeslot.id, roomId: room.id, notes: "Test booking" };
  const answer = await server.call("createBooking", { token: await server.token("alice"), body });
  assert.equal(answer.status, 201);
  const { booking } = answer.body as { booking: { status: string } };
  assert.equal(booking.status, "pending");
});

Deno.test("createBooking: no token -> 401", async () => {
  await using server = await sharedServer();
  const { room, timeslot } = await newRoomWithTimeslot(server);
  const answer = await server.call("createBooking", { body: { timeslotId: timeslot.id, roomId: room.id } });
  assert.equal(answer.status, 401);
});

Deno.test("cancelBooking: own booking -> cancelled", async () => {
  await using server = await sharedServer();
  const { timeslot } = await newRoomWithTimeslot(server);
  const { id: bookingId } = await newBooking(server, "alice", timeslot);
  const { booking } = await server.ok("cancelBooking", { token: await server.token("alice"), params: { bookingId } });
  assert.equal(booking.status, "cancelled");
});

Deno.test("cancelBooking: booking of another user -> 403", async () => {
  await using server = await sharedServer();
  const { timeslot } = await newRoomWithTimeslot(server);
  const { id: bookingId } = await newBooking(server, "bob", timeslot);
  const answer = await server.call("cancelBooking", { token: await server.token("alice"), params: { bookingId } });
  assert.equal(answer.status, 403);
});

Deno.test("listAllBookings: token of an admin -> items", async () => {
  await using server = await sharedServer();
  const body = await server.ok("listAllBookings", { token: await server.token("admin", "admin") });
  assert("items" in body);
});

Deno.test("generateTimeslots: tomorrow to next week, token of an admin -> 201 with a count", async () => {
  await using server = await sharedServer();
  const { id: roomId } = await newRoom(server);
  const answer = await server.call("generateTimeslots", {
    token: await server.token("admin", "admin"),
    body: {
      roomId,
      startDate: "2026-03-03T00:00:00",
      endDate: "2026-03-09T00:00:00",
      slotDuration: 30,
      workingHours: { start: "09:00", end: "17:00" },
    },
  });
  assert.equal(answer.status, 201);
  assert((answer.body as { count: number }).count > 0);
});
