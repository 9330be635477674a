/** Timeslots that were withdrawn because they have cancelled bookings: nobody gets them, and nothing else misses them. */
import assert from "node:assert/strict";
import type { Room, Timeslot } from "../../generated/contract.ts";
import { confirm, newBooking, newRoom, newTimeslots } from "../support/builders.ts";
import { newCheckout, pay } from "../support/sandbox_payments.ts";
import { sharedServer, type TestServer } from "../support/server.ts";

const date = "2026-03-09";

interface Scene {
  server: TestServer;
  room: Room;
  /** Withdrawn after alice cancelled her booking. */
  withdrawn: Timeslot;
  bookingId: number;
  others: Timeslot[];
}

async function newScene(server: TestServer, fields: Record<string, unknown> = {}): Promise<Scene> {
  const room = await newRoom(server, fields);
  const [withdrawn, ...others] = await newTimeslots(server, room, { date });
  assert(withdrawn);
  const { id: bookingId } = await newBooking(server, "alice", withdrawn);
  await server.ok("cancelBooking", { token: await server.token("alice"), params: { bookingId } });
  await withdraw(server, withdrawn);
  return { server, room, withdrawn, bookingId, others };
}

async function withdraw(server: TestServer, { id: timeslotId }: Timeslot): Promise<void> {
  const call = { token: await server.token("admin", "admin"), params: { timeslotId } };
  assert.equal((await server.ok("deleteTimeslot", call)).message, "Timeslot withdrawn");
}

Deno.test("deleteTimeslot: withdrawn -> not listed, not found by the search, not an alternative, not bookable", async () => {
  await using server = await sharedServer();
  const { room, withdrawn, others } = await newScene(server);
  const free = await server.ok("listFreeTimeslots", { params: { roomId: room.id }, query: { date } });
  assert.deepEqual(free.timeslots, others);
  const { items } = await server.ok("listAvailableRooms", { query: { from: date, to: date, capacity: 1 } });
  assert.deepEqual(items.find((item) => item.room.id === room.id)?.timeslots, others);

  const token = await server.token("bob");
  const body = { roomId: room.id, timeslotId: withdrawn.id };
  const refusal = await server.refused("timeslot_unavailable", "createBooking", { token, body });
  assert.equal(refusal.detail, `Timeslot ${withdrawn.id} is no longer offered. Choose another one.`);
  assert.deepEqual(refusal.alternatives?.map(({ id }) => id), others.slice(0, 3).map(({ id }) => id));
  const [first, second] = others;
  assert(first && second);
  const { id: bookingId } = await newBooking(server, "bob", first);
  const move = { token, params: { bookingId }, body: { newTimeslotId: withdrawn.id } };
  await server.refused("timeslot_unavailable", "rescheduleBooking", move);
  const taken = { token: await server.token("carol"), body: { roomId: room.id, timeslotId: first.id } };
  const { alternatives } = await server.refused("timeslot_unavailable", "createBooking", taken);
  assert(alternatives?.every(({ id }) => id !== withdrawn.id) && alternatives.some(({ id }) => id === second.id));
});

Deno.test("deleteTimeslot: withdrawn -> timeslots of another length take its time", async () => {
  await using server = await sharedServer();
  const { room, withdrawn, others } = await newScene(server);
  const token = await server.token("admin", "admin");
  const body = { roomId: room.id, startDate: date, endDate: date, slotDuration: 20 };
  const { count, skipped } = await server.ok("generateTimeslots", { token, body });
  assert.deepEqual([count, skipped], [3, 21]);
  const { timeslots } = await server.ok("listFreeTimeslots", {
    params: { roomId: room.id },
    query: { date, duration: 1 },
  });
  assert.equal(timeslots.length, others.length + 3);
  assert.deepEqual(timeslots.slice(0, 3).map(({ startTime }) => startTime.slice(11, 16)), ["09:00", "09:20", "09:40"]);
  for (const slot of timeslots.slice(0, 3)) await newBooking(server, "bob", slot);
  const bookable = await server.ok("getBookingStats", {
    token,
    query: { fromDate: date, toDate: date, roomId: room.id },
  });
  assert.equal(bookable.bookableMinutes, 8 * 60);
  assert.equal(withdrawn.startTime, timeslots[0]?.startTime);
});

Deno.test("deleteTimeslot: withdrawn -> the history of its bookings stays, and it cannot be withdrawn again", async () => {
  await using server = await sharedServer();
  const { room, withdrawn, bookingId } = await newScene(server);
  const alice = { token: await server.token("alice"), params: { bookingId } };
  assert.deepEqual((await server.ok("getBooking", alice)).timeslot, withdrawn);
  const own = await server.ok("listBookings", { token: alice.token, query: { from_date: date, to_date: date } });
  assert.deepEqual(own.items.map(({ id }) => id), [bookingId]);
  const token = await server.token("admin", "admin");
  await server.refused("timeslot_not_found", "deleteTimeslot", { token, params: { timeslotId: withdrawn.id } });
  await server.settled();
  const { items } = await server.ok("listEvents", { token, query: { roomId: room.id, limit: 1000 } });
  const last = items.at(-1);
  assert(last?.event === "timeslot_update");
  assert.deepEqual([last.data.change, last.data.timeslotId, last.data.isAvailable], ["deleted", withdrawn.id, false]);
  const audit = await server.ok("listAuditLog", { token, query: { resource: "timeslot", resourceId: withdrawn.id } });
  assert.deepEqual(audit.items.map(({ before, after }) => [before, after]), [
    [withdrawn, { ...withdrawn, withdrawnAt: "2026-03-02T10:00:00.000Z" }],
  ]);
});

