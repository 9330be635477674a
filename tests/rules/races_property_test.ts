/**
 * Races: requests go out together over HTTP, and Postgres decides. The answers and the database must agree, without a 5xx.
 * Rounds repeat so that both ends of a race occur. `deno task test` runs a few of them.
 */
import assert from "node:assert/strict";
import { type Booking, Problem, type Timeslot } from "../../generated/contract.ts";
import { confirm, insertBookings, newBooking, newRoom, newTimeslots, userIdOf } from "../support/builders.ts";
import { runs } from "../support/properties.ts";
import { type Call, type OperationId, sharedServer, startServer, type TestServer } from "../support/server.ts";
import { expectedStarts } from "../support/wall_clock_oracle.ts";

const date = "2026-03-09";

const startRace = () => sharedServer({ pool: 10 });

/** Calls an operation. Returns the status and the code: `200`, or `400 timeslot_unavailable`. */
async function outcome(server: TestServer, id: OperationId, call: Call): Promise<string> {
  const { status, body } = await server.call(id, call);
  return status < 400 ? String(status) : `${status} ${Problem.parse(body).code}`;
}

async function book(server: TestServer, subject: string, { id: timeslotId, roomId }: Timeslot): Promise<string> {
  return await outcome(server, "createBooking", { token: await server.token(subject), body: { roomId, timeslotId } });
}

async function move(
  server: TestServer,
  subject: string,
  booking: Pick<Booking, "id">,
  { id }: Timeslot,
): Promise<string> {
  const call = { token: await server.token(subject), params: { bookingId: booking.id }, body: { newTimeslotId: id } };
  return await outcome(server, "rescheduleBooking", call);
}

async function cancel(server: TestServer, subject: string, { id: bookingId }: Pick<Booking, "id">): Promise<string> {
  return await outcome(server, "cancelBooking", { token: await server.token(subject), params: { bookingId } });
}

async function asAdmin(server: TestServer, id: OperationId, call: Call): Promise<string> {
  return await outcome(server, id, { ...call, token: await server.token("admin", "admin") });
}

/** Sends two requests at once. In odd rounds the right one is sent first. */
async function duel(
  round: number,
  left: () => Promise<string>,
  right: () => Promise<string>,
): Promise<[string, string]> {
  if (round % 2 === 0) return await Promise.all([left(), right()]);
  const [second, first] = await Promise.all([right(), left()]);
  return [first, second];
}

/** The first `count` timeslots of a new room in UTC, each a quarter of an hour for 15.00 EUR. */
async function newQuarters(server: TestServer, count: number): Promise<Timeslot[]> {
  const workingHours = { start: "00:00", end: "24:00" };
  const slots = await newTimeslots(server, await newRoom(server), { date, slotDuration: 15, workingHours });
  return slots.slice(0, count);
}

/** The timeslots of a room's live bookings in the order of the bookings, and their users. */
async function liveBookings(
  server: TestServer,
  { roomId }: Pick<Timeslot, "roomId">,
): Promise<{ timeslotIds: number[]; userIds: number[] }> {
  const rows = await server.db.selectFrom("bookings").select(["user_id", "timeslot_id"])
    .where("room_id", "=", roomId).where("status", "<>", "cancelled").orderBy("id").execute();
  return { timeslotIds: rows.map((row) => row.timeslot_id), userIds: rows.map((row) => row.user_id) };
}

function tally(outcomes: string[]): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const each of outcomes) counts[each] = (counts[each] ?? 0) + 1;
  return counts;
}

function at<T>(list: readonly T[], index: number): T {
  const found = list[index];
  if (found === undefined) throw new Error(`there is no ${index} in ${list}`);
  return found;
}

Deno.test("createBooking: 50 rivals for each timeslot -> one 201, others 400 timeslot_unavailable", async () => {
  await using server = await startRace();
  const slots = await newQuarters(server, runs(2, 20));
  const rivals = Array.from({ length: 50 }, (_, index) => `rival ${index}`);
  const outcomes = await Promise.all(
    slots.map((slot) => Promise.all(rivals.map((rival) => book(server, rival, slot)))),
  );
  for (const ofSlot of outcomes) assert.deepEqual(tally(ofSlot), { "201": 1, "400 timeslot_unavailable": 49 });
  const { timeslotIds } = await liveBookings(server, at(slots, 0));
  assert.deepEqual(timeslotIds.toSorted((a, b) => a - b), slots.map((slot) => slot.id));
});

Deno.test("createBooking: a connection runs its statement for the 24th time -> the same answers", async () => {
  // From the sixth time on Postgres may use one plan for all parameters.
  await using server = await startServer({ pool: 1 });
  for (const slot of await newQuarters(server, 12)) {
    assert.equal(await book(server, "alice", slot), "201");
    assert.equal(await book(server, "bob", slot), "400 timeslot_unavailable");
  }
});

