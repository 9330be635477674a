/** The refund of a cancelled booking by the tiers of `CANCELLATION_TIERS`, to the millisecond. */
import assert from "node:assert/strict";
import type { Booking, BookingCancelled, Timeslot } from "../../generated/contract.ts";
import { startBeside } from "../support/app.ts";
import { confirm, newBooking, newRoom, newRoomWithTimeslot, newTimeslots } from "../support/builders.ts";
import { send, sharedServer, type TestServer } from "../support/server.ts";
import { quote } from "../api/cancellations.ts";

const hour = 3_600_000;

interface Cancellation {
  timeslot: Timeslot;
  /** Milliseconds from the cancellation to the start. */
  ahead: number;
}

/** Books, pays, and cancels `ahead` ms before the start. */
async function refundOf(server: TestServer, { timeslot, ahead }: Cancellation): Promise<BookingCancelled> {
  server.clock.set("2026-03-02T10:00:00.000Z");
  const { id: bookingId } = await confirm(server, await newBooking(server, "alice", timeslot));
  server.clock.set(new Date(Date.parse(timeslot.startTime) - ahead).toISOString());
  return await server.ok("cancelBooking", { token: await server.token("alice"), params: { bookingId } });
}

Deno.test("cancelBooking: default tiers -> all until 24 hours before the start, half until 12 hours, then nothing", async (t) => {
  const cases = [
    { ahead: 100 * hour, percent: 100 },
    { ahead: 24 * hour + 1_000, percent: 100 },
    { ahead: 24 * hour + 1, percent: 100 },
    { ahead: 24 * hour, percent: 100 },
    { ahead: 24 * hour - 1, percent: 50 },
    { ahead: 24 * hour - 1_000, percent: 50 },
    { ahead: 12 * hour + 1_000, percent: 50 },
    { ahead: 12 * hour + 1, percent: 50 },
    { ahead: 12 * hour, percent: 50 },
    { ahead: 12 * hour - 1, percent: 0 },
    { ahead: 12 * hour - 1_000, percent: 0 },
    { ahead: 1_000, percent: 0 },
    { ahead: 1, percent: 0 },
  ];
  const refunds: Record<number, [amount: number, paymentStatus: string]> = {
    100: [59.99, "refunded"],
    // Half of 59.99 is 29.995.
    50: [30, "partially_refunded"],
    0: [0, "paid"],
  };
  await using server = await sharedServer();
  const { timeslot } = await newRoomWithTimeslot(server, { hourlyRate: 59.99 });
  for (const { ahead, percent } of cases) {
    await t.step(`${ahead} ms before: ${percent} %`, async () => {
      const { booking, refundAmount } = await refundOf(server, { timeslot, ahead });
      assert.deepEqual([refundAmount, booking.paymentStatus], refunds[percent]);
      assert.equal(booking.amountRefunded, refundAmount);
      assert.equal(booking.amountPaid, 59.99);
    });
  }
});

Deno.test("cancelBooking: a tier of 0 hours, at the start and after it -> 400 booking_not_cancellable", async () => {
  await using server = await sharedServer({ env: { CANCELLATION_TIERS: "0:100" } });
  const { timeslot } = await newRoomWithTimeslot(server);
  const booking = await confirm(server, await newBooking(server, "alice", timeslot));
  const request = { token: await server.token("alice"), params: { bookingId: booking.id } };
  for (const now of ["2026-03-09T09:00:00.000Z", "2026-03-09T09:00:00.001Z"]) {
    server.clock.set(now);
    await server.refused("booking_not_cancellable", "cancelBooking", request);
  }
  assert.deepEqual(await server.ok("getBooking", request), booking);
});

Deno.test("cancelBooking: a tier of 0 hours, a millisecond before the start -> its refund", async () => {
  await using server = await sharedServer({ env: { CANCELLATION_TIERS: "0:25" } });
  const { timeslot } = await newRoomWithTimeslot(server);
  assert.equal((await refundOf(server, { timeslot, ahead: 1 })).refundAmount, 15);
});

Deno.test("cancelBooking: tiers with fractions of hours and percents -> refund rounded half up to cents", async (t) => {
  const tiers = [{ hours: 48, percent: 100 }, { hours: 24.5, percent: 75.5 }, { hours: 1, percent: 10 }];
  // Their order in the variable does not matter.
  await using server = await sharedServer({ env: { CANCELLATION_TIERS: "1:10,48:100,24.5:75.5" } });
  const steps = [
    { ahead: 48 * hour, tenths: 1_000n },
    { ahead: 48 * hour - 1, tenths: 755n },
    { ahead: 24.5 * hour, tenths: 755n },
    { ahead: 24.5 * hour - 1, tenths: 100n },
    { ahead: 1 * hour, tenths: 100n },
    { ahead: 1 * hour - 1, tenths: 0n },
  ];
  for (const hourlyRate of [33.33, 1, 0.05, 0.01, 123_456.79]) {
    const { timeslot } = await newRoomWithTimeslot(server, { hourlyRate });
    for (const { ahead, tenths } of steps) {
      await t.step(`${hourlyRate}, ${ahead / hour} hours before: ${Number(tenths) / 10} %`, async () => {
        const { booking, refundAmount } = await refundOf(server, { timeslot, ahead });
        const cents = BigInt(hourlyRate.toFixed(2).replace(".", ""));
        assert.equal(refundAmount, Number((cents * tenths + 500n) / 1_000n) / 100);
        assert.deepEqual(booking.cancellationTiers, tiers);
      });
    }
  }
});

