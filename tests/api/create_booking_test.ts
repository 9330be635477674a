import assert from "node:assert/strict";
import { sql } from "kysely";
import type { ProblemCode, Room } from "../../generated/contract.ts";
import { confirm, missingId, newBooking, newRoom, newRoomWithTimeslot, newTimeslots } from "../support/builders.ts";
import { sharedServer, startServer, type TestServer } from "../support/server.ts";

/** Rate x minutes / 60 in cents, half up, in whole numbers. Shares no code with the server. */
function expectedPrice(rate: string, minutes: number): number {
  const rateCents = BigInt(rate.replace(".", ""));
  return Number((rateCents * BigInt(minutes) + 30n) / 60n) / 100;
}

async function countBookings(server: TestServer, { id: roomId }: Room): Promise<number> {
  const token = await server.token("admin", "admin");
  const { total } = await server.ok("listAllBookings", { token, query: { roomId } });
  return total;
}

Deno.test("createBooking: free timeslot -> 201, pending, with its room and timeslot", async () => {
  await using server = await sharedServer();
  const { room, timeslot } = await newRoomWithTimeslot(server, { name: "Sky Lounge", timeZone: "UTC" });
  const token = await server.token("alice");
  const { id: userId } = await server.ok("getMe", { token });
  const wish = { roomId: room.id, timeslotId: timeslot.id, notes: "Två gäster 🎈\n", bookingType: "workshop" };

  const { status, body } = await server.call("createBooking", { token, body: wish });

  assert.equal(status, 201);
  const [booking] = (await server.ok("listBookings", { token })).items;
  assert(booking);
  assert.deepEqual(body, { booking, checkoutUrl: null, message: "Booking created. Complete payment to confirm." });
  const { id, ...rest } = booking;
  assert(id > 0);
  assert.deepEqual(rest, {
    ...wish,
    userId,
    status: "pending",
    price: 60,
    currency: "EUR",
    paymentStatus: "unpaid",
    amountPaid: 0,
    amountRefunded: 0,
    refundAmount: 0,
    holdExpiresAt: null,
    cancellationTiers: [{ hours: 24, percent: 100 }, { hours: 12, percent: 50 }],
    maxRefundPercent: null,
    cancellationReason: null,
    cancelledAt: null,
    createdAt: "2026-03-02T10:00:00.000Z",
    updatedAt: "2026-03-02T10:00:00.000Z",
    room: { id: room.id, name: "Sky Lounge", roomType: "meeting", timeZone: "UTC" },
    timeslot,
  });
});

Deno.test("createBooking: 16 times on one connection -> 16 bookings", async () => {
  // After five runs Postgres may plan a prepared statement without its parameters.
  await using server = await startServer({ pool: 1 });
  const room = await newRoom(server);
  const slots = await newTimeslots(server, room, { date: "2026-03-09", slotDuration: 30 });
  for (const slot of slots) await newBooking(server, "alice", slot);
  assert.equal(await countBookings(server, room), 16);
});

Deno.test("createBooking: no notes and no bookingType -> null", async () => {
  await using server = await sharedServer();
  const { timeslot } = await newRoomWithTimeslot(server);
  const { notes, bookingType } = await newBooking(server, "alice", timeslot);
  assert.deepEqual({ notes, bookingType }, { notes: null, bookingType: null });
});

Deno.test("createBooking: any rate and length -> hourly rate times length, half a cent rounded up", async () => {
  await using server = await sharedServer();
  const admin = await server.token("admin", "admin");
  const room = await newRoom(server);
  const rates = ["0.01", "0.06", "0.07", "0.10", "1.25", "19.99", "33.33", "99.95", "123.45", "999999.99"];
  const days = [[5, "2026-03-09"], [25, "2026-03-10"], [50, "2026-03-11"], [1440, "2026-03-12"]] as const;
  const prices = new Map<string, number>();
  for (const [minutes, date] of days) {
    const workingHours = minutes === 1440 ? { start: "00:00", end: "24:00" } : { start: "09:00", end: "18:00" };
    const slots = await newTimeslots(server, room, { date, slotDuration: minutes, workingHours });
    for (const [index, rate] of rates.entries()) {
      // A day has only one timeslot of 1440 minutes.
      if (minutes === 1440 && rate !== "999999.99") continue;
      const slot = slots[minutes === 1440 ? 0 : index];
      assert(slot);
      await server.ok("updateRoom", { token: admin, params: { roomId: room.id }, body: { hourlyRate: Number(rate) } });
      const { price } = await newBooking(server, "alice", slot);
      assert.equal(price, expectedPrice(rate, minutes), `${minutes} minutes at ${rate}`);
      prices.set(`${minutes} at ${rate}`, price);
    }
  }
  const roundedPrices = { "5 at 0.06": 0.01, "25 at 0.06": 0.03, "50 at 33.33": 27.78, "5 at 1.25": 0.1 };
  for (const [name, price] of Object.entries(roundedPrices)) assert.equal(prices.get(name), price, name);
  assert.equal(prices.get("1440 at 999999.99"), 23_999_999.76);
});

