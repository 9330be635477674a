/** Refunds by the operator in Stripe's dashboard and refunds by us. Together they are exactly the amount due. */
import assert from "node:assert/strict";
import {
  cancel,
  deliver,
  eventsOf,
  expireHolds,
  holdTimeslot,
  inHalfTier,
  moneyOf,
  newCancelledBooking,
  newHeldBooking,
  newPaidBooking,
  onRefunds,
  type PaidBooking,
  paidInFull,
  read,
  refundedCents,
  refundedInFull,
  refundManually,
  refundRequests,
  reset,
  retry,
  sharedWorld,
  start,
} from "./world.ts";

Deno.test("receivePaymentEvent: another amount, refunded manually before it is reported -> not refunded again", async () => {
  const world = await sharedWorld();
  const held = await newHeldBooking(world);
  const payment = world.stripe.pay(held.session, { amount: 5_000 });
  await refundManually(world, payment, 5_000);
  await deliver(world, await world.stripe.completed(held.session));
  await world.server.work();
  assert.deepEqual(await read(world, held), held.booking);
  assert.equal(refundedCents(world, payment), 5_000);
  assert.equal(refundRequests(world, payment).length, 0);
  assert.deepEqual(await eventsOf(world, held), ["payment_failed"]);
});

Deno.test("cancelBooking: partly refunded manually -> refunds the rest that its tier owes", async (t) => {
  const world = await sharedWorld();
  const { server } = world;
  for (
    const { manual, now, rest } of [
      { manual: 20, now: start, rest: 40 },
      { manual: 30, now: start, rest: 30 },
      { manual: 45, now: start, rest: 15 },
      { manual: 60, now: start, rest: 0 },
      { manual: 10, now: inHalfTier, rest: 20 },
      { manual: 20, now: inHalfTier, rest: 10 },
      { manual: 40, now: inHalfTier, rest: 0 },
    ]
  ) {
    await t.step(`${manual}.00 manually, then ${rest}.00 at ${now}`, async () => {
      reset(world);
      const held = await newPaidBooking(world);
      await refundManually(world, held.payment, manual * 100);
      const partly = manual === 60 ? "refunded" : "partially_refunded";
      const before = { ...paidInFull, paymentStatus: partly, refundAmount: manual, amountRefunded: manual };
      assert.deepEqual(await moneyOf(world, held), before);
      server.clock.set(now);
      const params = { bookingId: held.booking.id };
      const quote = await server.ok("getCancellation", { token: await server.token("alice"), params });
      assert.equal(quote.refundAmount, rest);
      assert.equal((await cancel(world, held)).refundAmount, rest);
      await server.work();
      const total = manual + rest;
      assert.equal(refundedCents(world, held.payment), total * 100);
      const after = {
        ...refundedInFull,
        paymentStatus: total === 60 ? "refunded" : "partially_refunded",
        refundAmount: total,
        amountRefunded: total,
      };
      assert.deepEqual(await moneyOf(world, held), after);
      // Stripe reports our own refunds as well.
      await deliver(world, await world.stripe.refunded(held.payment.id));
      assert.deepEqual(await moneyOf(world, held), after);
      const events = (await eventsOf(world, held)).filter((event) => event === "refunded");
      assert.equal(events.length, rest === 0 ? 1 : 2);
    });
  }
});

Deno.test("receivePaymentEvent: late payment, partly refunded manually -> the rest is refunded", async (t) => {
  const world = await sharedWorld();
  for (const manual of [20, 45]) {
    await t.step(`${manual}.00 manually`, async () => {
      reset(world);
      const held = await newHeldBooking(world);
      const payment = world.stripe.pay(held.session);
      await expireHolds(world);
      await holdTimeslot(world, held.timeslot, "bob");
      await refundManually(world, payment, manual * 100);
      await deliver(world, await world.stripe.completed(held.session));
      await world.server.work();
      assert.equal(refundedCents(world, payment), 6_000);
      await deliver(world, await world.stripe.refunded(payment.id));
      assert.deepEqual(await moneyOf(world, held), refundedInFull);
    });
  }
});