Deno.test("cancelBooking: half a cent -> refunded as a cent", async (t) => {
  await using server = await sharedServer({ env: { CANCELLATION_TIERS: "1:75.5" } });
  const cases = [[1, 0.76], [0.2, 0.15], [0.01, 0.01], [10.2, 7.7], [3, 2.27]] as const;
  for (const [hourlyRate, refund] of cases) {
    await t.step(`75.5 % of ${hourlyRate} are ${refund}`, async () => {
      const { timeslot } = await newRoomWithTimeslot(server, { hourlyRate });
      assert.equal((await refundOf(server, { timeslot, ahead: 2 * hour })).refundAmount, refund);
    });
  }
});

Deno.test("cancelBooking: a currency without fractions -> whole prices and refunds", async (t) => {
  await using server = await sharedServer({ env: { CANCELLATION_TIERS: "1:50" } });
  const cases = [[1_001, 1_001, 501], [1_000.5, 1_001, 501], [999.49, 999, 500], [0.4, 0, 0]] as const;
  for (const [hourlyRate, price, refund] of cases) {
    await t.step(`${hourlyRate} JPY an hour`, async () => {
      const { timeslot } = await newRoomWithTimeslot(server, { hourlyRate, currency: "JPY" });
      const cancelled = await refundOf(server, { timeslot, ahead: 2 * hour });
      assert.deepEqual([cancelled.booking.price, cancelled.refundAmount], [price, refund]);
    });
  }
});

Deno.test("cancelBooking: tiers of the server changed since the booking -> the tiers of the booking apply", async () => {
  await using before = await sharedServer();
  const room = await newRoom(before);
  const [first, second] = await newTimeslots(before, room, { date: "2026-03-09" });
  assert(first && second);
  const token = await before.token("alice");
  const old = await confirm(before, await newBooking(before, "alice", first));

  await using after = await startBeside(before, { env: { CANCELLATION_TIERS: "100:90,1:10" } });
  const body = { roomId: room.id, timeslotId: second.id };
  const created: { booking: Booking } = JSON.parse((await send(after.url, "createBooking", { token, body })).text);
  const young = await confirm(before, created.booking);

  assert.deepEqual(old.cancellationTiers, [{ hours: 24, percent: 100 }, { hours: 12, percent: 50 }]);
  assert.deepEqual(young.cancellationTiers, [{ hours: 100, percent: 90 }, { hours: 1, percent: 10 }]);
  // 14 and 15 hours before the starts: half by the old tiers, a tenth by the new ones. Each is cancelled at the other
  // server.
  before.clock.set("2026-03-08T19:00:00.000Z");
  const atAfter = await send(after.url, "cancelBooking", { token, params: { bookingId: old.id } });
  assert.equal(JSON.parse(atAfter.text).refundAmount, 30);
  const { refundAmount } = await before.ok("cancelBooking", { token, params: { bookingId: young.id } });
  assert.equal(refundAmount, 6);
});

Deno.test("cancelBooking: a moved booking -> its old tiers, counted to its new start", async () => {
  await using before = await sharedServer();
  const room = await newRoom(before);
  const [first] = await newTimeslots(before, room, { date: "2026-03-09" });
  const [later] = await newTimeslots(before, room, { date: "2026-03-10" });
  assert(first && later);
  const token = await before.token("alice");
  const { id: bookingId } = await confirm(before, await newBooking(before, "alice", first));
  await using after = await startBeside(before, { env: { CANCELLATION_TIERS: "1:10" } });
  const move = { token, params: { bookingId }, body: { newTimeslotId: later.id } };
  assert.equal((await send(after.url, "rescheduleBooking", move)).status, 200);
  // An hour before the old start, 25 hours before the new one.
  before.clock.set("2026-03-09T08:00:00.000Z");
  assert.equal((await before.ok("cancelBooking", { token, params: { bookingId } })).refundAmount, 60);
});

Deno.test("cancelBooking: clocks change between the cancellation and the start -> tiers count elapsed hours", async (t) => {
  const cases = [
    // Noon in New York. 24 elapsed hours earlier the wall clock shows 11:00 and 13:00.
    { date: "2026-03-08", startTime: "2026-03-08T16:00:00.000Z" },
    { date: "2026-11-01", startTime: "2026-11-01T17:00:00.000Z" },
  ];
  await using server = await sharedServer();
  const room = await newRoom(server, { timeZone: "America/New_York" });
  for (const { date, startTime } of cases) {
    await t.step(date, async () => {
      const workingHours = { start: "12:00", end: "13:00" };
      const [timeslot] = await newTimeslots(server, room, { date, workingHours });
      assert(timeslot);
      assert.equal(timeslot.startTime, startTime);
      const refunds = [];
      for (const ahead of [24 * hour, 24 * hour - 1, 12 * hour, 12 * hour - 1]) {
        refunds.push((await refundOf(server, { timeslot, ahead })).refundAmount);
      }
      assert.deepEqual(refunds, [60, 30, 30, 0]);
    });
  }
});