Deno.test("createBooking: price 0 and autoConfirm -> confirmed at once, otherwise pending", async (t) => {
  const pending = { status: "pending", message: "Booking created. An admin will confirm it." };
  const confirmed = { status: "confirmed", message: "Booking created and confirmed." };
  const unpaid = { status: "pending", message: "Booking created. Complete payment to confirm." };
  const cases = [
    { hourlyRate: null, autoConfirm: false, price: 0, paymentStatus: "not_required", ...pending },
    { hourlyRate: null, autoConfirm: true, price: 0, paymentStatus: "not_required", ...confirmed },
    { hourlyRate: 0, autoConfirm: false, price: 0, paymentStatus: "not_required", ...pending },
    { hourlyRate: 0, autoConfirm: true, price: 0, paymentStatus: "not_required", ...confirmed },
    // Five minutes at 0.05 are 0.4 cents, which rounds to nothing; at 0.06 they are half a cent.
    { hourlyRate: 0.05, autoConfirm: true, price: 0, paymentStatus: "not_required", ...confirmed },
    { hourlyRate: 0.06, autoConfirm: true, price: 0.01, paymentStatus: "unpaid", ...unpaid },
    { hourlyRate: 60, autoConfirm: true, price: 5, paymentStatus: "unpaid", ...unpaid },
  ];
  await using server = await sharedServer();
  const token = await server.token("alice");
  for (const { hourlyRate, autoConfirm, message, ...expected } of cases) {
    await t.step(`${hourlyRate} an hour, autoConfirm ${autoConfirm} -> ${expected.status}`, async () => {
      const room = await newRoom(server, { hourlyRate, autoConfirm });
      const [slot] = await newTimeslots(server, room, { date: "2026-03-09", slotDuration: 5 });
      const answer = await server.ok("createBooking", { token, body: { roomId: room.id, timeslotId: slot?.id } });
      const { status, price, paymentStatus, amountPaid } = answer.booking;
      assert.deepEqual({ status, price, paymentStatus, amountPaid }, { ...expected, amountPaid: 0 });
      assert.equal(answer.message, message);
      assert.equal(answer.checkoutUrl, null);
    });
  }
});

Deno.test("createBooking: room changes rate and currency later -> booking unchanged", async () => {
  await using server = await sharedServer();
  const { room, timeslot } = await newRoomWithTimeslot(server);
  const before = await newBooking(server, "alice", timeslot);
  const change = { token: await server.token("admin", "admin"), params: { roomId: room.id } };
  await server.ok("updateRoom", { ...change, body: { hourlyRate: 99, currency: "USD" } });
  const token = await server.token("alice");
  assert.deepEqual(await server.ok("getBooking", { token, params: { bookingId: before.id } }), before);
});

Deno.test("createBooking: timeslot cannot be booked -> 400, no booking", async (t) => {
  interface Case {
    name: string;
    code: ProblemCode;
    body: (ids: { roomId: number; timeslotId: number; otherRoomId: number }) => Record<string, number>;
    before?: (server: TestServer, roomId: number) => void | Promise<unknown>;
  }
  const same: Case["body"] = ({ roomId, timeslotId }) => ({ roomId, timeslotId });
  const deactivate: Case["before"] = async (server, roomId) =>
    await server.ok("deleteRoom", { token: await server.token("admin", "admin"), params: { roomId } });
  const cases: Case[] = [
    {
      name: "unknown timeslot",
      code: "unknown_timeslot",
      body: ({ roomId }) => ({ roomId, timeslotId: missingId }),
    },
    {
      name: "largest possible timeslot id",
      code: "unknown_timeslot",
      body: ({ roomId }) => ({ roomId, timeslotId: Number.MAX_SAFE_INTEGER }),
    },
    {
      name: "timeslot of another room",
      code: "timeslot_not_in_room",
      body: ({ otherRoomId, timeslotId }) => ({ roomId: otherRoomId, timeslotId }),
    },
    {
      name: "unknown room",
      code: "timeslot_not_in_room",
      body: ({ timeslotId }) => ({ roomId: missingId, timeslotId }),
    },
    { name: "deactivated room", code: "room_inactive", body: same, before: deactivate },
    {
      name: "timeslot starts now",
      code: "timeslot_unavailable",
      body: same,
      before: (server) => server.clock.set("2026-03-09T09:00:00.000Z"),
    },
    {
      name: "timeslot is over",
      code: "timeslot_unavailable",
      body: same,
      before: (server) => server.clock.set("2026-03-10T09:00:00.000Z"),
    },
  ];
  await using server = await sharedServer();
  for (const { name, code, body: makeBody, before } of cases) {
    await t.step(`${name} -> ${code}`, async () => {
      server.clock.set("2026-03-02T10:00:00.000Z");
      const { room, timeslot } = await newRoomWithTimeslot(server);
      const { id: otherRoomId } = await newRoom(server);
      await before?.(server, room.id);
      const body = makeBody({ roomId: room.id, timeslotId: timeslot.id, otherRoomId });
      const token = await server.token("alice");
      const problem = await server.refused(code, "createBooking", { token, body });
      assert.equal(problem.status, 400);
      assert.equal(await countBookings(server, room), 0);
      assert.equal((await server.ok("listBookings", { token })).total, 0);
    });
  }
});

