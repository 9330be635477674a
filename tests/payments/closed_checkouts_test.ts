/** Checkouts that must not be paid any more are closed at Stripe. */
import assert from "node:assert/strict";
import { confirm, newRoomWithTimeslot } from "../support/builders.ts";
import {
  cancel,
  countJobs,
  deliver,
  expireHolds,
  freshCheckout,
  type HeldBooking,
  newHeldBooking,
  pay,
  read,
  refundedCents,
  sharedWorld,
  start,
} from "./world.ts";

Deno.test("close_checkout job: a booking no longer waits for its payment -> session closed at Stripe", async (t) => {
  const world = await sharedWorld();
  const { server, stripe } = world;
  const admin = await server.token("admin", "admin");
  const close = async () => {
    await server.sweep();
    await server.work();
  };
  const ends: Record<string, (held: HeldBooking) => Promise<unknown>> = {
    "its hold expires": () => expireHolds(world),
    "its user cancels it": (held) => cancel(world, held),
    "an admin cancels it": ({ booking: { id: bookingId } }) =>
      server.ok("updateBookingStatus", { token: admin, params: { bookingId }, body: { status: "cancelled" } }),
    "an admin confirms it": ({ booking }) => confirm(server, booking),
    "it gets another checkout": (held) => freshCheckout(world, held),
    "another checkout of it is paid": async (held) => await pay(world, await freshCheckout(world, held)),
  };
  for (const [name, end] of Object.entries(ends)) {
    await t.step(name, async () => {
      server.clock.set(start);
      const held = await newHeldBooking(world);
      await end(held);
      assert.equal(stripe.sessions.get(held.session)?.status, "open");
      await close();
      assert.equal(stripe.sessions.get(held.session)?.status, "expired");
      assert.throws(() => stripe.pay(held.session), /expired/);
      assert.equal(await countJobs(world), 0);
    });
  }

  await t.step("Stripe fails at first", async () => {
    server.clock.set(start);
    const held = await newHeldBooking(world);
    await cancel(world, held);
    stripe.fault = { kind: "garbage", on: /expire$/ };
    await close();
    assert.equal(stripe.sessions.get(held.session)?.status, "open");
    stripe.fault = undefined;
    await close();
    assert.equal(stripe.sessions.get(held.session)?.status, "expired");
  });

  await t.step("a paid session of a cancelled booking, not reported -> refunded", async () => {
    server.clock.set(start);
    const held = await newHeldBooking(world);
    const payment = stripe.pay(held.session);
    await cancel(world, held);
    await close();
    assert.equal(stripe.sessions.get(held.session)?.status, "complete");
    assert.equal(refundedCents(world, payment), 6_000);
    // Stripe reports it later.
    await deliver(world, await stripe.completed(held.session));
    await close();
    assert.equal(refundedCents(world, payment), 6_000);
    assert.equal((await read(world, held)).paymentStatus, "refunded");
    assert.equal(await countJobs(world), 0);
  });

  await t.step(
    "a paid session of an expired hold, not reported -> booking confirmed again",
    async () => {
      server.clock.set(start);
      const held = await newHeldBooking(world);
      stripe.pay(held.session);
      await expireHolds(world);
      assert.equal((await read(world, held)).status, "cancelled");
      await close();
      const { status, paymentStatus } = await read(world, held);
      assert.deepEqual([status, paymentStatus], ["confirmed", "paid"]);
    },
  );

  await t.step("another transaction locks the checkout -> skipped, closed later", async () => {
    server.clock.set(start);
    const held = await newHeldBooking(world);
    await cancel(world, held);
    await server.db.transaction().execute(async (trx) => {
      await trx.selectFrom("checkouts").select("id").where("booking_id", "=", held.booking.id).forUpdate().execute();
      await close();
      assert.equal(stripe.sessions.get(held.session)?.status, "open");
    });
    await close();
    assert.equal(stripe.sessions.get(held.session)?.status, "expired");
  });

  await t.step("cancelled before Stripe has named the session -> closed later", async () => {
    server.clock.set(start);
    const { timeslot: { id: timeslotId, roomId } } = await newRoomWithTimeslot(server);
    stripe.fault = { kind: "slow", on: /^POST/, times: 1 };
    const asked = stripe.nextRequest(/^POST/);
    const booked = server.ok("createBooking", { token: await server.token("alice"), body: { roomId, timeslotId } });
    await asked;
    const { items: [booking] } = await server.ok("listAllBookings", { token: admin, query: { roomId } });
    assert(booking);
    assert.equal(booking.timeslotId, timeslotId);
    await cancel(world, { booking });
    await close();
    stripe.release();
    const session = (await booked).checkoutUrl?.split("/").at(-1) ?? "";
    await close();
    assert.equal(stripe.sessions.get(session)?.status, "expired");
    assert.equal(await countJobs(world), 0);
  });
});
