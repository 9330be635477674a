/**
 * Everything that can happen at once. Requests go out together over HTTP and Postgres decides; whatever it decides, the
 * answers and the database have to agree, and nobody sees a 5xx. Rounds repeat so that both ends of a race come up.
 */
import { sql } from "kysely";
import assert from "node:assert/strict";
import { type Booking, Problem, type Timeslot } from "../../generated/contract.ts";
import { retryConflicts } from "../../src/database/transactions.ts";
import { confirm, newBooking, newRoom, newTimeslots } from "../support/builders.ts";
import { type Call, type OperationId, startServer, type TestServer } from "../support/server.ts";
import { expectedStarts } from "../support/wall_clock_oracle.ts";

const date = "2026-03-09";

/** A server with more connections than the default, so that more statements run at the same time. */
const startRace = () => startServer({ pool: 10 });

/** Calls an operation and says how it went: `200`, or `400 timeslot_unavailable`. */
async function outcome(server: TestServer, id: OperationId, call: Call): Promise<string> {
  const { status, body } = await server.call(id, call);
  return status < 400 ? String(status) : `${status} ${Problem.parse(body).code}`;
}

async function book(server: TestServer, subject: string, { id: timeslotId, roomId }: Timeslot): Promise<string> {
  return await outcome(server, "createBooking", { token: await server.token(subject), body: { roomId, timeslotId } });
}

async function move(server: TestServer, subject: string, booking: Booking, { id }: Timeslot): Promise<string> {
  const call = { token: await server.token(subject), params: { bookingId: booking.id }, body: { newTimeslotId: id } };
  return await outcome(server, "rescheduleBooking", call);
}

async function cancel(server: TestServer, subject: string, { id: bookingId }: Booking): Promise<string> {
  return await outcome(server, "cancelBooking", { token: await server.token(subject), params: { bookingId } });
}

async function asAdmin(server: TestServer, id: OperationId, call: Call): Promise<string> {
  return await outcome(server, id, { ...call, token: await server.token("admin", "admin") });
}

/** Two requests at once, which take turns in going first. */
async function duel(
  round: number,
  left: () => Promise<string>,
  right: () => Promise<string>,
): Promise<[string, string]> {
  if (round % 2 === 0) return await Promise.all([left(), right()]);
  const [second, first] = await Promise.all([right(), left()]);
  return [first, second];
}

/** The first `count` timeslots of a new room in UTC that costs 60.00 EUR an hour, each a quarter of an hour long. */
async function newQuarters(server: TestServer, count: number): Promise<Timeslot[]> {
  const workingHours = { start: "00:00", end: "24:00" };
  const slots = await newTimeslots(server, await newRoom(server), { date, slotDuration: 15, workingHours });
  return slots.slice(0, count);
}

/** The timeslots of all live bookings in the order of the bookings, and their users. */
async function liveBookings(server: TestServer): Promise<{ timeslotIds: number[]; userIds: number[] }> {
  const rows = await server.db.selectFrom("bookings").select(["user_id", "timeslot_id"])
    .where("status", "<>", "cancelled").orderBy("id").execute();
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

Deno.test("createBooking answers 400 timeslot_unavailable to all but one of fifty rivals for each of 20 slots", async () => {
  await using server = await startRace();
  const slots = await newQuarters(server, 20);
  const rivals = Array.from({ length: 50 }, (_, index) => `rival ${index}`);
  const outcomes = await Promise.all(
    slots.map((slot) => Promise.all(rivals.map((rival) => book(server, rival, slot)))),
  );
  for (const ofSlot of outcomes) assert.deepEqual(tally(ofSlot), { "201": 1, "400 timeslot_unavailable": 49 });
  const { timeslotIds } = await liveBookings(server);
  assert.deepEqual(timeslotIds.toSorted((a, b) => a - b), slots.map((slot) => slot.id));
});

Deno.test("createBooking decides the same however often its connection has run it before", async () => {
  // From the sixth time on Postgres may take one plan for all parameters, in which none of them is known.
  await using server = await startServer({ pool: 1 });
  for (const slot of await newQuarters(server, 12)) {
    assert.equal(await book(server, "alice", slot), "201");
    assert.equal(await book(server, "bob", slot), "400 timeslot_unavailable");
  }
});

interface Moves {
  name: string;
  users: string[];
  /** How many timeslots there are. The users sit in the first of them at the start. */
  slots: number;
  rounds: number;
  /** Where one who sits in `seat` wants to go. `free` is the free timeslot, -1 when there is none. */
  wish(seat: number, free: number): number;
}

const [two, three] = [["alice", "bob"], ["alice", "bob", "carol"]];
const moves: Moves[] = [
  { name: "two users who swap", users: two, slots: 2, rounds: 200, wish: (seat) => (seat + 1) % 2 },
  { name: "three users who rotate", users: three, slots: 3, rounds: 50, wish: (seat) => (seat + 1) % 3 },
  { name: "three users in a ring of four", users: three, slots: 4, rounds: 100, wish: (seat) => (seat + 1) % 4 },
  { name: "two users who want the same timeslot", users: two, slots: 3, rounds: 100, wish: (_, free) => free },
];

for (const { name, users, slots: size, rounds, wish } of moves) {
  Deno.test(`rescheduleBooking at once by ${name} leaves each one booking, and gives a free timeslot to one`, async () => {
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
      assert.equal(new Set(seats).size, users.length, "a timeslot was given twice");
      assert.deepEqual(await liveBookings(server), {
        timeslotIds: seats.map((seat) => at(slots, seat).id),
        userIds: bookings.map((booking) => booking.userId),
      });
    }
  });
}

