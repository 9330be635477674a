/** Payments of another amount, by a second checkout, or of a rescheduled booking. */
import assert from "node:assert/strict";
import type { Booking } from "../../generated/contract.ts";
import { confirm, newRoom, newRoomWithTimeslot, newTimeslots } from "../support/builders.ts";
import {
  cancel,
  deliver,
  eventsOf,
  freshCheckout,
  holdTimeslot,
  moneyOf,
  newHeldBooking,
  onRefunds,
  paidInFull,
  pay,
  read,
  refundedCents,
  refundedInFull,
  reset,
  retry,
  sharedWorld,
} from "./world.ts";

Deno.test("receivePaymentEvent: another amount or currency -> refunded, another checkout pays the booking", async (t) => {
  const world = await sharedWorld();
  const { server, stripe } = world;
  for (
    const { name, odd, jobFirst } of [
      { name: "a cent too little", odd: { amount: 5_999 }, jobFirst: true },
      { name: "a cent too much", odd: { amount: 6_001 }, jobFirst: false },
      { name: "another currency", odd: { currency: "usd" }, jobFirst: true },
      { name: "another currency, refund still pending", odd: { currency: "usd" }, jobFirst: false },
    ]
  ) {
    await t.step(name, async () => {
      reset(world);
      const held = await newHeldBooking(world);
      const now = "2026-03-02T10:05:00.000Z";
      server.clock.set(now);
      const payment = await pay(world, held.session, odd);
      const waiting: Booking = { ...held.booking, paymentStatus: "refund_pending", updatedAt: now };
      assert.deepEqual(await read(world, held), waiting);
      assert.deepEqual(await eventsOf(world, held), ["payment_failed"]);
      if (jobFirst) {
        await server.work();
        assert.deepEqual(await read(world, held), { ...waiting, paymentStatus: "unpaid" });
        await deliver(world, await stripe.refunded(payment.id));
        assert.deepEqual(await eventsOf(world, held), ["payment_failed", "refunded"]);
      }

      const rightPayment = await pay(world, await freshCheckout(world, held));
      await server.work();
      assert.deepEqual(await moneyOf(world, held), paidInFull);
      assert.deepEqual([refundedCents(world, payment), refundedCents(world, rightPayment)], [payment.amount, 0]);
      const events = jobFirst
        ? ["payment_failed", "refunded", "confirmed"]
        : ["payment_failed", "confirmed", "refunded"];
      assert.deepEqual(await eventsOf(world, held), events);
    });
  }
});

Deno.test("receivePaymentEvent: two checkouts are paid -> the first pays the booking, the other is refunded", async (t) => {
  const world = await sharedWorld();
  const { server, stripe } = world;
  for (const first of ["the older", "the newer"]) {
    await t.step(`${first} is reported first`, async () => {
      reset(world);
      const held = await newHeldBooking(world);
      const older = stripe.pay(held.session);
      const session = await freshCheckout(world, held);
      const newer = stripe.pay(session);
      const webhooks = [await stripe.completed(held.session), await stripe.completed(session)];
      if (first === "the newer") webhooks.reverse();
      for (const webhook of webhooks) await deliver(world, webhook);
      assert.deepEqual(await moneyOf(world, held), { ...paidInFull, paymentStatus: "refund_pending" });
      await server.work();
      assert.deepEqual(await moneyOf(world, held), paidInFull);
      assert.deepEqual(
        [refundedCents(world, older), refundedCents(world, newer)],
        first === "the older" ? [0, 6_000] : [6_000, 0],
      );
      assert.deepEqual(await eventsOf(world, held), ["confirmed", "refunded"]);
      // A cancellation refunds the rest.
      await cancel(world, held);
      await server.work();
      assert.deepEqual(await moneyOf(world, held), refundedInFull);
      assert.equal(refundedCents(world, older) + refundedCents(world, newer), 12_000);
    });
  }
});

Deno.test("cancelBooking: refund of a second payment has failed -> stays refund_failed until retried", async () => {
  const world = await sharedWorld();
  const { server, stripe } = world;
  const held = await newHeldBooking(world);
  const payment = stripe.pay(held.session);
  await confirm(server, held.booking);
  await deliver(world, await stripe.completed(held.session));
  stripe.fault = { kind: 402, on: onRefunds };
  await server.work();
  stripe.fault = undefined;
  assert.equal((await read(world, held)).paymentStatus, "refund_failed");
  await cancel(world, held);
  assert.equal((await read(world, held)).paymentStatus, "refund_failed");
  await retry(world, held);
  await server.work();
  assert.equal((await read(world, held)).paymentStatus, "refunded");
  assert.equal(refundedCents(world, payment), 6_000);
});

