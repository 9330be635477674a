/** Payments that come too late, twice, by a checkout that is closed, or are not of the price. */
import assert from "node:assert/strict";
import type { Booking } from "../../generated/contract.ts";
import type { Webhook } from "../../src/payments/provider.ts";
import { confirm, newRoom, newRoomWithTimeslot, newTimeslots } from "../support/builders.ts";
import type { StripePayment } from "../support/stripe_stand_in.ts";
import {
  afterHold,
  cancel,
  deliver,
  eventsOf,
  expireHolds,
  freshCheckout,
  givenBack,
  givenBackInFull,
  type Held,
  hold,
  moneyOf,
  newHeld,
  openTill,
  paidInFull,
  pay,
  read,
  restart,
  retry,
  type Till,
} from "./paying.ts";

/** One server for all tests here: each has bookings of its own. */
let till: Till;
Deno.test.beforeAll(async () => {
  till = await openTill();
});
Deno.test.afterAll(async () => await till[Symbol.asyncDispose]());
Deno.test.beforeEach(() => restart(till));

/** The guest has paid, and the hold has expired before the server is told. */
async function payTooLate(till: Till): Promise<Held & { payment: StripePayment; completed: Webhook }> {
  const held = await newHeld(till);
  const payment = till.stripe.pay(held.session);
  const completed = await till.stripe.completed(held.session);
  await expireHolds(till);
  const { status, cancellationReason } = await read(till, held);
  assert.deepEqual([status, cancellationReason], ["cancelled", "hold_expired"]);
  return { ...held, payment, completed };
}

Deno.test("a payment that is late takes the timeslot again while that is free, until it starts", async (t) => {
  for (const now of [afterHold, "2026-03-09T08:59:59.999Z"]) {
    await t.step(now, async () => {
      restart(till);
      const held = await payTooLate(till);
      till.server.clock.set(now);
      await deliver(till, held.completed);
      const expected: Booking = {
        ...held.booking,
        status: "confirmed",
        paymentStatus: "paid",
        amountPaid: 60,
        holdExpiresAt: null,
        cancelledAt: null,
        cancellationReason: null,
        updatedAt: now,
      };
      assert.deepEqual(await read(till, held), expected);
      assert.deepEqual(await eventsOf(till, held), ["cancelled", "timeslot freed", "confirmed", "timeslot taken"]);
      const { id: timeslotId, roomId } = held.timeslot;
      const rival = { token: await till.server.token("bob"), body: { roomId, timeslotId } };
      await till.server.refused("timeslot_unavailable", "createBooking", rival);
      await till.server.work();
      assert.equal(givenBack(till, held.payment), 0);
    });
  }
});

Deno.test("a payment that comes after the hold, but before anybody has noticed, is in time", async () => {
  const held = await newHeld(till);
  till.server.clock.set(afterHold);
  await pay(till, held.session);
  await till.server.sweep();
  assert.deepEqual(await moneyOf(till, held), paidInFull);
  assert.deepEqual(await eventsOf(till, held), ["confirmed"]);
});

Deno.test("a payment that is late goes back in full when the timeslot cannot be had any more", async (t) => {
  const { server } = till;
  const obstacles: Record<string, { arise(held: Held): Promise<unknown>; event?: string }> = {
    "somebody else holds it": { arise: ({ timeslot }) => hold(till, timeslot, "bob"), event: "timeslot taken" },
    "the same guest has booked it again": { arise: ({ timeslot }) => hold(till, timeslot), event: "timeslot taken" },
    "it has started": { arise: () => Promise.resolve(server.clock.set("2026-03-09T09:00:00.000Z")) },
    "the room takes no bookings any more": {
      arise: async ({ timeslot: { roomId } }) =>
        await server.ok("deleteRoom", { token: await server.token("admin", "admin"), params: { roomId } }),
      event: "timeslot room_closed",
    },
  };
  for (const [name, { arise, event }] of Object.entries(obstacles)) {
    await t.step(name, async () => {
      restart(till);
      const held = await payTooLate(till);
      await arise(held);
      await deliver(till, held.completed);
      const { cancellationReason } = await read(till, held);
      assert.equal(cancellationReason, "hold_expired");
      assert.deepEqual(await moneyOf(till, held), {
        ...givenBackInFull,
        paymentStatus: "refund_pending",
        amountRefunded: 0,
      });
      await server.work();
      assert.deepEqual(await moneyOf(till, held), givenBackInFull);
      const events = ["cancelled", "timeslot freed", ...(event === undefined ? [] : [event]), "refunded"];
      assert.deepEqual(await eventsOf(till, held), events);
      assert.equal(givenBack(till, held.payment), 6_000);
    });
  }
});

