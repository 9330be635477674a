/** A 400 timeslot_unavailable has alternatives: free timeslots that the caller can book. */
import assert from "node:assert/strict";
import type { Booking, Problem, Room, Timeslot } from "../../generated/contract.ts";
import { confirm, newBooking, newRoom, newTimeslots } from "../support/builders.ts";
import type { Call, TestServer } from "../support/server.ts";
import { alternativesOf, at, date, offered, quietServer } from "./alternatives.ts";

/** The alternatives in the answer to alice, who moves her booking to a taken timeslot. */
async function offeredMove(server: TestServer, booking: Booking, { id }: Timeslot): Promise<Timeslot[]> {
  return alternativesOf(
    await server.refused("timeslot_unavailable", "rescheduleBooking", await moveCall(server, booking, id)),
  );
}

async function moveCall(server: TestServer, { id: bookingId }: Booking, newTimeslotId: number): Promise<Call> {
  return { token: await server.token("alice"), params: { bookingId }, body: { newTimeslotId } };
}

const startsOf = (slots: Timeslot[]) => slots.map(({ startTime }) => startTime.slice(0, 16));

/** Hourly timeslots of 2026-03-09 from 09:00. */
async function newHours(server: TestServer, room: Room, hours = 8): Promise<Timeslot[]> {
  return await newTimeslots(server, room, { date, workingHours: { start: "09:00", end: `${9 + hours}:00` } });
}

Deno.test("alternatives: free timeslots before and after in the same room -> the nearest three", async () => {
  await using server = await quietServer();
  const slots = await newHours(server, await newRoom(server));
  const wanted = at(slots, 3);
  await newBooking(server, "bob", wanted);
  // With equal distances the earlier timeslot comes first.
  assert.deepEqual(await offered(server, "alice", wanted), [at(slots, 2), at(slots, 4), at(slots, 1)]);
  await newBooking(server, "bob", at(slots, 2));
  assert.deepEqual(await offered(server, "alice", wanted), [at(slots, 4), at(slots, 1), at(slots, 5)]);
  server.clock.set(at(slots, 1).startTime);
  assert.deepEqual(await offered(server, "alice", wanted), [at(slots, 4), at(slots, 5), at(slots, 6)]);
  server.clock.set(at(slots, 6).startTime);
  assert.deepEqual(await offered(server, "alice", wanted), [at(slots, 7)]);
  server.clock.set(at(slots, 7).startTime);
  assert.deepEqual(await offered(server, "alice", wanted), []);
});

Deno.test("alternatives: too few in the room -> those of active rooms of its type, at least as large", async () => {
  await using server = await quietServer();
  const fields = { roomType: "office", capacity: 4 };
  const wanted = at(await newHours(server, await newRoom(server, fields), 2), 0);
  const own = { ...wanted, id: wanted.id + 1, startTime: wanted.endTime, endTime: "2026-03-09T11:00:00.000Z" };
  for (const other of [{ capacity: 3 }, { roomType: "meeting" }, { isActive: false }]) {
    await newHours(server, await newRoom(server, { ...fields, ...other }));
  }
  const larger = await newHours(server, await newRoom(server, { ...fields, capacity: 5, timeZone: "Europe/Berlin" }));
  const same = await newHours(server, await newRoom(server, { ...fields, hourlyRate: 99, currency: "USD" }));
  await newBooking(server, "bob", wanted);
  assert.deepEqual(await offered(server, "alice", wanted), [own, at(larger, 1), at(same, 0)]);
  for (const slot of [at(larger, 1), at(same, 0), own]) await newBooking(server, "alice", slot);
  assert.deepEqual(await offered(server, "alice", wanted), [at(larger, 0), at(larger, 2), at(same, 1)]);
});