Deno.test("refund job: manual refund while it waits -> 60.00 refunded in all", async (t) => {
  const world = await sharedWorld();
  const { server, stripe } = world;
  await t.step("all of it, reported before the job: Stripe gets no request", async () => {
    const held = await newCancelledBooking(world);
    await refundManually(world, held.payment, 6_000);
    await server.work();
    assert.deepEqual(await moneyOf(world, held), refundedInFull);
    assert.equal(refundRequests(world, held.payment).length, 0);
    assert.deepEqual(await eventsOf(world, held), ["confirmed", "cancelled", "timeslot freed", "refunded"]);
  });

  await t.step("all of it, reported after the job", async () => {
    const held = await newCancelledBooking(world);
    stripe.refundInDashboard(held.payment.id, 6_000);
    await server.work();
    await deliver(world, await stripe.refunded(held.payment.id));
    await server.work();
    assert.equal(refundedCents(world, held.payment), 6_000);
    assert.deepEqual(await moneyOf(world, held), refundedInFull);
    assert.deepEqual(await eventsOf(world, held), ["confirmed", "cancelled", "timeslot freed", "refunded"]);
  });

  await t.step("a part of it: the rest is refunded, after a retry if needed", async () => {
    const held = await newCancelledBooking(world);
    await refundManually(world, held.payment, 2_000);
    await server.work();
    if ((await read(world, held)).paymentStatus === "refund_failed") {
      await retry(world, held);
      await server.work();
    }
    assert.equal(refundedCents(world, held.payment), 6_000);
    await deliver(world, await stripe.refunded(held.payment.id));
    assert.deepEqual(await moneyOf(world, held), refundedInFull);
  });
});

Deno.test("receivePaymentEvent: an older refund event comes later -> the larger amount stays", async () => {
  const world = await sharedWorld();
  const { stripe } = world;
  const held = await newPaidBooking(world);
  stripe.refundInDashboard(held.payment.id, 1_000);
  const older = await stripe.refunded(held.payment.id);
  await refundManually(world, held.payment, 1_500);
  await deliver(world, older);
  const partly = { paymentStatus: "partially_refunded", refundAmount: 25, amountRefunded: 25 };
  assert.deepEqual(await moneyOf(world, held), { ...paidInFull, ...partly });
  assert.deepEqual(await eventsOf(world, held), ["confirmed", "refunded"]);
});

Deno.test("refund: job and Stripe's event in any order -> one refunded event", async (t) => {
  const world = await sharedWorld();
  const { server, stripe } = world;
  for (const { now, cents } of [{ now: start, cents: 6_000 }, { now: inHalfTier, cents: 3_000 }]) {
    const expectOnce = async (held: PaidBooking) => {
      await server.work();
      assert.equal(refundedCents(world, held.payment), cents);
      const { paymentStatus, amountRefunded } = await read(world, held);
      const expected = [cents === 6_000 ? "refunded" : "partially_refunded", cents / 100];
      assert.deepEqual([paymentStatus, amountRefunded], expected);
      assert.deepEqual(await eventsOf(world, held), ["confirmed", "cancelled", "timeslot freed", "refunded"]);
    };

    await t.step(`${cents} cents: the job comes first`, async () => {
      const held = await newCancelledBooking(world, now);
      await server.work();
      await deliver(world, await stripe.refunded(held.payment.id));
      await expectOnce(held);
    });

    await t.step(`${cents} cents: the event comes first, because the job's answer was lost`, async () => {
      const held = await newCancelledBooking(world, now);
      stripe.fault = { kind: "garbage", on: onRefunds, takesEffect: true };
      await server.work();
      stripe.fault = undefined;
      assert.equal((await read(world, held)).paymentStatus, "refund_pending");
      await deliver(world, await stripe.refunded(held.payment.id));
      await expectOnce(held);
    });

    await t.step(`${cents} cents: the event comes while the job waits for its answer`, async () => {
      const held = await newCancelledBooking(world, now);
      stripe.fault = { kind: "slow", on: onRefunds, takesEffect: true, times: 1 };
      const asked = stripe.nextRequest(onRefunds);
      const working = server.work();
      await asked;
      await deliver(world, await stripe.refunded(held.payment.id));
      stripe.release();
      await working;
      await expectOnce(held);
    });
  }
});