Deno.test("a payment of a booking that was cancelled goes back in full, whoever cancelled it", async (t) => {
  const { server } = till;
  const ways: Record<string, (held: Held) => Promise<unknown>> = {
    user_request: (held) => cancel(till, held),
    admin_request: async ({ booking: { id: bookingId } }) => {
      const token = await server.token("admin", "admin");
      await server.ok("updateBookingStatus", { token, params: { bookingId }, body: { status: "cancelled" } });
    },
  };
  for (const [reason, way] of Object.entries(ways)) {
    await t.step(reason, async () => {
      restart(till);
      const held = await newHeld(till);
      const payment = till.stripe.pay(held.session);
      await way(held);
      // Nothing of the tiers: what was cancelled before it was paid owes nothing.
      server.clock.set("2026-03-09T08:00:00.000Z");
      await deliver(till, await till.stripe.completed(held.session));
      await server.work();
      assert.deepEqual(await moneyOf(till, held), givenBackInFull);
      assert.equal((await read(till, held)).cancellationReason, reason);
      assert.equal(givenBack(till, payment), 6_000);
      assert.deepEqual(await eventsOf(till, held), ["cancelled", "timeslot freed", "refunded"]);
    });
  }
});

Deno.test("a payment of another amount or currency goes back, and a fresh checkout pays the booking", async (t) => {
  const { server, stripe } = till;
  for (
    const { name, odd, jobFirst } of [
      { name: "a cent too little", odd: { amount: 5_999 }, jobFirst: true },
      { name: "a cent too much", odd: { amount: 6_001 }, jobFirst: false },
      { name: "another currency", odd: { currency: "usd" }, jobFirst: true },
      { name: "another currency, still on its way back", odd: { currency: "usd" }, jobFirst: false },
    ]
  ) {
    await t.step(name, async () => {
      restart(till);
      const held = await newHeld(till);
      const now = "2026-03-02T10:05:00.000Z";
      server.clock.set(now);
      const payment = await pay(till, held.session, odd);
      const waiting: Booking = { ...held.booking, paymentStatus: "refund_pending", updatedAt: now };
      assert.deepEqual(await read(till, held), waiting);
      assert.deepEqual(await eventsOf(till, held), ["payment_failed"]);
      if (jobFirst) {
        await server.work();
        assert.deepEqual(await read(till, held), { ...waiting, paymentStatus: "unpaid" });
        await deliver(till, await stripe.refunded(payment.id));
        assert.deepEqual(await eventsOf(till, held), ["payment_failed", "refunded"]);
      }

      const rightPayment = await pay(till, await freshCheckout(till, held));
      await server.work();
      assert.deepEqual(await moneyOf(till, held), paidInFull);
      assert.deepEqual([givenBack(till, payment), givenBack(till, rightPayment)], [payment.amount, 0]);
      const events = jobFirst
        ? ["payment_failed", "refunded", "confirmed"]
        : ["payment_failed", "confirmed", "refunded"];
      assert.deepEqual(await eventsOf(till, held), events);
    });
  }
});

Deno.test("of two payments by two checkouts one pays the booking and the other goes back, whichever is told first", async (t) => {
  const { server, stripe } = till;
  for (const first of ["the older", "the newer"]) {
    await t.step(`${first} is told first`, async () => {
      restart(till);
      const held = await newHeld(till);
      const older = stripe.pay(held.session);
      const session = await freshCheckout(till, held);
      const newer = stripe.pay(session);
      const told = [await stripe.completed(held.session), await stripe.completed(session)];
      if (first === "the newer") told.reverse();
      for (const webhook of told) await deliver(till, webhook);
      assert.deepEqual(await moneyOf(till, held), { ...paidInFull, paymentStatus: "refund_pending" });
      await server.work();
      assert.deepEqual(await moneyOf(till, held), paidInFull);
      assert.deepEqual(
        [givenBack(till, older), givenBack(till, newer)],
        first === "the older" ? [0, 6_000] : [6_000, 0],
      );
      assert.deepEqual(await eventsOf(till, held), ["confirmed", "refunded"]);
      // What is left is what a cancellation gives back.
      await cancel(till, held);
      await server.work();
      assert.deepEqual(await moneyOf(till, held), givenBackInFull);
      assert.equal(givenBack(till, older) + givenBack(till, newer), 12_000);
    });
  }
});

