/** What Stripe says has been given back: by the operator's own hand, and by us. Together it is never too much or too little. */
import assert from "node:assert/strict";
import {
  cancel,
  deliver,
  eventsOf,
  expireHolds,
  holdTimeslot,
  inHalfTier,
  moneyOf,
  newHeldBooking,
  newPaidBooking,
  paidInFull,
  read,
  refundedCents,
  refundedInFull,
  refundManually,
  refundRequests,
  reset,
  retry,
  start,
  startWorld,
  type World,
} from "./world.ts";

/** One server for all tests here: each has bookings of its own. */
let world: World & AsyncDisposable;
Deno.test.beforeAll(async () => {
  world = await startWorld();
});
Deno.test.afterAll(async () => await world[Symbol.asyncDispose]());
Deno.test.beforeEach(() => reset(world));

Deno.test("a payment of another amount that was given back by hand before it is told is not given back again", async () => {
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

Deno.test("a cancellation gives back what its tier owes beyond what was given back by hand", async (t) => {
  const { server } = world;
  for (
    const { byHand, now, rest } of [
      { byHand: 20, now: start, rest: 40 },
      { byHand: 30, now: start, rest: 30 },
      { byHand: 45, now: start, rest: 15 },
      { byHand: 60, now: start, rest: 0 },
      { byHand: 10, now: inHalfTier, rest: 20 },
      { byHand: 20, now: inHalfTier, rest: 10 },
      { byHand: 40, now: inHalfTier, rest: 0 },
    ]
  ) {
    await t.step(`${byHand}.00 by hand, then ${rest}.00 at ${now}`, async () => {
      reset(world);
      const held = await newPaidBooking(world);
      await refundManually(world, held.payment, byHand * 100);
      const partly = byHand === 60 ? "refunded" : "partially_refunded";
      const before = { ...paidInFull, paymentStatus: partly, refundAmount: byHand, amountRefunded: byHand };
      assert.deepEqual(await moneyOf(world, held), before);
      server.clock.set(now);
      const params = { bookingId: held.booking.id };
      const quote = await server.ok("getCancellation", { token: await server.token("alice"), params });
      assert.equal(quote.refundAmount, rest);
      assert.equal((await cancel(world, held)).refundAmount, rest);
      await server.work();
      const total = byHand + rest;
      assert.equal(refundedCents(world, held.payment), total * 100);
      const after = {
        ...refundedInFull,
        paymentStatus: total === 60 ? "refunded" : "partially_refunded",
        refundAmount: total,
        amountRefunded: total,
      };
      assert.deepEqual(await moneyOf(world, held), after);
      // Stripe tells of our own refunds, too.
      await deliver(world, await world.stripe.refunded(held.payment.id));
      assert.deepEqual(await moneyOf(world, held), after);
      const events = (await eventsOf(world, held)).filter((event) => event === "refunded");
      assert.equal(events.length, rest === 0 ? 1 : 2);
    });
  }
});

Deno.test("a late payment of which a part was given back by hand gives back the rest", async (t) => {
  for (const byHand of [20, 45]) {
    await t.step(`${byHand}.00 by hand`, async () => {
      reset(world);
      const held = await newHeldBooking(world);
      const payment = world.stripe.pay(held.session);
      await expireHolds(world);
      await holdTimeslot(world, held.timeslot, "bob");
      await refundManually(world, payment, byHand * 100);
      await deliver(world, await world.stripe.completed(held.session));
      await world.server.work();
      assert.equal(refundedCents(world, payment), 6_000);
      await deliver(world, await world.stripe.refunded(payment.id));
      assert.deepEqual(await moneyOf(world, held), refundedInFull);
    });
  }
});

Deno.test("what is given back by hand while a refund waits is not given back again, and nothing is kept", async (t) => {
  const { server, stripe } = world;
  await t.step("all of it, told before the job: Stripe is not asked", async () => {
    reset(world);
    const held = await newPaidBooking(world);
    await cancel(world, held);
    await refundManually(world, held.payment, 6_000);
    await server.work();
    assert.deepEqual(await moneyOf(world, held), refundedInFull);
    assert.equal(refundRequests(world, held.payment).length, 0);
    assert.deepEqual(await eventsOf(world, held), ["confirmed", "cancelled", "timeslot freed", "refunded"]);
  });

  await t.step("all of it, told after the job", async () => {
    reset(world);
    const held = await newPaidBooking(world);
    await cancel(world, held);
    stripe.refundInDashboard(held.payment.id, 6_000);
    await server.work();
    await deliver(world, await stripe.refunded(held.payment.id));
    await server.work();
    assert.equal(refundedCents(world, held.payment), 6_000);
    assert.deepEqual(await moneyOf(world, held), refundedInFull);
    assert.deepEqual(await eventsOf(world, held), ["confirmed", "cancelled", "timeslot freed", "refunded"]);
  });

  await t.step("a part of it: the rest is given, if need be when it is tried again", async () => {
    reset(world);
    const held = await newPaidBooking(world);
    await cancel(world, held);
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

Deno.test("news of what was given back that overtake each other leave the larger amount", async () => {
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

Deno.test("each refund is told once, whether its job or Stripe's message comes first", async (t) => {
  const { server, stripe } = world;
  for (const { now, cents } of [{ now: start, cents: 6_000 }, { now: inHalfTier, cents: 3_000 }]) {
    const expectOnce = async (held: Awaited<ReturnType<typeof newPaidBooking>>) => {
      await server.work();
      assert.equal(refundedCents(world, held.payment), cents);
      const { paymentStatus, amountRefunded } = await read(world, held);
      const expected = [cents === 6_000 ? "refunded" : "partially_refunded", cents / 100];
      assert.deepEqual([paymentStatus, amountRefunded], expected);
      assert.deepEqual(await eventsOf(world, held), ["confirmed", "cancelled", "timeslot freed", "refunded"]);
    };
    const newCancelled = async () => {
      reset(world);
      const held = await newPaidBooking(world);
      server.clock.set(now);
      await cancel(world, held);
      return held;
    };

    await t.step(`${cents} cents: the job comes first`, async () => {
      const held = await newCancelled();
      await server.work();
      await deliver(world, await stripe.refunded(held.payment.id));
      await expectOnce(held);
    });

    await t.step(`${cents} cents: the message comes first, since the job's answer was lost`, async () => {
      const held = await newCancelled();
      stripe.fault = { kind: "garbage", on: /^POST \/v1\/refunds$/, takesEffect: true };
      await server.work();
      stripe.fault = undefined;
      assert.equal((await read(world, held)).paymentStatus, "refund_pending");
      await deliver(world, await stripe.refunded(held.payment.id));
      await expectOnce(held);
    });

    await t.step(`${cents} cents: the message comes while the job waits for its answer`, async () => {
      const held = await newCancelled();
      stripe.fault = { kind: "slow", on: /^POST \/v1\/refunds$/, takesEffect: true, times: 1 };
      const asked = stripe.nextRequest(/^POST \/v1\/refunds$/);
      const working = server.work();
      await asked;
      await deliver(world, await stripe.refunded(held.payment.id));
      stripe.release();
      await working;
      await expectOnce(held);
    });
  }
});
