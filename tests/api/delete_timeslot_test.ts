import assert from "node:assert/strict";
import { confirm, missingId, newBooking, newRoom, newRoomWithTimeslot, newTimeslots } from "../support/builders.ts";
import { sharedServer } from "../support/server.ts";

const query = { date: "2026-03-09" };

Deno.test("deleteTimeslot: timeslot never booked -> deleted, others stay", async () => {
  await using server = await sharedServer();
  const room = await newRoom(server);
  const [first, ...others] = await newTimeslots(server, room, query);
  assert(first);
  const token = await server.token("admin", "admin");
  const answer = await server.ok("deleteTimeslot", { token, params: { timeslotId: first.id } });
  assert.deepEqual(answer, { message: "Timeslot deleted", withdrawnAt: null });
  const listed = await server.ok("listFreeTimeslots", { params: { roomId: room.id }, query });
  assert.deepEqual(listed.timeslots, others);
  const booking = { token: await server.token("alice"), body: { roomId: room.id, timeslotId: first.id } };
  await server.refused("unknown_timeslot", "createBooking", booking);
});

Deno.test("deleteTimeslot: deleted timeslot -> another one fits its time", async () => {
  await using server = await sharedServer();
  const { room, timeslot } = await newRoomWithTimeslot(server);
  const token = await server.token("admin", "admin");
  await server.ok("deleteTimeslot", { token, params: { timeslotId: timeslot.id } });
  const again = await newTimeslots(server, room, { ...query, slotDuration: 90, workingHours: { end: "10:30" } });
  assert.deepEqual(again.map(({ startTime, endTime }) => [startTime, endTime]), [
    ["2026-03-09T09:00:00.000Z", "2026-03-09T10:30:00.000Z"],
  ]);
  assert.notEqual(again[0]?.id, timeslot.id);
});

Deno.test("deleteTimeslot: booking pending or confirmed -> 400 timeslot_has_bookings, after its cancellation withdrawn", async () => {
  await using server = await sharedServer();
  const { room, timeslot } = await newRoomWithTimeslot(server);
  const [token, alice] = [await server.token("admin", "admin"), await server.token("alice")];
  const assertRefused = async () => {
    const request = { token, params: { timeslotId: timeslot.id } };
    const { status, detail } = await server.refused("timeslot_has_bookings", "deleteTimeslot", request);
    assert.deepEqual([status, detail], [400, "Cannot delete timeslot with existing bookings"]);
  };
  const booking = await newBooking(server, "alice", timeslot);
  await assertRefused();
  await confirm(server, booking);
  await assertRefused();
  await server.ok("cancelBooking", { token: alice, params: { bookingId: booking.id } });
  const answer = await server.ok("deleteTimeslot", { token, params: { timeslotId: timeslot.id } });
  assert.deepEqual(answer, { message: "Timeslot withdrawn", withdrawnAt: "2026-03-02T10:00:00.000Z" });
  const kept = await server.ok("getBooking", { token: alice, params: { bookingId: booking.id } });
  assert.deepEqual(kept.timeslot, timeslot);
  const { timeslots } = await server.ok("listFreeTimeslots", { params: { roomId: room.id }, query });
  assert.deepEqual(timeslots, []);
});

Deno.test("deleteTimeslot: booking rescheduled away -> deleted", async () => {
  await using server = await sharedServer();
  const room = await newRoom(server);
  const [from, to] = await newTimeslots(server, room, query);
  assert(from && to);
  const { id: bookingId } = await newBooking(server, "alice", from);
  const token = await server.token("admin", "admin");
  const move = { token: await server.token("alice"), params: { bookingId }, body: { newTimeslotId: to.id } };
  await server.ok("rescheduleBooking", move);
  await server.refused("timeslot_has_bookings", "deleteTimeslot", { token, params: { timeslotId: to.id } });
  await server.ok("deleteTimeslot", { token, params: { timeslotId: from.id } });
});

Deno.test("deleteTimeslot: at once with createBooking of the same timeslot -> one of the two succeeds", async () => {
  await using server = await sharedServer();
  const room = await newRoom(server);
  const timeslots = await newTimeslots(server, room, { ...query, slotDuration: 20 });
  const [token, alice] = [await server.token("admin", "admin"), await server.token("alice")];
  for (const [index, { id: timeslotId }] of timeslots.entries()) {
    const remove = () => server.call("deleteTimeslot", { token, params: { timeslotId } });
    const book = () => server.call("createBooking", { token: alice, body: { roomId: room.id, timeslotId } });
    // Each is sent first half of the time.
    const answers = await Promise.all(index % 2 === 0 ? [remove(), book()] : [book(), remove()]);
    const outcome = answers.map(({ status }) => status).toSorted((a, b) => a - b).join();
    assert(outcome === "200,400" || outcome === "201,400", outcome);
  }
  const left = await server.db.selectFrom("timeslots").select("id").where("room_id", "=", room.id).orderBy("id")
    .execute();
  const booked = await server.db.selectFrom("bookings").select("timeslot_id as id").where("room_id", "=", room.id)
    .orderBy("timeslot_id").execute();
  assert.deepEqual(left, booked);
});

Deno.test("deleteTimeslot: unknown or deleted timeslot -> 404 timeslot_not_found", async () => {
  await using server = await sharedServer();
  const { timeslot: { id } } = await newRoomWithTimeslot(server);
  const token = await server.token("admin", "admin");
  await server.ok("deleteTimeslot", { token, params: { timeslotId: id } });
  for (const timeslotId of [id, missingId, Number.MAX_SAFE_INTEGER]) {
    const request = { token, params: { timeslotId } };
    assert.equal((await server.refused("timeslot_not_found", "deleteTimeslot", request)).status, 404);
  }
});