interface Moves {
  name: string;
  users: string[];
  /** Number of timeslots. The users have the first of them at the start. */
  slots: number;
  rounds: number;
  /** The target of the user with timeslot `seat`. `free` is the free timeslot, -1 if none is free. */
  wish(seat: number, free: number): number;
}

const [two, three] = [["alice", "bob"], ["alice", "bob", "carol"]];
const moves: Moves[] = [
  { name: "two users swap", users: two, slots: 2, rounds: runs(30, 200), wish: (seat) => (seat + 1) % 2 },
  { name: "three users rotate", users: three, slots: 3, rounds: runs(10, 50), wish: (seat) => (seat + 1) % 3 },
  {
    name: "three users in a ring of four",
    users: three,
    slots: 4,
    rounds: runs(15, 100),
    wish: (seat) => (seat + 1) % 4,
  },
  { name: "two users want the same timeslot", users: two, slots: 3, rounds: runs(15, 100), wish: (_, free) => free },
];

for (const { name, users, slots: size, rounds, wish } of moves) {
  Deno.test(`rescheduleBooking: ${name} at once -> one booking each, and one gets the free timeslot`, async () => {
    await using server = await startRace();
    const slots = await newQuarters(server, size);
    const bookings: Booking[] = [];
    for (const [index, user] of users.entries()) bookings.push(await newBooking(server, user, at(slots, index)));
    const seats = bookings.map((_, index) => index);
    for (let round = 0; round < rounds; round++) {
      const free = slots.findIndex((_, index) => !seats.includes(index));
      const wishes = seats.map((seat) => wish(seat, free));
      const outcomes = await Promise.all(
        users.map((user, index) => move(server, user, at(bookings, index), at(slots, at(wishes, index)))),
      );
      outcomes.forEach((each, index) => {
        if (each === "200") seats[index] = at(wishes, index);
        else assert.equal(each, "400 timeslot_unavailable");
      });
      if (free >= 0) assert.equal(outcomes.filter((each, index) => each === "200" && wishes[index] === free).length, 1);
      assert.equal(new Set(seats).size, users.length, "a timeslot was booked twice");
      assert.deepEqual(await liveBookings(server, at(slots, 0)), {
        timeslotIds: seats.map((seat) => at(slots, seat).id),
        userIds: bookings.map((booking) => booking.userId),
      });
    }
  });
}

Deno.test("generateTimeslots: eight clients at once for one room -> no overlaps, each timeslot counted once", async () => {
  await using server = await startRace();
  const { id: roomId } = await newRoom(server);
  const token = await server.token("admin", "admin");
  const requests = [15, 20, 25, 30, 45, 60, 90, 120].map((slotDuration, index) => {
    const workingHours = { start: `${String(6 + index).padStart(2, "0")}:00`, end: `${16 + index}:30` };
    return { startDate: date, endDate: "2026-03-22", slotDuration, workingHours };
  });
  const answers = await Promise.all(
    requests.map((request) => server.ok("generateTimeslots", { token, body: { roomId, ...request } })),
  );
  const rest = { timeZone: "UTC", breaks: [], daysOfWeek: [1, 2, 3, 4, 5, 6, 7], excludedDates: [] };
  assert.deepEqual(
    answers.map(({ count, skipped }) => count + skipped),
    requests.map((request) => expectedStarts({ ...rest, ...request }).length),
  );
  const rows = await server.db.selectFrom("timeslots").select(["starts_at", "ends_at"])
    .where("room_id", "=", roomId).orderBy("starts_at").execute();
  assert.equal(answers.reduce((sum, { count }) => sum + count, 0), rows.length);
  rows.slice(1).forEach((row, index) => assert(row.starts_at >= at(rows, index).ends_at, "two timeslots overlap"));
});

Deno.test("cancelBooking: ten times at once for a paid booking -> one 200 with a refund, others 400 booking_not_cancellable", async () => {
  await using server = await startRace();
  const booking = await confirm(server, await newBooking(server, "alice", at(await newQuarters(server, 1), 0)));
  const outcomes = await Promise.all(Array.from({ length: 10 }, () => cancel(server, "alice", booking)));
  assert.deepEqual(tally(outcomes), { "200": 1, "400 booking_not_cancellable": 9 });
  const query = { roomId: booking.roomId };
  const { revenue, byStatus } = await server.ok("getBookingStats", {
    token: await server.token("admin", "admin"),
    query,
  });
  assert.deepEqual([revenue, byStatus.cancelled], [0, 1]);
});

