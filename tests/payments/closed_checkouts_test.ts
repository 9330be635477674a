/** A checkout that nobody shall pay any more is closed at Stripe, too. */
import assert from "node:assert/strict";
import { confirm, newRoomWithTimeslot } from "../support/builders.ts";
import {
  cancel,
  countJobs,
  deliver,
  expireHolds,
  freshCheckout,
  givenBack,
  type Held,
  newHeld,
  openTill,
  pay,
  read,
  restart,
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

Deno.test("whatever ends the wait for a payment closes the session at Stripe", async (t) => {
  const { server, stripe } = till;
  const admin = await server.token("admin", "admin");
  const close = async () => {
    await server.sweep();
    await server.work();
  };
  const ends: Record<string, (held: Held) => Promise<unknown>> = {
    "its hold expires": () => expireHolds(till),
    "its user cancels it": (held) => cancel(till, held),
    "an admin cancels it": ({ booking: { id: bookingId } }) =>
      server.ok("updateBookingStatus", { token: admin, params: { bookingId }, body: { status: "cancelled" } }),
    "an admin confirms it": ({ booking }) => confirm(server, booking),
    "there is a fresh checkout": (held) => freshCheckout(till, held),
    "another checkout of it is paid": async (held) => await pay(till, await freshCheckout(till, held)),
  };
  for (const [name, end] of Object.entries(ends)) {
    await t.step(name, async () => {
      server.clock.set(start);
      const held = await newHeld(till);
      await end(held);
      assert.equal(stripe.sessions.get(held.session)?.status, "open");
      await close();
      assert.equal(stripe.sessions.get(held.session)?.status, "expired");
      assert.throws(() => stripe.pay(held.session), /expired/);
      assert.equal(await countJobs(till), 0);
    });
  }

  await t.step("Stripe is away at first", async () => {
    server.clock.set(start);
    const held = await newHeld(till);
    await cancel(till, held);
    stripe.fault = { kind: "garbage", on: /expire$/ };
    await close();
    assert.equal(stripe.sessions.get(held.session)?.status, "open");
    stripe.fault = undefined;
    await close();
    assert.equal(stripe.sessions.get(held.session)?.status, "expired");
  });

  await t.step("one that was paid without our hearing of it is found, and the money goes back", async () => {
    server.clock.set(start);
    const held = await newHeld(till);
    const payment = stripe.pay(held.session);
    await cancel(till, held);
    await close();
    assert.equal(stripe.sessions.get(held.session)?.status, "complete");
    assert.equal(givenBack(till, payment), 6_000);
    // Stripe tells it in the end.
    await deliver(till, await stripe.completed(held.session));
    await close();
    assert.equal(givenBack(till, payment), 6_000);
    assert.equal((await read(till, held)).paymentStatus, "refunded");
    assert.equal(await countJobs(till), 0);
  });

  await t.step(
    "one that was paid without our hearing of it is found when its hold ends, and has its timeslot again",
    async () => {
      server.clock.set(start);
      const held = await newHeld(till);
      stripe.pay(held.session);
      await expireHolds(till);
      assert.equal((await read(till, held)).status, "cancelled");
      await close();
      const { status, paymentStatus } = await read(till, held);
      assert.deepEqual([status, paymentStatus], ["confirmed", "paid"]);
    },
  );

  await t.step("one that somebody else is dealing with holds nothing up", async () => {
    server.clock.set(start);
    const held = await newHeld(till);
    await cancel(till, held);
    await server.db.transaction().execute(async (trx) => {
      await trx.selectFrom("checkouts").select("id").where("booking_id", "=", held.booking.id).forUpdate().execute();
      await close();
      assert.equal(stripe.sessions.get(held.session)?.status, "open");
    });
    await close();
    assert.equal(stripe.sessions.get(held.session)?.status, "expired");
  });

  await t.step("it ends before Stripe has answered what it calls the session", async () => {
    server.clock.set(start);
    const { timeslot: { id: timeslotId, roomId } } = await newRoomWithTimeslot(server);
    stripe.fault = { kind: "slow", on: /^POST/, times: 1 };
    const asked = stripe.nextRequest(/^POST/);
    const booked = server.ok("createBooking", { token: await server.token("alice"), body: { roomId, timeslotId } });
    await asked;
    const { items: [booking] } = await server.ok("listAllBookings", { token: admin, query: { roomId } });
    assert(booking);
    assert.equal(booking.timeslotId, timeslotId);
    await cancel(till, { booking });
    await close();
    stripe.release();
    const session = (await booked).checkoutUrl?.split("/").at(-1) ?? "";
    await close();
    assert.equal(stripe.sessions.get(session)?.status, "expired");
    assert.equal(await countJobs(till), 0);
  });
});