Deno.test("timeslots that eight clients generate at once for one room never overlap, and each is counted once", async () => {
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
  const rows = await server.db.selectFrom("timeslots").select(["starts_at", "ends_at"]).orderBy("starts_at").execute();
  assert.equal(answers.reduce((sum, { count }) => sum + count, 0), rows.length);
  rows.slice(1).forEach((row, index) => assert(row.starts_at >= at(rows, index).ends_at, "two timeslots overlap"));
});

Deno.test("of ten cancellations of a paid booking at once one refunds it and nine answer booking_not_cancellable", async () => {
  await using server = await startRace();
  const booking = await confirm(server, await newBooking(server, "alice", at(await newQuarters(server, 1), 0)));
  const outcomes = await Promise.all(Array.from({ length: 10 }, () => cancel(server, "alice", booking)));
  assert.deepEqual(tally(outcomes), { "200": 1, "400 booking_not_cancellable": 9 });
  const { revenue, byStatus } = await server.ok("getBookingStats", { token: await server.token("admin", "admin") });
  assert.deepEqual([revenue, byStatus.cancelled], [0, 1]);
});

Deno.test("a booking that is cancelled and rescheduled at once is cancelled and refunded, and both timeslots are free", async () => {
  await using server = await startRace();
  const slots = await newQuarters(server, 2);
  const token = await server.token("alice");
  for (let round = 0; round < 50; round++) {
    const booking = await confirm(server, await newBooking(server, "alice", at(slots, 0)));
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
    assert.deepEqual(await liveBookings(server), { timeslotIds: [], userIds: [] });
  }
});