Deno.test("alternatives: more than 20 other rooms -> only the 20 smallest are searched, even if booked", async () => {
  await using server = await quietServer();
  const wanted = at(await newHours(server, await newRoom(server, { capacity: 2 }), 1), 0);
  await newBooking(server, "bob", wanted);
  for (let capacity = 3; capacity < 22; capacity++) {
    await newBooking(server, "bob", at(await newHours(server, await newRoom(server, { capacity }), 1), 0));
  }
  const last = await newHours(server, await newRoom(server, { capacity: 22 }), 1);
  await newHours(server, await newRoom(server, { capacity: 23 }), 1);
  assert.deepEqual(await offered(server, "alice", wanted), last);
});

Deno.test("alternatives: timeslots of other lengths and days -> at least as long, at most 7 days apart", async () => {
  await using server = await quietServer({ now: "2026-03-01T00:00:00.000Z" });
  const room = await newRoom(server);
  const wanted = at(await newHours(server, room, 1), 0);
  const add = async (date: string, start: string, end: string, slotDuration: number) =>
    void await newTimeslots(server, room, { date, slotDuration, workingHours: { start, end } });
  await add("2026-03-02", "07:59", "08:59", 60);
  await add("2026-03-02", "09:00", "10:00", 60);
  await add("2026-03-08", "08:00", "08:59", 59);
  await add("2026-03-10", "08:00", "11:00", 180);
  await add("2026-03-16", "09:00", "10:00", 60);
  await add("2026-03-16", "10:00", "11:00", 60);
  await newBooking(server, "bob", wanted);
  const starts = startsOf(await offered(server, "alice", wanted));
  assert.deepEqual(starts, ["2026-03-10T08:00", "2026-03-02T09:00", "2026-03-16T09:00"]);
  // Only those at the two ends of the 14 days are left.
  await newBooking(server, "bob", at(await offered(server, "alice", wanted), 0));
  assert.deepEqual(startsOf(await offered(server, "alice", wanted)), ["2026-03-02T09:00", "2026-03-16T09:00"]);
});

Deno.test("alternatives: the caller has all pending bookings allowed -> only timeslots that confirm at once", async () => {
  await using server = await quietServer({ env: { MAX_PENDING_BOOKINGS: "1" } });
  const slots = await newHours(server, await newRoom(server), 3);
  const free = await newHours(server, await newRoom(server, { hourlyRate: null, autoConfirm: true }), 1);
  await newHours(server, await newRoom(server, { hourlyRate: null, autoConfirm: false }), 1);
  await newHours(server, await newRoom(server, { hourlyRate: 1, autoConfirm: true }), 1);
  const held = await newBooking(server, "alice", at(slots, 0));
  assert.deepEqual(await offered(server, "alice", at(slots, 0)), free);
  assert.deepEqual(startsOf(await offered(server, "bob", at(slots, 0))), [
    ...startsOf(slots.slice(1)),
    "2026-03-09T09:00",
  ]);
  await confirm(server, held);
  assert.deepEqual((await offered(server, "alice", at(slots, 0))).slice(0, 2), slots.slice(1));
});

Deno.test("alternatives: rescheduleBooking -> in the same room, without its own timeslot", async () => {
  await using server = await quietServer();
  const slots = await newHours(server, await newRoom(server), 4);
  await newHours(server, await newRoom(server));
  const booking = await newBooking(server, "alice", at(slots, 1));
  await newBooking(server, "bob", at(slots, 2));
  assert.deepEqual(await offeredMove(server, booking, at(slots, 2)), [at(slots, 3), at(slots, 0)]);
  assert.deepEqual(await offeredMove(server, booking, at(slots, 1)), [at(slots, 0), at(slots, 3)]);
  server.clock.set(at(slots, 0).startTime);
  assert.deepEqual(await offeredMove(server, booking, at(slots, 0)), [at(slots, 3)]);
});

