/** What Stripe says has been given back: by the operator's own hand, and by us. Together it is never too much or too little. */
import assert from "node:assert/strict";
import {
  askedRefunds,
  cancel,
  deliver,
  eventsOf,
  expireHolds,
  givenBack,
  givenBackInFull,
  hold,
  inHalfTier,
  moneyOf,
  newHeld,
  newPaid,
  openTill,
  paidInFull,
  read,
  refundByHand,
  restart,
  retry,
  start,
  type Till,
} from "./paying.ts";

/** One server for all tests here: each has bookings of its own. */
let till: Till;
Deno.test.beforeAll(async () => {
  till = await openTill();
});
Deno.test.afterAll(async () => await till[Symbol.asyncDispose]());
Deno.test.beforeEach(() => restart(till));

Deno.test("a payment of another amount that was given back by hand before it is told is not given back again", async () => {
  const held = await newHeld(till);
  const payment = till.stripe.pay(held.session, { amount: 5_000 });
  await refundByHand(till, payment, 5_000);
  await deliver(till, await till.stripe.completed(held.session));
  await till.server.work();
  assert.deepEqual(await read(till, held), held.booking);
  assert.equal(givenBack(till, payment), 5_000);
  assert.equal(askedRefunds(till, payment).length, 0);
  assert.deepEqual(await eventsOf(till, held), ["payment_failed"]);
});

Deno.test("a cancellation gives back what its tier owes beyond what was given back by hand", async (t) => {
  const { server } = till;
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
      restart(till);
      const held = await newPaid(till);
      await refundByHand(till, held.payment, byHand * 100);
      const partly = byHand === 60 ? "refunded" : "partially_refunded";
      const before = { ...paidInFull, paymentStatus: partly, refundAmount: byHand, amountRefunded: byHand };
      assert.deepEqual(await moneyOf(till, held), before);
      server.clock.set(now);
      const params = { bookingId: held.booking.id };
      const quote = await server.ok("getCancellation", { token: await server.token("alice"), params });
      assert.equal(quote.refundAmount, rest);
      assert.equal((await cancel(till, held)).refundAmount, rest);
      await server.work();
      const total = byHand + rest;
      assert.equal(givenBack(till, held.payment), total * 100);
      const after = {
        ...givenBackInFull,
        paymentStatus: total === 60 ? "refunded" : "partially_refunded",
        refundAmount: total,
        amountRefunded: total,
      };
      assert.deepEqual(await moneyOf(till, held), after);
      // Stripe tells of our own refunds, too.
      await deliver(till, await till.stripe.refunded(held.payment.id));
      assert.deepEqual(await moneyOf(till, held), after);
      const events = (await eventsOf(till, held)).filter((event) => event === "refunded");
      assert.equal(events.length, rest === 0 ? 1 : 2);
    });
  }
});

Deno.test("a late payment of which a part was given back by hand gives back the rest", async (t) => {
  for (const byHand of [20, 45]) {
    await t.step(`${byHand}.00 by hand`, async () => {
      restart(till);
      const held = await newHeld(till);
      const payment = till.stripe.pay(held.session);
      await expireHolds(till);
      await hold(till, held.timeslot, "bob");
      await refundByHand(till, payment, byHand * 100);
      await deliver(till, await till.stripe.completed(held.session));
      await till.server.work();
      assert.equal(givenBack(till, payment), 6_000);
      await deliver(till, await till.stripe.refunded(payment.id));
      assert.deepEqual(await moneyOf(till, held), givenBackInFull);
    });
  }
});

