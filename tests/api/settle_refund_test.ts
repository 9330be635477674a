/** settleRefund: an admin records failed refunds as made elsewhere. */
import assert from "node:assert/strict";
import type { Booking } from "../../generated/contract.ts";
import { missingId } from "../support/builders.ts";
import type { SharedServer } from "../support/server.ts";
import {
  eventsOf,
  inHalfTier,
  moneyOf,
  newCancelledBooking,
  newPaidBooking,
  onRefunds,
  type PaidBooking,
  refundedCents,
  refundedInFull,
  refundManually,
  refundRequests,
  sharedWorld,
  type World,
} from "../payments/world.ts";

type SharedWorld = World & { server: SharedServer };

/** A cancelled booking whose refund Stripe has refused for good. */
async function newRefusedRefund(world: SharedWorld, now?: string): Promise<PaidBooking> {
  const paid = await newCancelledBooking(world, now);
  world.stripe.fault = { kind: 402, on: onRefunds };
  await world.server.work();
  world.stripe.fault = undefined;
  assert.equal((await moneyOf(world, paid)).paymentStatus, "refund_failed");
  return paid;
}

async function callFor({ server }: World, { booking }: { booking: Booking }) {
  return { token: await server.token("admin", "admin"), params: { bookingId: booking.id } };
}

Deno.test("settleRefund: refund failed for good -> recorded as refunded, and Stripe is not asked again", async () => {
  const world = await sharedWorld();
  const paid = await newRefusedRefund(world);
  const call = await callFor(world, paid);
  const requests = refundRequests(world, paid.payment).length;
  const { booking, refundAmount, message } = await world.server.ok("settleRefund", call);
  assert.deepEqual([refundAmount, message], [60, "The refund is recorded."]);
  assert.deepEqual(await moneyOf(world, paid), refundedInFull);
  assert.deepEqual(booking, await world.server.ok("getBooking", call));
  await world.server.refused("no_failed_refund", "settleRefund", call);
  await world.server.refused("no_failed_refund", "retryRefund", call);
  await world.server.work();
  assert.equal(refundRequests(world, paid.payment).length, requests);
  assert.deepEqual(await eventsOf(world, paid), ["confirmed", "cancelled", "timeslot freed", "refunded"]);
});

Deno.test("settleRefund: half of the payment -> partially_refunded, and the rest can still be refunded online", async () => {
  const world = await sharedWorld();
  const paid = await newRefusedRefund(world, inHalfTier);
  const call = await callFor(world, paid);
  assert.equal((await world.server.ok("settleRefund", call)).refundAmount, 30);
  const { paymentStatus, amountRefunded } = await moneyOf(world, paid);
  assert.deepEqual([paymentStatus, amountRefunded], ["partially_refunded", 30]);
  await world.server.ok("refundBooking", { ...call, body: { amount: 30 } });
  await world.server.work();
  assert.deepEqual(await moneyOf(world, paid), refundedInFull);
  assert.equal(refundedCents(world, paid.payment), 3_000);
});

Deno.test("settleRefund: later refunds at Stripe -> each counts once, and no more than the payment is given back", async (t) => {
  const world = await sharedWorld();
  const { server, stripe } = world;
  await t.step("goodwill fails, the operator refunds it in the dashboard, the retry asks for nothing", async () => {
    const paid = await newRefusedRefund(world, inHalfTier);
    const call = await callFor(world, paid);
    await server.ok("settleRefund", call);
    await server.ok("refundBooking", { ...call, body: { amount: 20 } });
    stripe.fault = { kind: 402, on: onRefunds };
    await server.work();
    stripe.fault = undefined;
    await refundManually(world, paid.payment, 2_000);
    const { paymentStatus, amountRefunded } = await moneyOf(world, paid);
    assert.deepEqual([paymentStatus, amountRefunded], ["partially_refunded", 50]);
    await server.refused("no_failed_refund", "retryRefund", call);
    await server.work();
    assert.equal(refundedCents(world, paid.payment), 2_000);
  });

  await t.step("the operator refunds the rest in the dashboard -> nothing is left", async () => {
    const paid = await newRefusedRefund(world, inHalfTier);
    const call = await callFor(world, paid);
    await server.ok("settleRefund", call);
    await refundManually(world, paid.payment, 3_000);
    assert.deepEqual(await moneyOf(world, paid), refundedInFull);
    await server.refused("booking_not_refundable", "refundBooking", { ...call, body: { amount: 30 } });
  });
});

Deno.test("settleRefund: retryRefund at the same moment -> one 200, one 400", async () => {
  const world = await sharedWorld();
  const paid = await newRefusedRefund(world);
  const call = await callFor(world, paid);
  const answers = await Promise.all([world.server.call("settleRefund", call), world.server.call("retryRefund", call)]);
  assert.deepEqual(answers.map(({ status }) => status).sort(), [200, 400]);
  await world.server.work();
  assert.deepEqual(await moneyOf(world, paid), refundedInFull);
});

Deno.test("settleRefund: no failed refund -> 400 no_failed_refund, unknown booking -> 404 booking_not_found", async () => {
  const world = await sharedWorld();
  const paid = await newPaidBooking(world);
  const call = await callFor(world, paid);
  const { detail } = await world.server.refused("no_failed_refund", "settleRefund", call);
  assert.match(detail, /its payment is paid/);
  const unknown = { ...call, params: { bookingId: missingId } };
  assert.equal((await world.server.refused("booking_not_found", "settleRefund", unknown)).status, 404);
});