Deno.test("rescheduleBooking: pending booking -> checkout closed, its payment compared with the new price", async (t) => {
  const world = await sharedWorld();
  const { server, stripe } = world;
  /** Alice's booking of an hour, and other timeslots of its room. */
  const newReschedulable = async () => {
    reset(world);
    const room = await newRoom(server);
    const [hour, otherHour] = await newTimeslots(server, room, { date: "2026-03-09" });
    const [halfHour] = await newTimeslots(server, room, { date: "2026-03-10", slotDuration: 30 });
    assert(hour && otherHour && halfHour);
    const held = await holdTimeslot(world, hour);
    const reschedule = async (newTimeslotId: number) => {
      const params = { bookingId: held.booking.id };
      const request = { token: await server.token("alice"), params, body: { newTimeslotId } };
      return (await server.ok("rescheduleBooking", request)).booking;
    };
    return { held, otherHour, halfHour, reschedule };
  };

  await t.step("nothing was paid", async () => {
    const { held, halfHour, reschedule } = await newReschedulable();
    assert.equal((await reschedule(halfHour.id)).price, 30);
    await server.work();
    assert.equal(stripe.sessions.get(held.session)?.status, "expired");
    const payment = await pay(world, await freshCheckout(world, held));
    assert.equal(payment.amount, 3_000);
    assert.deepEqual(await moneyOf(world, held), { ...paidInFull, amountPaid: 30 });
  });

  await t.step("the old price was paid: refunded", async () => {
    const { held, halfHour, reschedule } = await newReschedulable();
    const old = stripe.pay(held.session);
    await reschedule(halfHour.id);
    await deliver(world, await stripe.completed(held.session));
    assert.equal((await read(world, held)).status, "pending");
    await server.work();
    assert.equal(refundedCents(world, old), 6_000);
    assert.equal((await read(world, held)).paymentStatus, "unpaid");
    const payment = await pay(world, await freshCheckout(world, held));
    assert.deepEqual(await moneyOf(world, held), { ...paidInFull, amountPaid: 30 });
    assert.equal(refundedCents(world, payment), 0);
    const events = (await eventsOf(world, held)).filter((event) => !event.startsWith("timeslot"));
    assert.deepEqual(events, ["rescheduled", "payment_failed", "refunded", "confirmed"]);
  });

  await t.step("the same price was paid: booking confirmed", async () => {
    const { held, otherHour, reschedule } = await newReschedulable();
    const payment = stripe.pay(held.session);
    await reschedule(otherHour.id);
    await deliver(world, await stripe.completed(held.session));
    await server.work();
    assert.deepEqual(await moneyOf(world, held), paidInFull);
    assert.equal((await read(world, held)).timeslotId, otherHour.id);
    assert.equal(refundedCents(world, payment), 0);
  });
});

Deno.test("receivePaymentEvent: session expires -> payment_failed if no other is open, booking stays held", async () => {
  const world = await sharedWorld();
  const { server, stripe } = world;
  const held = await newHeldBooking(world);
  const older = held.session;
  const session = await freshCheckout(world, held);
  await server.work();
  await deliver(world, await stripe.expired(older));
  assert.deepEqual(await eventsOf(world, held), []);
  await deliver(world, await stripe.expired(session));
  assert.deepEqual(await eventsOf(world, held), ["payment_failed"]);
  assert.deepEqual(await read(world, held), held.booking);
  await pay(world, await freshCheckout(world, held));
  assert.deepEqual(await moneyOf(world, held), paidInFull);
  await deliver(world, await stripe.expired(session));
  assert.deepEqual(await eventsOf(world, held), ["payment_failed", "confirmed"]);
});

Deno.test("createBooking: Stripe's answer is lost -> its session can still be paid", async () => {
  const world = await sharedWorld();
  const { server, stripe } = world;
  const { timeslot: { id: timeslotId, roomId } } = await newRoomWithTimeslot(server);
  stripe.fault = { kind: "garbage", on: /^POST/, takesEffect: true };
  const request = { token: await server.token("alice"), body: { roomId, timeslotId } };
  const { booking, checkoutUrl } = await server.ok("createBooking", request);
  assert.equal(checkoutUrl, null);
  stripe.fault = undefined;
  const lost = stripe.sessions.keys().toArray().at(-1);
  assert(lost);
  const session = await freshCheckout(world, { booking });
  const second = stripe.pay(session);
  const first = await pay(world, lost);
  assert.deepEqual(await moneyOf(world, { booking }), paidInFull);
  await deliver(world, await stripe.completed(session));
  await server.work();
  assert.deepEqual(await moneyOf(world, { booking }), paidInFull);
  assert.deepEqual([refundedCents(world, first), refundedCents(world, second)], [0, 6_000]);
});

Deno.test("retryRefund: one of two refunds has failed -> refund_failed until it is retried", async () => {
  const world = await sharedWorld();
  const { server, stripe } = world;
  const held = await newHeldBooking(world);
  const odd = await pay(world, held.session, { amount: 5_000 });
  stripe.fault = { kind: 402, on: onRefunds };
  await server.work();
  stripe.fault = undefined;
  const right = await pay(world, await freshCheckout(world, held));
  assert.deepEqual(await moneyOf(world, held), { ...paidInFull, paymentStatus: "refund_failed" });
  await cancel(world, held);
  await server.work();
  assert.equal(refundedCents(world, right), 6_000);
  assert.deepEqual(await moneyOf(world, held), { ...refundedInFull, paymentStatus: "refund_failed" });
  assert.equal((await retry(world, held)).refundAmount, 50);
  await server.work();
  assert.deepEqual(await moneyOf(world, held), refundedInFull);
  assert.deepEqual([refundedCents(world, odd), refundedCents(world, right)], [5_000, 6_000]);
});