Deno.test("a payment of a booking that an admin has confirmed goes back", async () => {
  const held = await newHeld(till);
  const payment = till.stripe.pay(held.session);
  await confirm(till.server, held.booking);
  await deliver(till, await till.stripe.completed(held.session));
  assert.deepEqual(await moneyOf(till, held), { ...paidInFull, paymentStatus: "refund_pending" });
  await till.server.work();
  assert.deepEqual(await moneyOf(till, held), paidInFull);
  assert.equal(givenBack(till, payment), 6_000);
  assert.deepEqual(await eventsOf(till, held), ["confirmed", "refunded"]);
});

Deno.test("a second payment that could not go back stays in sight when the booking is cancelled", async () => {
  const { server, stripe } = till;
  const held = await newHeld(till);
  const payment = stripe.pay(held.session);
  await confirm(server, held.booking);
  await deliver(till, await stripe.completed(held.session));
  stripe.fault = { kind: 402, on: /^POST \/v1\/refunds$/ };
  await server.work();
  stripe.fault = undefined;
  assert.equal((await read(till, held)).paymentStatus, "refund_failed");
  await cancel(till, held);
  assert.equal((await read(till, held)).paymentStatus, "refund_failed");
  await retry(till, held);
  await server.work();
  assert.equal((await read(till, held)).paymentStatus, "refunded");
  assert.equal(givenBack(till, payment), 6_000);
});

Deno.test("a pending booking that is moved closes its checkout, and what was paid there meanwhile is held against the new price", async (t) => {
  const { server, stripe } = till;
  /** Alice's booking of an hour, and timeslots of the same room to move to. */
  const newMovable = async () => {
    restart(till);
    const room = await newRoom(server);
    const [hour, otherHour] = await newTimeslots(server, room, { date: "2026-03-09" });
    const [halfHour] = await newTimeslots(server, room, { date: "2026-03-10", slotDuration: 30 });
    assert(hour && otherHour && halfHour);
    const held = await hold(till, hour);
    const move = async (newTimeslotId: number) => {
      const params = { bookingId: held.booking.id };
      const request = { token: await server.token("alice"), params, body: { newTimeslotId } };
      return (await server.ok("rescheduleBooking", request)).booking;
    };
    return { held, otherHour, halfHour, move };
  };

  await t.step("nothing was paid", async () => {
    const { held, halfHour, move } = await newMovable();
    assert.equal((await move(halfHour.id)).price, 30);
    await server.work();
    assert.equal(stripe.sessions.get(held.session)?.status, "expired");
    const payment = await pay(till, await freshCheckout(till, held));
    assert.equal(payment.amount, 3_000);
    assert.deepEqual(await moneyOf(till, held), { ...paidInFull, amountPaid: 30 });
  });

  await t.step("the old price was paid: it goes back", async () => {
    const { held, halfHour, move } = await newMovable();
    const old = stripe.pay(held.session);
    await move(halfHour.id);
    await deliver(till, await stripe.completed(held.session));
    assert.equal((await read(till, held)).status, "pending");
    await server.work();
    assert.equal(givenBack(till, old), 6_000);
    assert.equal((await read(till, held)).paymentStatus, "unpaid");
    const payment = await pay(till, await freshCheckout(till, held));
    assert.deepEqual(await moneyOf(till, held), { ...paidInFull, amountPaid: 30 });
    assert.equal(givenBack(till, payment), 0);
    const events = (await eventsOf(till, held)).filter((event) => !event.startsWith("timeslot"));
    assert.deepEqual(events, ["rescheduled", "payment_failed", "refunded", "confirmed"]);
  });

  await t.step("the same price was paid: it counts", async () => {
    const { held, otherHour, move } = await newMovable();
    const payment = stripe.pay(held.session);
    await move(otherHour.id);
    await deliver(till, await stripe.completed(held.session));
    await server.work();
    assert.deepEqual(await moneyOf(till, held), paidInFull);
    assert.equal((await read(till, held)).timeslotId, otherHour.id);
    assert.equal(givenBack(till, payment), 0);
  });
});

Deno.test("a checkout that expires is told while nothing else can be paid, and the booking stays held", async () => {
  const { server, stripe } = till;
  const held = await newHeld(till);
  const older = held.session;
  const session = await freshCheckout(till, held);
  await server.work();
  await deliver(till, await stripe.expired(older));
  assert.deepEqual(await eventsOf(till, held), []);
  await deliver(till, await stripe.expired(session));
  assert.deepEqual(await eventsOf(till, held), ["payment_failed"]);
  assert.deepEqual(await read(till, held), held.booking);
  await pay(till, await freshCheckout(till, held));
  assert.deepEqual(await moneyOf(till, held), paidInFull);
  await deliver(till, await stripe.expired(session));
  assert.deepEqual(await eventsOf(till, held), ["payment_failed", "confirmed"]);
});

