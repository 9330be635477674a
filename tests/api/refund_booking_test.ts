/** refundBooking: an admin refunds more of a cancelled booking than its cancellation did. */
import assert from "node:assert/strict";
import type { Booking, BookingStatus } from "../../generated/contract.ts";
import { confirm, missingId, newBooking, newRoom, newRoomWithTimeslot, newTimeslots } from "../support/builders.ts";
import { eventTypes, newCheckout, pay, watchRefunds } from "../support/sandbox_payments.ts";
import { type Call, sharedServer, startServer, type TestServer } from "../support/server.ts";
import {
  cancel as cancelInWorld,
  inHalfTier,
  moneyOf,
  newPaidBooking,
  refundedCents,
  refundedInFull,
  sharedWorld,
} from "../payments/world.ts";

const env = { PAYMENT_PROVIDER: "sandbox" };
/** One hour before the timeslot of `newRoomWithTimeslot`: a cancellation refunds nothing. */
const late = "2026-03-09T08:00:00.000Z";

async function callFor(server: TestServer, { id: bookingId }: Booking, amount: number): Promise<Call> {
  return { token: await server.token("admin", "admin"), params: { bookingId }, body: { amount } };
}

/** The booking as an admin sees it. */
async function read(server: TestServer, { id: bookingId }: Booking): Promise<Booking> {
  return await server.ok("getBooking", { token: await server.token("admin", "admin"), params: { bookingId } });
}

async function cancel(server: TestServer, { id: bookingId }: Booking): Promise<Booking> {
  return (await server.ok("cancelBooking", { token: await server.token("alice"), params: { bookingId } })).booking;
}

/** Alice's booking at 60.00, paid elsewhere, and cancelled without a refund. */
async function newCancelled(server: TestServer, fields: Record<string, unknown> = {}): Promise<Booking> {
  const { timeslot } = await newRoomWithTimeslot(server, fields);
  const booking = await confirm(server, await newBooking(server, "alice", timeslot));
  server.clock.set(late);
  return await cancel(server, booking);
}

/** Alice's booking at 60.00, paid online, and cancelled without a refund. */
async function newCancelledOnline(server: TestServer): Promise<Booking> {
  const { timeslot } = await newRoomWithTimeslot(server);
  const checkout = await newCheckout(server, "alice", timeslot);
  await pay(server, checkout);
  server.clock.set(late);
  return await cancel(server, checkout.booking);
}

const money = ({ status, paymentStatus, amountPaid, amountRefunded, refundAmount }: Booking) => ({
  status,
  paymentStatus,
  amountPaid,
  amountRefunded,
  refundAmount,
});

Deno.test("refundBooking: paid elsewhere -> recorded at once, up to all that was paid", async () => {
  await using server = await sharedServer();
  const cancelled = await newCancelled(server);
  assert.deepEqual([cancelled.paymentStatus, cancelled.refundAmount], ["paid", 0]);
  const first = await server.ok("refundBooking", await callFor(server, cancelled, 20.01));
  const expected: Booking = {
    ...cancelled,
    paymentStatus: "partially_refunded",
    amountRefunded: 20.01,
    refundAmount: 20.01,
  };
  assert.deepEqual(first.booking, expected);
  assert.equal(first.refundAmount, 20.01);
  assert.match(first.message, /give the money back yourself/);
  const tooMuch = await callFor(server, cancelled, 40);
  const { detail } = await server.refused("refund_exceeds_payment", "refundBooking", tooMuch);
  assert.equal(detail, "EUR 39.99 of the payment is left. Refund at most this amount.");
  const second = await server.ok("refundBooking", await callFor(server, cancelled, 39.99));
  assert.deepEqual(money(second.booking), refundedInFull);
  const nothingLeft = await callFor(server, cancelled, 0.01);
  const problem = await server.refused("booking_not_refundable", "refundBooking", nothingLeft);
  assert.equal(problem.detail, `Everything paid for booking ${cancelled.id} is refunded already.`);
  assert.deepEqual(await read(server, cancelled), second.booking);
  assert.deepEqual(await eventTypes(server, cancelled), ["created", "confirmed", "cancelled", "refunded", "refunded"]);
});

Deno.test("refundBooking: paid online -> refunded through the provider, one refund after the other", async () => {
  await using server = await sharedServer({ env });
  using refunds = watchRefunds(server);
  const cancelled = await newCancelledOnline(server);
  const call = await callFor(server, cancelled, 20);
  const first = await server.ok("refundBooking", call);
  const pending = { ...money(cancelled), paymentStatus: "refund_pending", refundAmount: 20 };
  assert.deepEqual([money(first.booking), first.message], [pending, "The refund is requested."]);
  const { detail } = await server.refused("booking_not_refundable", "refundBooking", call);
  assert.match(detail, /has not accepted the last refund yet/);
  await server.work();
  const partly = { ...pending, paymentStatus: "partially_refunded", amountRefunded: 20 };
  assert.deepEqual(money(await read(server, cancelled)), partly);
  await server.ok("refundBooking", await callFor(server, cancelled, 40));
  await server.work();
  assert.deepEqual(money(await read(server, cancelled)), refundedInFull);
  const { reference } = await server.db.selectFrom("payments").select("reference")
    .where("booking_id", "=", cancelled.id).executeTakeFirstOrThrow();
  assert.equal(refunds.centsOf(reference), 6_000n);
  assert.deepEqual(await eventTypes(server, cancelled), ["created", "confirmed", "cancelled", "refunded", "refunded"]);
});