Deno.test("what is given back by hand while a refund waits is not given back again, and nothing is kept", async (t) => {
  const { server, stripe } = till;
  await t.step("all of it, told before the job: Stripe is not asked", async () => {
    restart(till);
    const held = await newPaid(till);
    await cancel(till, held);
    await refundByHand(till, held.payment, 6_000);
    await server.work();
    assert.deepEqual(await moneyOf(till, held), givenBackInFull);
    assert.equal(askedRefunds(till, held.payment).length, 0);
    assert.deepEqual(await eventsOf(till, held), ["confirmed", "cancelled", "timeslot freed", "refunded"]);
  });

  await t.step("all of it, told after the job", async () => {
    restart(till);
    const held = await newPaid(till);
    await cancel(till, held);
    stripe.refundInDashboard(held.payment.id, 6_000);
    await server.work();
    await deliver(till, await stripe.refunded(held.payment.id));
    await server.work();
    assert.equal(givenBack(till, held.payment), 6_000);
    assert.deepEqual(await moneyOf(till, held), givenBackInFull);
    assert.deepEqual(await eventsOf(till, held), ["confirmed", "cancelled", "timeslot freed", "refunded"]);
  });

  await t.step("a part of it: the rest is given, if need be when it is tried again", async () => {
    restart(till);
    const held = await newPaid(till);
    await cancel(till, held);
    await refundByHand(till, held.payment, 2_000);
    await server.work();
    if ((await read(till, held)).paymentStatus === "refund_failed") {
      await retry(till, held);
      await server.work();
    }
    assert.equal(givenBack(till, held.payment), 6_000);
    await deliver(till, await stripe.refunded(held.payment.id));
    assert.deepEqual(await moneyOf(till, held), givenBackInFull);
  });
});

Deno.test("news of what was given back that overtake each other leave the larger amount", async () => {
  const { stripe } = till;
  const held = await newPaid(till);
  stripe.refundInDashboard(held.payment.id, 1_000);
  const older = await stripe.refunded(held.payment.id);
  await refundByHand(till, held.payment, 1_500);
  await deliver(till, older);
  const partly = { paymentStatus: "partially_refunded", refundAmount: 25, amountRefunded: 25 };
  assert.deepEqual(await moneyOf(till, held), { ...paidInFull, ...partly });
  assert.deepEqual(await eventsOf(till, held), ["confirmed", "refunded"]);
});

Deno.test("each refund is told once, whether its job or Stripe's message comes first", async (t) => {
  const { server, stripe } = till;
  for (const { now, cents } of [{ now: start, cents: 6_000 }, { now: inHalfTier, cents: 3_000 }]) {
    const expectOnce = async (held: Awaited<ReturnType<typeof newPaid>>) => {
      await server.work();
      assert.equal(givenBack(till, held.payment), cents);
      const { paymentStatus, amountRefunded } = await read(till, held);
      const expected = [cents === 6_000 ? "refunded" : "partially_refunded", cents / 100];
      assert.deepEqual([paymentStatus, amountRefunded], expected);
      assert.deepEqual(await eventsOf(till, held), ["confirmed", "cancelled", "timeslot freed", "refunded"]);
    };
    const newCancelled = async () => {
      restart(till);
      const held = await newPaid(till);
      server.clock.set(now);
      await cancel(till, held);
      return held;
    };

    await t.step(`${cents} cents: the job comes first`, async () => {
      const held = await newCancelled();
      await server.work();
      await deliver(till, await stripe.refunded(held.payment.id));
      await expectOnce(held);
    });

    await t.step(`${cents} cents: the message comes first, since the job's answer was lost`, async () => {
      const held = await newCancelled();
      stripe.fault = { kind: "garbage", on: /^POST \/v1\/refunds$/, takesEffect: true };
      await server.work();
      stripe.fault = undefined;
      assert.equal((await read(till, held)).paymentStatus, "refund_pending");
      await deliver(till, await stripe.refunded(held.payment.id));
      await expectOnce(held);
    });

    await t.step(`${cents} cents: the message comes while the job waits for its answer`, async () => {
      const held = await newCancelled();
      stripe.fault = { kind: "slow", on: /^POST \/v1\/refunds$/, takesEffect: true, times: 1 };
      const asked = stripe.nextRequest(/^POST \/v1\/refunds$/);
      const working = server.work();
      await asked;
      await deliver(till, await stripe.refunded(held.payment.id));
      stripe.release();
      await working;
      await expectOnce(held);
    });
  }
});