Deno.test("money that takes days to arrive confirms the booking when it arrives, and not before", async (t) => {
  const { server, stripe } = till;
  for (const outcome of ["succeeded", "failed"] as const) {
    await t.step(outcome, async () => {
      restart(till);
      const held = await newHeld(till);
      stripe.pay(held.session, { delayed: true });
      await deliver(till, await stripe.completed(held.session));
      assert.deepEqual(await read(till, held), held.booking);
      await expireHolds(till);
      await server.work();
      await deliver(till, await stripe.settled(held.session, outcome));
      const { status, paymentStatus } = await read(till, held);
      const expected = outcome === "succeeded" ? ["confirmed", "paid"] : ["cancelled", "unpaid"];
      assert.deepEqual([status, paymentStatus], expected);
    });
  }
});

Deno.test("two late payments: one at most has the timeslot, and what has none goes back", async (t) => {
  const { server, stripe } = till;
  for (const isFree of [true, false]) {
    await t.step(isFree ? "the timeslot is free" : "somebody else has the timeslot", async () => {
      restart(till);
      const held = await newHeld(till);
      const first = stripe.pay(held.session);
      const session = await freshCheckout(till, held);
      const second = stripe.pay(session);
      await expireHolds(till);
      if (!isFree) await hold(till, held.timeslot, "bob");
      for (const paid of [held.session, session]) await deliver(till, await stripe.completed(paid));
      await server.work();
      assert.deepEqual(await moneyOf(till, held), isFree ? paidInFull : givenBackInFull);
      assert.deepEqual([givenBack(till, first), givenBack(till, second)], isFree ? [0, 6_000] : [6_000, 6_000]);
    });
  }

  await t.step("the first is of another amount", async () => {
    restart(till);
    const held = await newHeld(till);
    const odd = stripe.pay(held.session, { amount: 5_000 });
    const session = await freshCheckout(till, held);
    stripe.pay(session);
    await expireHolds(till);
    await deliver(till, await stripe.completed(held.session));
    await server.work();
    assert.equal(givenBack(till, odd), 5_000);
    // The second one is found when its session is closed, before Stripe's message of it.
    assert.deepEqual(await moneyOf(till, held), paidInFull);
    await deliver(till, await stripe.completed(session));
    assert.deepEqual(await moneyOf(till, held), paidInFull);
  });
});

Deno.test("a checkout of which the guest was never told can be paid all the same", async () => {
  const { server, stripe } = till;
  const { timeslot: { id: timeslotId, roomId } } = await newRoomWithTimeslot(server);
  stripe.fault = { kind: "garbage", on: /^POST/, takesEffect: true };
  const request = { token: await server.token("alice"), body: { roomId, timeslotId } };
  const { booking, checkoutUrl } = await server.ok("createBooking", request);
  assert.equal(checkoutUrl, null);
  stripe.fault = undefined;
  const lost = stripe.sessions.keys().toArray().at(-1);
  assert(lost);
  const session = await freshCheckout(till, { booking });
  const second = stripe.pay(session);
  const first = await pay(till, lost);
  assert.deepEqual(await moneyOf(till, { booking }), paidInFull);
  await deliver(till, await stripe.completed(session));
  await server.work();
  assert.deepEqual(await moneyOf(till, { booking }), paidInFull);
  assert.deepEqual([givenBack(till, first), givenBack(till, second)], [0, 6_000]);
});

Deno.test("one of two refunds that failed stays in sight until it is tried again, whatever becomes of the other", async () => {
  const { server, stripe } = till;
  const held = await newHeld(till);
  const odd = await pay(till, held.session, { amount: 5_000 });
  stripe.fault = { kind: 402, on: /^POST \/v1\/refunds$/ };
  await server.work();
  stripe.fault = undefined;
  const right = await pay(till, await freshCheckout(till, held));
  assert.deepEqual(await moneyOf(till, held), { ...paidInFull, paymentStatus: "refund_failed" });
  await cancel(till, held);
  await server.work();
  assert.equal(givenBack(till, right), 6_000);
  assert.deepEqual(await moneyOf(till, held), { ...givenBackInFull, paymentStatus: "refund_failed" });
  assert.equal((await retry(till, held)).refundAmount, 50);
  await server.work();
  assert.deepEqual(await moneyOf(till, held), givenBackInFull);
  assert.deepEqual([givenBack(till, odd), givenBack(till, right)], [5_000, 6_000]);
});