Deno.test("cancelBooking: rescheduleBooking at once -> cancelled and refunded, both timeslots free", async () => {
  await using server = await startRace();
  const slots = await newQuarters(server, 2);
  const [token, userId] = [await server.token("alice"), await userIdOf(server, "alice")];
  for (let round = 0; round < runs(10, 50); round++) {
    const [id] = await insertBookings(server, userId, [at(slots, 0)], "confirmed");
    assert(id !== undefined);
    const booking = { id, roomId: at(slots, 0).roomId };
    const [cancelled, moved] = await duel(
      round,
      () => cancel(server, "alice", booking),
      () => move(server, "alice", booking, at(slots, 1)),
    );
    assert.equal(cancelled, "200");
    assert(moved === "200" || moved === "400 booking_not_reschedulable", moved);
    const end = await server.ok("getBooking", { token, params: { bookingId: booking.id } });
    assert.equal(end.timeslotId, at(slots, moved === "200" ? 1 : 0).id);
    assert.deepEqual([end.status, end.amountPaid, end.amountRefunded], ["cancelled", 15, 15]);
    assert.deepEqual(await liveBookings(server, booking), { timeslotIds: [], userIds: [] });
  }
});

Deno.test("cancelBooking: updateBookingStatus confirms at once -> cancelled, and refunded if confirmed first", async () => {
  await using server = await startRace();
  const [slot] = await newQuarters(server, 1);
  assert(slot !== undefined);
  const [token, userId] = [await server.token("alice"), await userIdOf(server, "alice")];
  for (let round = 0; round < runs(10, 50); round++) {
    const [id] = await insertBookings(server, userId, [slot]);
    assert(id !== undefined);
    const [booking, params] = [{ id }, { bookingId: id }];
    const [cancelled, confirmed] = await duel(
      round,
      () => cancel(server, "alice", booking),
      () => asAdmin(server, "updateBookingStatus", { params, body: { status: "confirmed" } }),
    );
    assert.equal(cancelled, "200");
    assert(confirmed === "200" || confirmed === "400 invalid_status_transition", confirmed);
    const { status, paymentStatus, amountPaid, amountRefunded } = await server.ok("getBooking", { token, params });
    assert.deepEqual(
      [status, paymentStatus, amountPaid, amountRefunded],
      confirmed === "200" ? ["cancelled", "refunded", 15, 15] : ["cancelled", "unpaid", 0, 0],
    );
  }
});

Deno.test("deleteTimeslot: createBooking at once -> either deleted or booked", async () => {
  await using server = await startRace();
  for (const [round, slot] of (await newQuarters(server, runs(10, 50))).entries()) {
    const ends = await duel(
      round,
      () => asAdmin(server, "deleteTimeslot", { params: { timeslotId: slot.id } }),
      () => book(server, "alice", slot),
    );
    const isBooked = ends[1] === "201";
    assert.deepEqual(ends, isBooked ? ["400 timeslot_has_bookings", "201"] : ["200", "400 unknown_timeslot"]);
    const { timeslotIds } = await liveBookings(server, slot);
    assert.equal(timeslotIds.includes(slot.id), isBooked);
    const left = await server.db.selectFrom("timeslots").select("id").where("id", "=", slot.id).execute();
    assert.equal(left.length, isBooked ? 1 : 0);
  }
});

Deno.test("deleteTimeslot: rescheduleBooking to it at once -> either deleted or booked", async () => {
  await using server = await startRace();
  const [first, ...others] = await newQuarters(server, 1 + runs(10, 50));
  assert(first !== undefined);
  const booking = await newBooking(server, "alice", first);
  let seat = first.id;
  for (const [round, slot] of others.entries()) {
    const ends = await duel(
      round,
      () => asAdmin(server, "deleteTimeslot", { params: { timeslotId: slot.id } }),
      () => move(server, "alice", booking, slot),
    );
    const isMoved = ends[1] === "200";
    assert.deepEqual(ends, isMoved ? ["400 timeslot_has_bookings", "200"] : ["200", "400 unknown_timeslot"]);
    if (isMoved) seat = slot.id;
    assert.deepEqual(await liveBookings(server, slot), { timeslotIds: [seat], userIds: [booking.userId] });
  }
});

Deno.test("deleteRoom: createBooking at once -> 201 or 400 room_inactive, and no further booking", async () => {
  await using server = await startRace();
  const [first, second] = await newQuarters(server, 2);
  assert(first !== undefined && second !== undefined);
  const params = { roomId: first.roomId };
  for (let round = 0; round < runs(10, 50); round++) {
    const [deactivated, booked] = await duel(
      round,
      () => asAdmin(server, "deleteRoom", { params }),
      () => book(server, "alice", first),
    );
    assert.equal(deactivated, "200");
    assert(booked === "201" || booked === "400 room_inactive", booked);
    assert.equal(await book(server, "bob", second), "400 room_inactive");
    assert.deepEqual((await liveBookings(server, first)).timeslotIds, booked === "201" ? [first.id] : []);
    await server.db.deleteFrom("bookings").where("room_id", "=", first.roomId).execute();
    await server.db.updateTable("rooms").set({ is_active: true }).where("id", "=", first.roomId).execute();
  }
});
