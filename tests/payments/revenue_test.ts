/** Revenue follows payments and refunds. */
import assert from "node:assert/strict";
import {
  cancel,
  deliver,
  expireHolds,
  freshCheckout,
  holdTimeslot,
  inHalfTier,
  newHeldBooking,
  onRefunds,
  pay,
  read,
  retry,
  start,
  startWorld,
} from "./world.ts";

Deno.test("getBookingStats: payments and refunds at each stage -> revenue is paid minus refunded", async () => {
  // The numbers are those of all bookings.
  await using world = await startWorld();
  const { server, stripe } = world;
  const expectRevenue = async (revenue: number, stage: string) => {
    const stats = await server.ok("getBookingStats", { token: await server.token("admin", "admin") });
    assert.deepEqual([stats.revenue, stats.revenueByCurrency], [revenue, { EUR: revenue }], stage);
  };
  const held = await newHeldBooking(world);
  await expectRevenue(0, "unpaid");
  await pay(world, held.session, { amount: 5_000 });
  await expectRevenue(0, "another amount was paid");
  await server.work();
  await expectRevenue(0, "another amount was refunded");
  await pay(world, await freshCheckout(world, held));
  await expectRevenue(60, "paid");
  server.clock.set(inHalfTier);
  await cancel(world, held);
  await expectRevenue(60, "half is to be refunded");
  stripe.fault = { kind: 402, on: onRefunds };
  await server.work();
  assert.equal((await read(world, held)).paymentStatus, "refund_failed");
  await expectRevenue(60, "the refund failed");
  stripe.fault = undefined;
  await retry(world, held);
  await expectRevenue(60, "the refund is retried");
  await server.work();
  await expectRevenue(30, "half was refunded");

  server.clock.set(start);
  const late = await newHeldBooking(world);
  stripe.pay(late.session);
  await expireHolds(world);
  await holdTimeslot(world, late.timeslot, "bob");
  await deliver(world, await stripe.completed(late.session));
  server.clock.set(inHalfTier);
  await expectRevenue(90, "the refund of a late payment is pending");
  await server.work();
  await expectRevenue(30, "the late payment was refunded");
});