Deno.test("refundBooking: Stripe, half refunded by the cancellation -> the rest too", async () => {
  const world = await sharedWorld();
  const paid = await newPaidBooking(world);
  world.server.clock.set(inHalfTier);
  await cancelInWorld(world, paid);
  await world.server.refused("booking_not_refundable", "refundBooking", await callFor(world.server, paid.booking, 30));
  await world.server.work();
  await world.server.refused(
    "refund_exceeds_payment",
    "refundBooking",
    await callFor(world.server, paid.booking, 30.01),
  );
  await world.server.ok("refundBooking", await callFor(world.server, paid.booking, 30));
  await world.server.work();
  assert.deepEqual(await moneyOf(world, paid), refundedInFull);
  assert.equal(refundedCents(world, paid.payment), 6_000);
});

Deno.test("refundBooking: not cancelled, nothing paid, or a failed refund -> 400 booking_not_refundable", async (t) => {
  await using server = await sharedServer({ env });
  const slots = await newTimeslots(server, await newRoom(server), { date: "2026-03-09" });
  const cases: Record<string, { prepare(booking: Booking): Promise<unknown>; detail: RegExp }> = {
    pending: { prepare: () => Promise.resolve(), detail: /is pending\. Cancel it first/ },
    confirmed: { prepare: (booking) => confirm(server, booking), detail: /is confirmed\. Cancel it first/ },
    "cancelled and unpaid": { prepare: (booking) => cancel(server, booking), detail: /Nothing was paid/ },
    "refund failed": {
      prepare: async (booking) => {
        await confirm(server, booking);
        server.clock.set(late);
        await cancel(server, booking);
        await server.db.updateTable("bookings").set({ payment_status: "refund_failed" }).where("id", "=", booking.id)
          .execute();
      },
      detail: /Retry it first \(POST \/api\/v1\/admin\/bookings\/\d+\/refund\), or record/,
    },
  };
  for (const [index, [name, { prepare, detail }]] of Object.entries(cases).entries()) {
    await t.step(name, async () => {
      const slot = slots[index];
      assert(slot);
      const booking = await newBooking(server, `alice`, slot);
      await prepare(booking);
      const call = await callFor(server, booking, 1);
      const before = await read(server, booking);
      const problem = await server.refused("booking_not_refundable", "refundBooking", call);
      assert.match(problem.detail, detail);
      assert.deepEqual(await read(server, booking), before);
    });
  }
  const closed: BookingStatus[] = ["completed", "no_show"];
  for (const status of closed) {
    await t.step(status, async () => {
      server.clock.set("2026-03-02T10:00:00.000Z");
      const { timeslot } = await newRoomWithTimeslot(server);
      const booking = await confirm(server, await newBooking(server, "alice", timeslot));
      server.clock.set(timeslot.startTime);
      const call = await callFor(server, booking, 1);
      await server.ok("updateBookingStatus", { ...call, body: { status } });
      await server.refused("booking_not_refundable", "refundBooking", call);
    });
  }
});

Deno.test("refundBooking: 6 times 20 of 60 at once -> three succeed", async () => {
  await using server = await sharedServer({ pool: 10 });
  const cancelled = await newCancelled(server);
  const call = await callFor(server, cancelled, 20);
  const answers = await Promise.all(Array.from({ length: 6 }, () => server.call("refundBooking", call)));
  assert.deepEqual(answers.map(({ status }) => status).sort(), [200, 200, 200, 400, 400, 400]);
  assert.deepEqual(money(await read(server, cancelled)), refundedInFull);
});

Deno.test("refundBooking: currency without fractions -> whole amounts only", async () => {
  await using server = await sharedServer();
  const cancelled = await newCancelled(server, { currency: "JPY" });
  const { errors } = await server.refused("validation_failed", "refundBooking", await callFor(server, cancelled, 1.5));
  assert.deepEqual(errors, [{ in: "body", path: "amount", message: "must be whole, because JPY has no fractions" }]);
  assert.equal((await server.ok("refundBooking", await callFor(server, cancelled, 2))).booking.amountRefunded, 2);
});

Deno.test("refundBooking: no amount, or none of money -> 400 validation_failed", async (t) => {
  await using server = await sharedServer();
  const cancelled = await newCancelled(server);
  const { body: _, ...call } = await callFor(server, cancelled, 1);
  for (
    const body of [{}, { amount: 0 }, { amount: -1 }, { amount: 0.001 }, { amount: "1" }, { amount: 1, percent: 5 }]
  ) {
    await t.step(JSON.stringify(body), async () => {
      await server.refused("validation_failed", "refundBooking", { ...call, body });
    });
  }
  assert.deepEqual(await read(server, cancelled), cancelled);
});

Deno.test("refundBooking: unknown booking -> 404 booking_not_found", async () => {
  await using server = await sharedServer();
  const call = { token: await server.token("admin", "admin"), params: { bookingId: missingId }, body: { amount: 1 } };
  assert.equal((await server.refused("booking_not_found", "refundBooking", call)).status, 404);
});

Deno.test("refundBooking: paid online, and the provider is no longer configured -> the refund waits for it", async () => {
  await using before = await startServer({ env });
  const cancelled = await newCancelledOnline(before);
  await using server = await startServer({ database: { url: before.databaseUrl }, now: late });
  const call = await callFor(server, cancelled, 20);
  assert.equal((await server.ok("refundBooking", call)).booking.paymentStatus, "refund_pending");
  await before.work();
  assert.equal((await read(server, cancelled)).amountRefunded, 20);
});