/** A room at 100.00 an hour with a timeslot on 2026-03-09 and on 2026-03-18, and alice's booking of the first. */
async function newMovable(server: TestServer): Promise<{ booking: Booking; first: Timeslot; later: Timeslot }> {
  const room = await newRoom(server, { hourlyRate: 100 });
  const [first] = await newTimeslots(server, room, { date: "2026-03-09" });
  const [later] = await newTimeslots(server, room, { date: "2026-03-18" });
  assert(first && later);
  return { booking: await newBooking(server, "alice", first), first, later };
}

async function move(server: TestServer, { id: bookingId }: Booking, { id: newTimeslotId }: Timeslot): Promise<Booking> {
  const request = { token: await server.token("alice"), params: { bookingId }, body: { newTimeslotId } };
  return (await server.ok("rescheduleBooking", request)).booking;
}

Deno.test("rescheduleBooking: confirmed booking -> its refund is never higher than at the move", async (t) => {
  const cases = [
    { ahead: 24 * hour, percent: 100, maxRefundPercent: null },
    { ahead: 24 * hour - 1, percent: 50, maxRefundPercent: 50 },
    { ahead: 12 * hour, percent: 50, maxRefundPercent: 50 },
    { ahead: 2 * hour, percent: 0, maxRefundPercent: 0 },
    { ahead: 1, percent: 0, maxRefundPercent: 0 },
  ];
  await using server = await sharedServer();
  for (const { ahead, percent, maxRefundPercent } of cases) {
    await t.step(`moved ${ahead / hour} hours before -> at most ${percent} %`, async () => {
      server.clock.set("2026-03-02T10:00:00.000Z");
      const { booking, first, later } = await newMovable(server);
      await confirm(server, booking);
      server.clock.set(new Date(Date.parse(first.startTime) - ahead).toISOString());
      const atMove = await quote(server, booking);
      assert.equal(atMove.refundAmount, percent);
      assert.equal((await move(server, booking, later)).maxRefundPercent, maxRefundPercent);
      const moved = await quote(server, booking);
      assert.deepEqual([moved.refundAmount, moved.refundPercent, moved.maxRefundPercent], [
        percent,
        percent,
        maxRefundPercent,
      ]);
      assert.equal(moved.tierHours, 24);
      const changesAt: Record<number, number | null> = { 100: 24, 50: 12, 0: null };
      const changeHours = changesAt[percent] ?? null;
      assert.equal(
        moved.nextTierAt,
        changeHours === null ? null : new Date(Date.parse(later.startTime) - changeHours * hour).toISOString(),
      );
      const { refundAmount } = await server.ok("cancelBooking", {
        token: await server.token("alice"),
        params: { bookingId: booking.id },
      });
      assert.equal(refundAmount, percent);
    });
  }
});

Deno.test("rescheduleBooking: moved again and back -> the lowest percentage stays", async () => {
  await using server = await sharedServer();
  const { booking, first, later } = await newMovable(server);
  await confirm(server, booking);
  server.clock.set(new Date(Date.parse(first.startTime) - 15 * hour).toISOString());
  assert.equal((await move(server, booking, later)).maxRefundPercent, 50);
  assert.equal((await move(server, booking, first)).maxRefundPercent, 50);
  server.clock.set(new Date(Date.parse(first.startTime) - hour).toISOString());
  assert.equal((await move(server, booking, later)).maxRefundPercent, 0);
  server.clock.set("2026-03-10T10:00:00.000Z");
  assert.equal((await quote(server, booking)).refundAmount, 0);
});

Deno.test("rescheduleBooking: pending booking -> nothing was paid, so no limit", async () => {
  await using server = await sharedServer();
  const { booking, first, later } = await newMovable(server);
  server.clock.set(new Date(Date.parse(first.startTime) - hour).toISOString());
  await move(server, booking, later);
  await confirm(server, booking);
  const { refundAmount, maxRefundPercent } = await quote(server, booking);
  assert.deepEqual([refundAmount, maxRefundPercent], [100, null]);
});

Deno.test("updateBookingStatus: cancelled by an admin after a move -> refunded in full", async () => {
  await using server = await sharedServer();
  const { booking, first, later } = await newMovable(server);
  await confirm(server, booking);
  server.clock.set(new Date(Date.parse(first.startTime) - hour).toISOString());
  await move(server, booking, later);
  const request = { token: await server.token("admin", "admin"), params: { bookingId: booking.id } };
  const cancelled = await server.ok("updateBookingStatus", { ...request, body: { status: "cancelled" } });
  assert.equal(cancelled.refundAmount, 100);
});