Deno.test("alternatives: rescheduleBooking of a confirmed booking -> at its price; of a pending one -> at any price", async () => {
  await using server = await quietServer();
  const room = await newRoom(server);
  const [mine, taken, same] = await newHours(server, room, 3);
  assert(mine && taken && same);
  const [long] = await newTimeslots(server, room, { date: "2026-03-10", slotDuration: 120 });
  assert(long);
  const booking = await newBooking(server, "alice", mine);
  await newBooking(server, "bob", taken);
  assert.deepEqual((await offeredMove(server, booking, taken)).slice(0, 2), [same, long]);
  await confirm(server, booking);
  assert.deepEqual(await offeredMove(server, booking, taken), [same]);
  const change = { token: await server.token("admin", "admin"), params: { roomId: room.id } };
  await server.ok("updateRoom", { ...change, body: { hourlyRate: 30 } });
  const halved = await offeredMove(server, booking, taken);
  assert.deepEqual(halved[0], long);
  await server.ok("updateRoom", { ...change, body: { currency: "USD" } });
  assert.deepEqual(await offeredMove(server, booking, taken), []);
  await server.ok("updateRoom", { ...change, body: { currency: "EUR" } });
  const { booking: moved } = await server.ok("rescheduleBooking", await moveCall(server, booking, long.id));
  assert.deepEqual([moved.timeslotId, moved.price], [long.id, 60]);
});

Deno.test("alternatives: a refusal is replayed by its Idempotency-Key -> the first answer's alternatives", async () => {
  await using server = await quietServer();
  const slots = await newHours(server, await newRoom(server), 2);
  await newBooking(server, "bob", at(slots, 0));
  const body = { roomId: at(slots, 0).roomId, timeslotId: at(slots, 0).id };
  const call = { token: await server.token("alice"), body, headers: { "Idempotency-Key": "a-wish" } };
  const first = await server.refused("timeslot_unavailable", "createBooking", call);
  assert.deepEqual(alternativesOf(first), [at(slots, 1)]);
  await newBooking(server, "bob", at(slots, 1));
  assert.deepEqual(await server.refused("timeslot_unavailable", "createBooking", call), first);
});

Deno.test("alternatives: 20 rivals for one timeslot -> all 19 others get the same, and each can be booked", async () => {
  await using server = await quietServer({ pool: 10 });
  for (let round = 0; round < 2; round++) {
    const slots = await newHours(server, await newRoom(server));
    const wanted = at(slots, round);
    const call = async (subject: string) => ({
      token: await server.token(subject),
      body: { roomId: wanted.roomId, timeslotId: wanted.id },
    });
    const answers = await Promise.all(Array.from({ length: 20 }, async (_, index) => {
      // With a key the statement runs in a transaction, where no query can follow a failed statement.
      const headers: Record<string, string> = index % 2 === 0 ? {} : { "Idempotency-Key": crypto.randomUUID() };
      return await server.call("createBooking", { ...await call(`rival ${index}`), headers });
    }));
    const refused = answers.filter(({ status }) => status !== 201).map(({ body }) => alternativesOf(body as Problem));
    assert.equal(refused.length, 19);
    for (const alternatives of refused) assert.deepEqual(alternatives, refused[0]);
    for (const slot of refused[0] ?? []) await newBooking(server, "rival 1", slot);
  }
});

Deno.test("alternatives: rivals move to one timeslot, with If-Match and without -> all others get them", async () => {
  await using server = await quietServer({ pool: 10 });
  for (let round = 0; round < 3; round++) {
    const slots = await newHours(server, await newRoom(server));
    const bookings: Booking[] = [];
    for (const slot of slots.slice(0, 4)) bookings.push(await newBooking(server, "alice", slot));
    const wanted = at(slots, 6);
    const answers = await Promise.all(bookings.map(async (booking, index) => {
      const headers: Record<string, string> = index % 2 === 0
        ? {}
        : { "If-Match": "*", "Idempotency-Key": `${booking.id}` };
      return await server.call("rescheduleBooking", { ...await moveCall(server, booking, wanted.id), headers });
    }));
    const refused = answers.filter(({ status }) => status !== 200);
    assert.equal(refused.length, 3);
    for (const { body } of refused) {
      assert.deepEqual(alternativesOf(body as Problem), [at(slots, 5), at(slots, 7), at(slots, 4)]);
    }
  }
});
