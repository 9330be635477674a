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
  type HeldBooking,
  holdTimeslot,
  moneyOf,
  newHeldBooking,
  paidInFull,
  pay,
  read,
  refundedCents,
  refundedInFull,
  reset,
  retry,
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

/** The guest has paid, and the hold has expired before the server is told. */
async function payTooLate(world: World): Promise<HeldBooking & { payment: StripePayment; completed: Webhook }> {
  const held = await newHeldBooking(world);
  const payment = world.stripe.pay(held.session);
  const completed = await world.stripe.completed(held.session);
  await expireHolds(world);
  const { status, cancellationReason } = await read(world, held);
  assert.deepEqual([status, cancellationReason], ["cancelled", "hold_expired"]);
  return { ...held, payment, completed };
}

Deno.test("a payment that is late takes the timeslot again while that is free, until it starts", async (t) => {
  for (const now of [afterHold, "2026-03-09T08:59:59.999Z"]) {
    await t.step(now, async () => {
      reset(world);
      const held = await payTooLate(world);
      world.server.clock.set(now);
      await deliver(world, held.completed);
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
      assert.deepEqual(await read(world, held), expected);
      assert.deepEqual(await eventsOf(world, held), ["cancelled", "timeslot freed", "confirmed", "timeslot taken"]);
      const { id: timeslotId, roomId } = held.timeslot;
      const rival = { token: await world.server.token("bob"), body: { roomId, timeslotId } };
      await world.server.refused("timeslot_unavailable", "createBooking", rival);
      await world.server.work();
      assert.equal(refundedCents(world, held.payment), 0);
    });
  }
});

Deno.test("a payment that comes after the hold, but before anybody has noticed, is in time", async () => {
  const held = await newHeldBooking(world);
  world.server.clock.set(afterHold);
  await pay(world, held.session);
  await world.server.sweep();
  assert.deepEqual(await moneyOf(world, held), paidInFull);
  assert.deepEqual(await eventsOf(world, held), ["confirmed"]);
});

Deno.test("a payment that is late goes back in full when the timeslot cannot be had any more", async (t) => {
  const { server } = world;
  const obstacles: Record<string, { arise(held: HeldBooking): Promise<unknown>; event?: string }> = {
    "somebody else holds it": {
      arise: ({ timeslot }) => holdTimeslot(world, timeslot, "bob"),
      event: "timeslot taken",
    },
    "the same guest has booked it again": {
      arise: ({ timeslot }) => holdTimeslot(world, timeslot),
      event: "timeslot taken",
    },
    "it has started": { arise: () => Promise.resolve(server.clock.set("2026-03-09T09:00:00.000Z")) },
    "the room takes no bookings any more": {
      arise: async ({ timeslot: { roomId } }) =>
        await server.ok("deleteRoom", { token: await server.token("admin", "admin"), params: { roomId } }),
      event: "timeslot room_closed",
    },
  };
  for (const [name, { arise, event }] of Object.entries(obstacles)) {
    await t.step(name, async () => {
      reset(world);
      const held = await payTooLate(world);
      await arise(held);
      await deliver(world, held.completed);
      const { cancellationReason } = await read(world, held);
      assert.equal(cancellationReason, "hold_expired");
      assert.deepEqual(await moneyOf(world, held), {
        ...refundedInFull,
        paymentStatus: "refund_pending",
        amountRefunded: 0,
      });
      await server.work();
      assert.deepEqual(await moneyOf(world, held), refundedInFull);
      const events = ["cancelled", "timeslot freed", ...(event === undefined ? [] : [event]), "refunded"];
      assert.deepEqual(await eventsOf(world, held), events);
      assert.equal(refundedCents(world, held.payment), 6_000);
    });
  }
});

