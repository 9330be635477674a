/** Payments after the end of the hold, or of a cancelled or confirmed booking. */
import assert from "node:assert/strict";
import type { Booking } from "../../generated/contract.ts";
import type { Webhook } from "../../src/payments/provider.ts";
import { confirm } from "../support/builders.ts";
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
  sharedWorld,
  type World,
} from "./world.ts";

/** The guest has paid, and the hold expired before Stripe reports it. */
async function payLate(world: World): Promise<HeldBooking & { payment: StripePayment; completed: Webhook }> {
  const held = await newHeldBooking(world);
  const payment = world.stripe.pay(held.session);
  const completed = await world.stripe.completed(held.session);
  await expireHolds(world);
  const { status, cancellationReason } = await read(world, held);
  assert.deepEqual([status, cancellationReason], ["cancelled", "hold_expired"]);
  return { ...held, payment, completed };
}

Deno.test("receivePaymentEvent: paid after the hold expired and the timeslot is free -> booking confirmed again", async (t) => {
  const world = await sharedWorld();
  for (const now of [afterHold, "2026-03-09T08:59:59.999Z"]) {
    await t.step(now, async () => {
      reset(world);
      const held = await payLate(world);
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

Deno.test("receivePaymentEvent: paid after the hold and before a sweep -> booking confirmed", async () => {
  const world = await sharedWorld();
  const held = await newHeldBooking(world);
  world.server.clock.set(afterHold);
  await pay(world, held.session);
  await world.server.sweep();
  assert.deepEqual(await moneyOf(world, held), paidInFull);
  assert.deepEqual(await eventsOf(world, held), ["confirmed"]);
});

Deno.test("receivePaymentEvent: paid after the hold expired and the timeslot is gone -> refunded in full", async (t) => {
  const world = await sharedWorld();
  const { server } = world;
  const obstacles: Record<string, { occur(held: HeldBooking): Promise<unknown>; event?: string }> = {
    "another guest holds it": {
      occur: ({ timeslot }) => holdTimeslot(world, timeslot, "bob"),
      event: "timeslot taken",
    },
    "the same guest has booked it again": {
      occur: ({ timeslot }) => holdTimeslot(world, timeslot),
      event: "timeslot taken",
    },
    "it has started": { occur: () => Promise.resolve(server.clock.set("2026-03-09T09:00:00.000Z")) },
    "the room is closed": {
      occur: async ({ timeslot: { roomId } }) =>
        await server.ok("deleteRoom", { token: await server.token("admin", "admin"), params: { roomId } }),
      event: "timeslot room_closed",
    },
  };
  for (const [name, { occur, event }] of Object.entries(obstacles)) {
    await t.step(name, async () => {
      reset(world);
      const held = await payLate(world);
      await occur(held);
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

Deno.test("createBooking: shortly before the start -> the hold ends at the start, and no later checkout or payment counts", async (t) => {
  const world = await sharedWorld();
  const { server } = world;
  const token = await server.token("alice");
  const ends: Record<string, { hold?: string | null; reason: string }> = {
    "hold until the start": { reason: "hold_expired" },
    // A server of the previous version does not limit the hold.
    "later hold": { hold: "2026-03-09T09:14:00.000Z", reason: "hold_expired" },
    "no hold": { hold: null, reason: "not_confirmed" },
  };
  for (const [name, { hold, reason }] of Object.entries(ends)) {
    for (const isSwept of [false, true]) {
      await t.step(`${name}, ${isSwept ? "after" : "before"} a sweep`, async () => {
        reset(world);
        server.clock.set("2026-03-09T08:59:00.000Z");
        const held = await newHeldBooking(world);
        const params = { bookingId: held.booking.id };
        assert.equal(held.booking.holdExpiresAt, held.timeslot.startTime);
        if (hold !== undefined) {
          await server.db.updateTable("bookings").set({ hold_expires_at: hold === null ? null : new Date(hold) }).where(
            "id",
            "=",
            held.booking.id,
          )
            .execute();
        }
        server.clock.set("2026-03-09T08:59:59.999Z");
        await freshCheckout(world, held);
        await server.sweep();
        assert.equal((await read(world, held)).status, "pending");
        server.clock.set(held.timeslot.startTime);
        if (isSwept) await server.sweep();
        const { detail } = await server.refused("booking_not_payable", "createCheckout", { token, params });
        assert.match(detail, isSwept ? /is cancelled/ : /has started/);
        const admin = { token: await server.token("admin", "admin"), params };
        await server.refused("invalid_status_transition", "updateBookingStatus", {
          ...admin,
          body: { status: "confirmed" },
        });
        const payment = await pay(world, held.session);
        const { status, cancellationReason, holdExpiresAt } = await read(world, held);
        assert.deepEqual([status, cancellationReason, holdExpiresAt], ["cancelled", reason, null]);
        await server.sweep();
        await server.work();
        assert.deepEqual(await moneyOf(world, held), refundedInFull);
        assert.equal(refundedCents(world, payment), 6_000);
        assert.deepEqual(await eventsOf(world, held), ["cancelled", "timeslot freed", "refunded"]);
      });
    }
  }
});

Deno.test("receivePaymentEvent: paid after the booking was cancelled -> refunded in full", async (t) => {
  const world = await sharedWorld();
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
      // The tiers do not apply to a booking that was cancelled unpaid.
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

Deno.test("receivePaymentEvent: paid after an admin confirmed -> refunded", async () => {
  const world = await sharedWorld();
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

Deno.test("receivePaymentEvent: money arrives days later -> booking confirmed then, not before", async (t) => {
  const world = await sharedWorld();
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

Deno.test("receivePaymentEvent: two late payments -> at most one gets the timeslot, the rest is refunded", async (t) => {
  const world = await sharedWorld();
  const { server, stripe } = world;
  for (const isFree of [true, false]) {
    await t.step(isFree ? "the timeslot is free" : "another guest has the timeslot", async () => {
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
    // The job that closes the second session finds its payment, before Stripe reports it.
    assert.deepEqual(await moneyOf(world, held), paidInFull);
    await deliver(world, await stripe.completed(session));
    assert.deepEqual(await moneyOf(world, held), paidInFull);
  });
});