Deno.test("a booking that is confirmed and cancelled at once is cancelled, and refunded if it was confirmed first", async () => {
  await using server = await startRace();
  const [slot] = await newQuarters(server, 1);
  assert(slot !== undefined);
  const token = await server.token("alice");
  for (let round = 0; round < 50; round++) {
    const booking = await newBooking(server, "alice", slot);
    const params = { bookingId: booking.id };
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

Deno.test("a timeslot that is deleted and booked at once is either gone or booked", async () => {
  await using server = await startRace();
  for (const [round, slot] of (await newQuarters(server, 50)).entries()) {
    const ends = await duel(
      round,
      () => asAdmin(server, "deleteTimeslot", { params: { timeslotId: slot.id } }),
      () => book(server, "alice", slot),
    );
    const isBooked = ends[1] === "201";
    assert.deepEqual(ends, isBooked ? ["400 timeslot_has_bookings", "201"] : ["200", "400 unknown_timeslot"]);
    const { timeslotIds } = await liveBookings(server);
    assert.equal(timeslotIds.includes(slot.id), isBooked);
    const left = await server.db.selectFrom("timeslots").select("id").where("id", "=", slot.id).execute();
    assert.equal(left.length, isBooked ? 1 : 0);
  }
});

Deno.test("a timeslot that is deleted while a booking moves there is either gone or takes the booking", async () => {
  await using server = await startRace();
  const [first, ...others] = await newQuarters(server, 51);
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
    assert.deepEqual(await liveBookings(server), { timeslotIds: [seat], userIds: [booking.userId] });
  }
});

Deno.test("a room that is deactivated while it is booked keeps that booking or refuses it, and takes no other", async () => {
  await using server = await startRace();
  const [first, second] = await newQuarters(server, 2);
  assert(first !== undefined && second !== undefined);
  const params = { roomId: first.roomId };
  for (let round = 0; round < 50; round++) {
    const [deactivated, booked] = await duel(
      round,
      () => asAdmin(server, "deleteRoom", { params }),
      () => book(server, "alice", first),
    );
    assert.equal(deactivated, "200");
    assert(booked === "201" || booked === "400 room_inactive", booked);
    assert.equal(await book(server, "bob", second), "400 room_inactive");
    assert.deepEqual((await liveBookings(server)).timeslotIds, booked === "201" ? [first.id] : []);
    await server.db.deleteFrom("bookings").execute();
    await asAdmin(server, "updateRoom", { params, body: { isActive: true } });
  }
});

Deno.test("retryConflicts runs a transaction again that Postgres gave up to end a deadlock", async () => {
  await using server = await startServer();
  const [one, two] = [(await newRoom(server)).id, (await newRoom(server)).id];
  let runs = 0;
  let holding = 0;
  const bothHoldOne = Promise.withResolvers<void>();
  const oneIsDone = Promise.withResolvers<void>();
  const raiseCapacities = (first: number, second: number) =>
    retryConflicts(server.db, () =>
      server.db.transaction().execute(async (trx) => {
        // Who was given up begins again when the other one is through. Earlier it could overtake that, and wait for it again.
        if (++runs > 2) await oneIsDone.promise;
        // Postgres looks for deadlocks after a second; a superuser need not wait for that.
        await sql`select set_config('deadlock_timeout', '10ms', true) from pg_roles
          where rolname = current_user and rolsuper`.execute(trx);
        const raise = (id: number) =>
          trx.updateTable("rooms").set((eb) => ({ capacity: eb("capacity", "+", 1) })).where("id", "=", id).execute();
        await raise(first);
        if (++holding === 2) bothHoldOne.resolve();
        await bothHoldOne.promise;
        await raise(second);
      })).then(oneIsDone.resolve);
  await Promise.all([raiseCapacities(one, two), raiseCapacities(two, one)]);
  assert.equal(runs, 3, "one of the two ran twice");
  const rows = await server.db.selectFrom("rooms").select("capacity").execute();
  assert.deepEqual(rows, [{ capacity: 3 }, { capacity: 3 }]);
});

/** Raises a room's capacity by one in a transaction that somebody else comes in between in its first `times` runs. */
async function raiseAgainst(server: TestServer, times: number): Promise<{ runs: number; failure: unknown }> {
  const { id } = await newRoom(server);
  let runs = 0;
  const failure = await retryConflicts(
    server.db,
    () =>
      server.db.transaction().setIsolationLevel("repeatable read").execute(async (trx) => {
        const { capacity } = await trx.selectFrom("rooms").select("capacity").where("id", "=", id)
          .executeTakeFirstOrThrow();
        if (++runs <= times) {
          await server.db.updateTable("rooms").set({ capacity: 10 * runs }).where("id", "=", id).execute();
        }
        await trx.updateTable("rooms").set({ capacity: capacity + 1 }).where("id", "=", id).execute();
      }),
  ).then(() => undefined, (failure: unknown) => failure);
  const room = await server.ok("getRoom", { params: { roomId: id } });
  assert.equal(room.capacity, 10 * Math.min(times, 10) + (failure === undefined ? 1 : 0));
  return { runs, failure };
}

Deno.test("retryConflicts runs a transaction again that Postgres could not serialize, but not for ever", async () => {
  await using server = await startServer();
  assert.deepEqual(await raiseAgainst(server, 2), { runs: 3, failure: undefined });
  const { runs, failure } = await raiseAgainst(server, 10);
  assert.equal(runs, 10);
  assert(failure instanceof Error && "code" in failure);
  assert.equal(failure.code, "40001");
});

Deno.test("retryConflicts does not run again what failed for another reason", async () => {
  await using server = await startServer();
  let runs = 0;
  const insert = () => {
    runs++;
    return server.db.insertInto("users").values({ subject: "alice" }).execute();
  };
  await insert();
  await assert.rejects(() => retryConflicts(server.db, insert), { code: "23505" });
  assert.equal(runs, 2);
});
