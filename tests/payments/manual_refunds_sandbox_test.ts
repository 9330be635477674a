/** The sandbox's provider is asked for the rest that the operator has not refunded manually. */
import assert from "node:assert/strict";
import { newRoomWithTimeslot } from "../support/builders.ts";
import { newCheckout, pay, reportRefund, watchRefunds } from "../support/sandbox_payments.ts";
import { sharedServer } from "../support/server.ts";

const env = { PAYMENT_PROVIDER: "sandbox" };

/** Of a payment of 60.00, in cents: refunded manually before the cancellation, and between it and its job. */
const manualRefunds = [
  { before: 0, between: 0, asked: 6_000n },
  { before: 2_000, between: 0, asked: 4_000n },
  { before: 4_000, between: 0, asked: 2_000n },
  { before: 6_000, between: 0, asked: 0n },
  { before: 0, between: 6_000, asked: 0n },
  { before: 2_000, between: 4_000, asked: 0n },
  // The provider never refunds more than the rest.
  { before: 0, between: 2_000, asked: 4_000n },
  { before: 4_000, between: 500, asked: 1_500n },
];

Deno.test("cancelBooking: manual refunds before or after it -> 60.00 refunded in all", async (t) => {
  await using server = await sharedServer({ env });
  using refunds = watchRefunds(server);
  for (const { before, between, asked } of manualRefunds) {
    await t.step(`${before / 100} before the cancellation and ${between / 100} after it`, async () => {
      const { timeslot } = await newRoomWithTimeslot(server);
      const checkout = await newCheckout(server, "alice", timeslot);
      const request = { token: await server.token("alice"), params: { bookingId: checkout.booking.id } };
      await pay(server, checkout);
      if (before > 0) await reportRefund(server, checkout, before);
      const { refundAmount } = await server.ok("cancelBooking", request);
      assert.equal(refundAmount, 60 - before / 100);
      if (between > 0) await reportRefund(server, checkout, before + between);
      await server.work();
      assert.equal(refunds.centsOf(`payment_of_${checkout.checkout}`), asked, "cents requested");
      const booking = await server.ok("getBooking", request);
      assert.deepEqual([booking.paymentStatus, booking.amountRefunded, booking.refundAmount], ["refunded", 60, 60]);
    });
  }
});