Deno.test("createBooking: 1 ms before the timeslot starts -> booked", async () => {
  await using server = await sharedServer();
  const { timeslot } = await newRoomWithTimeslot(server);
  server.clock.set("2026-03-09T08:59:59.999Z");
  assert.equal((await newBooking(server, "alice", timeslot)).createdAt, "2026-03-09T08:59:59.999Z");
});

Deno.test("createBooking: booked timeslot -> 400 timeslot_unavailable, also for its owner", async () => {
  await using server = await sharedServer();
  const { room, timeslot } = await newRoomWithTimeslot(server);
  const { id: bookingId } = await newBooking(server, "alice", timeslot);
  const body = { roomId: room.id, timeslotId: timeslot.id };
  const params = { bookingId };
  const admin = await server.token("admin", "admin");
  for (const status of ["pending", "confirmed"]) {
    if (status === "confirmed") await server.ok("updateBookingStatus", { token: admin, params, body: { status } });
    for (const subject of ["alice", "bob"]) {
      await server.refused("timeslot_unavailable", "createBooking", { token: await server.token(subject), body });
    }
  }
  assert.equal(await countBookings(server, room), 1);
});

Deno.test("createBooking: after each cancellation -> the timeslot can be booked again", async () => {
  await using server = await sharedServer();
  const { timeslot } = await newRoomWithTimeslot(server);
  for (const subject of ["alice", "bob", "alice"]) {
    const { id: bookingId } = await newBooking(server, subject, timeslot);
    await server.ok("cancelBooking", { token: await server.token(subject), params: { bookingId } });
  }
  const last = await newBooking(server, "carol", timeslot);
  assert.equal(last.status, "pending");
  const { items } = await server.ok("listAllBookings", {
    token: await server.token("admin", "admin"),
    query: { roomId: timeslot.roomId },
  });
  assert.deepEqual(items.map(({ status }) => status), ["pending", "cancelled", "cancelled", "cancelled"]);
});

Deno.test("createBooking: user at MAX_PENDING_BOOKINGS -> 400 too_many_pending_bookings, until one is confirmed", async () => {
  await using server = await sharedServer({ env: { MAX_PENDING_BOOKINGS: "2" } });
  const slots = await newTimeslots(server, await newRoom(server), { date: "2026-03-09" });
  const [first, second, third] = slots;
  assert(first && second && third);
  const held = await newBooking(server, "alice", first);
  await newBooking(server, "alice", second);
  const token = await server.token("alice");
  const body = { roomId: third.roomId, timeslotId: third.id };
  const { detail } = await server.refused("too_many_pending_bookings", "createBooking", { token, body });
  assert.match(detail, /2 bookings/);
  // Another refusal comes first, because cancelling a booking does not change it.
  const takenBody = { roomId: first.roomId, timeslotId: first.id };
  await server.refused("timeslot_unavailable", "createBooking", { token, body: takenBody });
  await confirm(server, held);
  await server.ok("createBooking", { token, body });
});

Deno.test("createBooking: timeslot lost and free again in each of ten attempts -> 400 timeslot_unavailable, no error in the log", async () => {
  await using server = await startServer({ env: { MAX_PENDING_BOOKINGS: "2" } });
  const { room, timeslot } = await newRoomWithTimeslot(server);
  // The statement inserts nothing, and the query for the reason finds none: as after a rival that has gone.
  await sql`create sequence attempts`.execute(server.db);
  await sql`
    create or replace function may_hold_another(holder bigint, maximum integer, at timestamptz) returns boolean
    language sql volatile as 'select nextval(''attempts'') < 0'
  `.execute(server.db);
  const body = { roomId: room.id, timeslotId: timeslot.id };
  const token = await server.token("alice");
  for (const headers of [{}, { "Idempotency-Key": "ten-attempts" }]) {
    const problem = await server.refused("timeslot_unavailable", "createBooking", { token, body, headers });
    assert.deepEqual(problem.alternatives, []);
  }
  const { rows } = await sql<{ count: number }>`select last_value as count from attempts`.execute(server.db);
  // With a key, one statement comes before the ten transactions.
  assert.deepEqual(rows, [{ count: 10 + 1 + 10 }]);
  assert.deepEqual(server.logged.filter((entry) => entry.includes('"level":"error"')), []);
});
