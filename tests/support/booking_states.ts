/** The rules that tie the status, price, hold and payment of a booking. The guide on payments has them as a table. */
import assert from "node:assert/strict";
import type { Booking } from "../../generated/contract.ts";

/** `Number` of hundredths, so that sums are exact. */
const cents = (amount: number) => Math.round(amount * 100);

/** The payment status that the amounts give. A refund that is pending or has failed shows instead. */
function paymentStatusOf({ price, amountPaid, amountRefunded }: Booking): Booking["paymentStatus"] {
  if (amountPaid === 0) return price === 0 ? "not_required" : "unpaid";
  if (amountRefunded === 0) return "paid";
  return amountRefunded === amountPaid ? "refunded" : "partially_refunded";
}

/** Fails unless the parts of the booking fit together at `now`. `hasProvider`: payments are made online. */
export function assertConsistent(booking: Booking, { now, hasProvider }: { now: Date; hasProvider: boolean }): void {
  const { status, price, amountPaid, amountRefunded, refundAmount, holdExpiresAt, timeslot } = booking;
  const about = JSON.stringify(booking);
  const isRefunding = booking.paymentStatus === "refund_pending" || booking.paymentStatus === "refund_failed";
  if (!isRefunding) assert.equal(booking.paymentStatus, paymentStatusOf(booking), about);

  assert(amountRefunded >= 0 && amountRefunded <= refundAmount && refundAmount <= amountPaid, about);
  assert.equal(booking.cancelledAt !== null, status === "cancelled", about);
  assert.equal(booking.cancellationReason !== null, status === "cancelled", about);
  const percents = booking.cancellationTiers.map(({ percent }) => percent);
  assert(booking.maxRefundPercent === null || booking.maxRefundPercent < Math.max(...percents), about);

  if (status === "pending") {
    assert.deepEqual([amountPaid, refundAmount], [0, 0], about);
    assert.equal(holdExpiresAt !== null, hasProvider && price > 0, about);
    assert(holdExpiresAt === null || holdExpiresAt <= timeslot.startTime, about);
    // The sweep has run.
    assert(Date.parse(timeslot.startTime) > now.getTime(), about);
    assert(holdExpiresAt === null || Date.parse(holdExpiresAt) > now.getTime(), about);
    return;
  }
  assert.equal(holdExpiresAt, null, about);
  if (status === "cancelled") return assert(amountPaid === 0 || cents(amountPaid) === cents(price), about);
  assert.equal(cents(amountPaid), cents(price), about);
  assert.equal(cents(refundAmount), cents(amountRefunded), about);
}