Deno.test("deleteTimeslot: withdrawn after its hold expired -> a late payment is refunded", async () => {
  await using server = await sharedServer({ env: { PAYMENT_PROVIDER: "sandbox" } });
  const [slot] = await newTimeslots(server, await newRoom(server), { date });
  assert(slot);
  const checkout = await newCheckout(server, "alice", slot);
  server.clock.set("2026-03-02T10:15:00.000Z");
  await server.sweep();
  await withdraw(server, slot);
  await pay(server, checkout);
  await server.work();
  const call = { token: await server.token("alice"), params: { bookingId: checkout.booking.id } };
  const { status, paymentStatus, amountRefunded } = await server.ok("getBooking", call);
  assert.deepEqual([status, paymentStatus, amountRefunded], ["cancelled", "refunded", 60]);
});

Deno.test("deleteTimeslot: cancelled before, at once with a new booking -> one of the two succeeds", async () => {
  await using server = await sharedServer({ pool: 10, env: { MAX_PENDING_BOOKINGS: "0" } });
  const room = await newRoom(server);
  const slots = await newTimeslots(server, room, { date, slotDuration: 20 });
  const [token, alice] = [await server.token("admin", "admin"), await server.token("alice")];
  for (const [index, slot] of slots.entries()) {
    const { id: bookingId } = await newBooking(server, "alice", slot);
    await server.ok("cancelBooking", { token: alice, params: { bookingId } });
    const remove = () => server.call("deleteTimeslot", { token, params: { timeslotId: slot.id } });
    const book = () => server.call("createBooking", { token: alice, body: { roomId: room.id, timeslotId: slot.id } });
    const answers = await Promise.all(index % 2 === 0 ? [remove(), book()] : [book(), remove()]);
    const outcome = answers.map(({ status }) => status).toSorted((a, b) => a - b).join();
    assert(outcome === "200,400" || outcome === "201,400", outcome);
  }
  const live = await server.db.selectFrom("bookings as b").innerJoin("timeslots as t", "t.id", "b.timeslot_id")
    .select("b.id").where("b.room_id", "=", room.id).where("b.status", "<>", "cancelled")
    .where("t.withdrawn_at", "is not", null).execute();
  assert.deepEqual(live, []);
});

Deno.test("deleteTimeslot: cancelled before, at once with a move to it -> one of the two succeeds", async () => {
  await using server = await sharedServer({ pool: 10 });
  const room = await newRoom(server);
  const [home, ...slots] = await newTimeslots(server, room, { date, slotDuration: 20 });
  assert(home);
  const [token, alice, bob] = [
    await server.token("admin", "admin"),
    await server.token("alice"),
    await server.token("bob"),
  ];
  const { id: moving } = await newBooking(server, "bob", home);
  const moveTo = (newTimeslotId: number) =>
    server.call("rescheduleBooking", { token: bob, params: { bookingId: moving }, body: { newTimeslotId } });
  for (const [index, slot] of slots.entries()) {
    const { id: bookingId } = await newBooking(server, "alice", slot);
    await server.ok("cancelBooking", { token: alice, params: { bookingId } });
    const remove = () => server.call("deleteTimeslot", { token, params: { timeslotId: slot.id } });
    const move = () => moveTo(slot.id);
    const answers = await Promise.all(index % 2 === 0 ? [remove(), move()] : [move(), remove()]);
    assert.deepEqual(answers.map(({ status }) => status).toSorted(), [200, 400]);
  }
  const live = await server.db.selectFrom("bookings as b").innerJoin("timeslots as t", "t.id", "b.timeslot_id")
    .select("b.id").where("b.room_id", "=", room.id).where("b.status", "<>", "cancelled")
    .where("t.withdrawn_at", "is not", null).execute();
  assert.deepEqual(live, []);
});

Deno.test("listTimeslots: free, booked, past and withdrawn ones of a deactivated room -> all, the earliest first", async () => {
  await using server = await sharedServer();
  const { room, withdrawn, others } = await newScene(server, { timeZone: "America/Los_Angeles" });
  const token = await server.token("admin", "admin");
  const [booked, ...free] = others;
  assert(booked);
  const { id: bookingId } = await confirm(server, await newBooking(server, "bob", booked));
  await server.ok("deleteRoom", { token, params: { roomId: room.id } });
  server.clock.set("2026-03-20T10:00:00.000Z");
  const list = (query: Record<string, unknown>) =>
    server.ok("listTimeslots", { token, query: { roomId: room.id, ...query } });
  const expected = [
    { ...withdrawn, bookingId: null, withdrawnAt: "2026-03-02T10:00:00.000Z" },
    { ...booked, bookingId, withdrawnAt: null },
    ...free.map((slot) => ({ ...slot, bookingId: null, withdrawnAt: null })),
  ];
  assert.deepEqual(await list({}), { items: expected, total: 8, page: 1, limit: 50, nextCursor: null });
  assert.deepEqual((await list({ from: date, to: date })).items, expected);
  assert.deepEqual((await list({ from: "2026-03-10" })).items, []);
  // 10:00 in Los Angeles.
  assert.deepEqual((await list({ from: "2026-03-09T10:00", to: "2026-03-09T17:00:00Z" })).items, expected.slice(1, 2));
  assert.deepEqual((await list({ limit: 3, page: 3 })).items, expected.slice(6));
});
