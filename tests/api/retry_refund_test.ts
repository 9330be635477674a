/** retryRefund: which refunds an admin can retry. `tests/payments/` has the refunds themselves. */
import assert from "node:assert/strict";
import type { Booking } from "../../generated/contract.ts";
import { confirm, missingId, newBooking, newRoom, newRoomWithTimeslot, newTimeslots } from "../support/builders.ts";
import { eventTypes, newCheckout, pay } from "../support/sandbox_payments.ts";
import { sharedServer, type TestServer } from "../support/server.ts";

const env = { PAYMENT_PROVIDER: "sandbox" };

/** Alice's booking, paid with 60.00 EUR and cancelled. The provider has refused the refund. */
async function newFailedRefund(server: TestServer): Promise<Booking> {
  const { timeslot } = await newRoomWithTimeslot(server);
  const checkout = await newCheckout(server, "alice", timeslot);
  await pay(server, checkout);
  const params = { bookingId: checkout.booking.id };
  await server.ok("cancelBooking", { token: await server.token("alice"), params });
  await server.db.updateTable("refunds").set({ status: "failed", failure: "no", settled_at: server.clock.now() })
    .where("booking_id", "=", params.bookingId).execute();
  await server.db.updateTable("bookings").set({ payment_status: "refund_failed" })
    .where("id", "=", params.bookingId).execute();
  return await server.ok("getBooking", { token: await server.token("alice"), params });
}

Deno.test("retryRefund: failed refund -> requested again, refunded when the provider accepts", async () => {
  await using server = await sharedServer({ env });
  const failed = await newFailedRefund(server);
  assert.deepEqual([failed.paymentStatus, failed.amountRefunded, failed.refundAmount], ["refund_failed", 0, 60]);
  server.clock.set("2026-03-02T12:00:00.000Z");
  const request = { token: await server.token("admin", "admin"), params: { bookingId: failed.id } };

  const retried = await server.ok("retryRefund", request);
  assert.deepEqual(retried, {
    booking: { ...failed, paymentStatus: "refund_pending", updatedAt: "2026-03-02T12:00:00.000Z" },
    refundAmount: 60,
    message: "The refund is tried again.",
  });
  assert.deepEqual(await server.ok("getBooking", request), retried.booking);

  await server.work();
  const { paymentStatus, amountRefunded, refundAmount } = await server.ok("getBooking", request);
  assert.deepEqual([paymentStatus, amountRefunded, refundAmount], ["refunded", 60, 60]);
  const refunds = await server.db.selectFrom("refunds").select(["status", "amount", "failure"])
    .where("booking_id", "=", failed.id).execute();
  assert.deepEqual(refunds, [{ status: "succeeded", amount: "60.00", failure: null }]);
  assert.deepEqual(await eventTypes(server, failed), ["created", "confirmed", "cancelled", "refunded"]);
});

Deno.test("retryRefund: any body -> ignored", async () => {
  await using server = await sharedServer({ env });
  const { id: bookingId } = await newFailedRefund(server);
  const token = await server.token("admin", "admin");
  const { refundAmount } = await server.ok("retryRefund", { token, params: { bookingId }, body: "{ not JSON" });
  assert.equal(refundAmount, 60);
});

Deno.test("retryRefund: 6 at once -> one 200, others 400", async () => {
  await using server = await sharedServer({ env });
  const { id: bookingId } = await newFailedRefund(server);
  const request = { token: await server.token("admin", "admin"), params: { bookingId } };
  const answers = await Promise.all(Array.from({ length: 6 }, () => server.call("retryRefund", request)));
  assert.deepEqual(answers.map(({ status }) => status).sort(), [200, 400, 400, 400, 400, 400]);
});

Deno.test("retryRefund: no failed refund -> 400 no_failed_refund with the paymentStatus", async () => {
  await using server = await sharedServer({ env });
  const token = await server.token("admin", "admin");
  const alice = await server.token("alice");
  const slots = await newTimeslots(server, await newRoom(server), { date: "2026-03-09" });
  const [unpaid, paid, pending, refunded, confirmed] = slots;
  assert(unpaid && paid && pending && refunded && confirmed);
  const refuse = async ({ id: bookingId }: Booking, paymentStatus: string) => {
    const request = { token, params: { bookingId } };
    const before = await server.ok("getBooking", request);
    assert.equal(before.paymentStatus, paymentStatus);
    const { status, detail } = await server.refused("no_failed_refund", "retryRefund", request);
    assert.equal(status, 400);
    assert.match(detail, new RegExp(`\\b${paymentStatus}\\b`));
    assert.deepEqual(await server.ok("getBooking", request), before);
  };
  await refuse((await newCheckout(server, "alice", unpaid)).booking, "unpaid");

  const { timeslot } = await newRoomWithTimeslot(server, { hourlyRate: null });
  await refuse(await newBooking(server, "alice", timeslot), "not_required");

  const checkout = await newCheckout(server, "alice", paid);
  await pay(server, checkout);
  await refuse(checkout.booking, "paid");

  const cancelled = await newCheckout(server, "alice", pending);
  await pay(server, cancelled);
  const params = { bookingId: cancelled.booking.id };
  await server.ok("cancelBooking", { token: alice, params });
  await refuse(cancelled.booking, "refund_pending");
  await server.work();
  await refuse(cancelled.booking, "refunded");

  // Paid outside of the provider, so the provider has nothing to refund.
  const elsewhere = await confirm(server, await newBooking(server, "alice", confirmed));
  await server.ok("cancelBooking", { token: alice, params: { bookingId: elsewhere.id } });
  await refuse(elsewhere, "refunded");

  const failed = await newFailedRefund(server);
  await server.ok("retryRefund", { token, params: { bookingId: failed.id } });
  await refuse(failed, "refund_pending");
});

Deno.test("retryRefund: unknown booking -> 404 booking_not_found", async () => {
  await using server = await sharedServer({ env });
  const request = { token: await server.token("admin", "admin"), params: { bookingId: missingId } };
  assert.equal((await server.refused("booking_not_found", "retryRefund", request)).status, 404);
});

Deno.test("retryRefund: the booking's user -> 403 admin_required", async () => {
  await using server = await sharedServer({ env });
  const failed = await newFailedRefund(server);
  const request = { token: await server.token("alice"), params: { bookingId: failed.id } };
  await server.refused("admin_required", "retryRefund", request);
  assert.deepEqual(await server.ok("getBooking", request), failed);
});