Deno.test("a payment of a booking that was cancelled goes back in full, whoever cancelled it", async (t) => {
  const { server } = world;
  const ways: Record<string, (held: HeldBooking) => Promise<unknown>> = {
    user_request: (held) => cancel(world, held),
    admin_request: async ({ booking: { id: bookingId } }) => {
      const token = await server.token("admin", "admin");
      await server.ok("updateBookingStatus", { token, params: { bookingId }, body: { status: "cancelled" } });
    },
  };
  for (const [reason, way] of Object.entries(ways)) {
    await t.step(reason, async () => {
      reset(world);
      const held = await newHeldBooking(world);
      const payment = world.stripe.pay(held.session);
      await way(held);
      // Nothing of the tiers: what was cancelled before it was paid owes nothing.
      server.clock.set("2026-03-09T08:00:00.000Z");
      await deliver(world, await world.stripe.completed(held.session));
      await server.work();
      assert.deepEqual(await moneyOf(world, held), refundedInFull);
      assert.equal((await read(world, held)).cancellationReason, reason);
      assert.equal(refundedCents(world, payment), 6_000);
      assert.deepEqual(await eventsOf(world, held), ["cancelled", "timeslot freed", "refunded"]);
    });
  }
});

Deno.test("a payment of another amount or currency goes back, and a fresh checkout pays the booking", async (t) => {
  const { server, stripe } = world;
  for (
    const { name, odd, jobFirst } of [
      { name: "a cent too little", odd: { amount: 5_999 }, jobFirst: true },
      { name: "a cent too much", odd: { amount: 6_001 }, jobFirst: false },
      { name: "another currency", odd: { currency: "usd" }, jobFirst: true },
      { name: "another currency, still on its way back", odd: { currency: "usd" }, jobFirst: false },
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

Deno.test("of two payments by two checkouts one pays the booking and the other goes back, whichever is told first", async (t) => {
  const { server, stripe } = world;
  for (const first of ["the older", "the newer"]) {
    await t.step(`${first} is told first`, async () => {
      reset(world);
      const held = await newHeldBooking(world);
      const older = stripe.pay(held.session);
      const session = await freshCheckout(world, held);
      const newer = stripe.pay(session);
      const told = [await stripe.completed(held.session), await stripe.completed(session)];
      if (first === "the newer") told.reverse();
      for (const webhook of told) await deliver(world, webhook);
      assert.deepEqual(await moneyOf(world, held), { ...paidInFull, paymentStatus: "refund_pending" });
      await server.work();
      assert.deepEqual(await moneyOf(world, held), paidInFull);
      assert.deepEqual(
        [refundedCents(world, older), refundedCents(world, newer)],
        first === "the older" ? [0, 6_000] : [6_000, 0],
      );
      assert.deepEqual(await eventsOf(world, held), ["confirmed", "refunded"]);
      // What is left is what a cancellation gives back.
      await cancel(world, held);
      await server.work();
      assert.deepEqual(await moneyOf(world, held), refundedInFull);
      assert.equal(refundedCents(world, older) + refundedCents(world, newer), 12_000);
    });
  }
});

Deno.test("a payment of a booking that an admin has confirmed goes back", async () => {
  const held = await newHeldBooking(world);
  const payment = world.stripe.pay(held.session);
  await confirm(world.server, held.booking);
  await deliver(world, await world.stripe.completed(held.session));
  assert.deepEqual(await moneyOf(world, held), { ...paidInFull, paymentStatus: "refund_pending" });
  await world.server.work();
  assert.deepEqual(await moneyOf(world, held), paidInFull);
  assert.equal(refundedCents(world, payment), 6_000);
  assert.deepEqual(await eventsOf(world, held), ["confirmed", "refunded"]);
});

Deno.test("a second payment that could not go back stays in sight when the booking is cancelled", async () => {
  const { server, stripe } = world;
  const held = await newHeldBooking(world);
  const payment = stripe.pay(held.session);
  await confirm(server, held.booking);
  await deliver(world, await stripe.completed(held.session));
  stripe.fault = { kind: 402, on: /^POST \/v1\/refunds$/ };
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

Deno.test("a pending booking that is moved closes its checkout, and what was paid there meanwhile is held against the new price", async (t) => {
  const { server, stripe } = world;
  /** Alice's booking of an hour, and timeslots of the same room to move to. */
  const newMovable = async () => {
    reset(world);
    const room = await newRoom(server);
    const [hour, otherHour] = await newTimeslots(server, room, { date: "2026-03-09" });
    const [halfHour] = await newTimeslots(server, room, { date: "2026-03-10", slotDuration: 30 });
    assert(hour && otherHour && halfHour);
    const held = await holdTimeslot(world, hour);
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
    const payment = await pay(world, await freshCheckout(world, held));
    assert.equal(payment.amount, 3_000);
    assert.deepEqual(await moneyOf(world, held), { ...paidInFull, amountPaid: 30 });
  });

  await t.step("the old price was paid: it goes back", async () => {
    const { held, halfHour, move } = await newMovable();
    const old = stripe.pay(held.session);
    await move(halfHour.id);
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

  await t.step("the same price was paid: it counts", async () => {
    const { held, otherHour, move } = await newMovable();
    const payment = stripe.pay(held.session);
    await move(otherHour.id);
    await deliver(world, await stripe.completed(held.session));
    await server.work();
    assert.deepEqual(await moneyOf(world, held), paidInFull);
    assert.equal((await read(world, held)).timeslotId, otherHour.id);
    assert.equal(refundedCents(world, payment), 0);
  });
});

Deno.test("a checkout that expires is told while nothing else can be paid, and the booking stays held", async () => {
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

Deno.test("money that takes days to arrive confirms the booking when it arrives, and not before", async (t) => {
  const { server, stripe } = world;
  for (const outcome of ["succeeded", "failed"] as const) {
    await t.step(outcome, async () => {
      reset(world);
      const held = await newHeldBooking(world);
      stripe.pay(held.session, { delayed: true });
      await deliver(world, await stripe.completed(held.session));
      assert.deepEqual(await read(world, held), held.booking);
      await expireHolds(world);
      await server.work();
      await deliver(world, await stripe.settled(held.session, outcome));
      const { status, paymentStatus } = await read(world, held);
      const expected = outcome === "succeeded" ? ["confirmed", "paid"] : ["cancelled", "unpaid"];
      assert.deepEqual([status, paymentStatus], expected);
    });
  }
});

Deno.test("two late payments: one at most has the timeslot, and what has none goes back", async (t) => {
  const { server, stripe } = world;
  for (const isFree of [true, false]) {
    await t.step(isFree ? "the timeslot is free" : "somebody else has the timeslot", async () => {
      reset(world);
      const held = await newHeldBooking(world);
      const first = stripe.pay(held.session);
      const session = await freshCheckout(world, held);
      const second = stripe.pay(session);
      await expireHolds(world);
      if (!isFree) await holdTimeslot(world, held.timeslot, "bob");
      for (const paid of [held.session, session]) await deliver(world, await stripe.completed(paid));
      await server.work();
      assert.deepEqual(await moneyOf(world, held), isFree ? paidInFull : refundedInFull);
      assert.deepEqual(
        [refundedCents(world, first), refundedCents(world, second)],
        isFree ? [0, 6_000] : [6_000, 6_000],
      );
    });
  }

  await t.step("the first is of another amount", async () => {
    reset(world);
    const held = await newHeldBooking(world);
    const odd = stripe.pay(held.session, { amount: 5_000 });
    const session = await freshCheckout(world, held);
    stripe.pay(session);
    await expireHolds(world);
    await deliver(world, await stripe.completed(held.session));
    await server.work();
    assert.equal(refundedCents(world, odd), 5_000);
    // The second one is found when its session is closed, before Stripe's message of it.
    assert.deepEqual(await moneyOf(world, held), paidInFull);
    await deliver(world, await stripe.completed(session));
    assert.deepEqual(await moneyOf(world, held), paidInFull);
  });
});

Deno.test("a checkout of which the guest was never told can be paid all the same", async () => {
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

Deno.test("one of two refunds that failed stays in sight until it is tried again, whatever becomes of the other", async () => {
  const { server, stripe } = world;
  const held = await newHeldBooking(world);
  const odd = await pay(world, held.session, { amount: 5_000 });
  stripe.fault = { kind: 402, on: /^POST \/v1\/refunds$/ };
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
