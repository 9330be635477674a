/** Refunds more of a cancelled booking than its cancellation did, for an admin. */
import type { Booking } from "../../generated/contract.ts";
import { toBooking } from "../bookings/booking.ts";
import { findBooking, lockBooking } from "../bookings/queries.ts";
import { bookingNotFound } from "../bookings/refusals.ts";
import type { Scope } from "../contract/handlers.ts";
import { invalidFields, Problem } from "../contract/problems.ts";
import { inTransaction } from "../database/transactions.ts";
import { formatMoney, hasNoFractions, toCents } from "../money.ts";
import { insertGoodwillRefund } from "./refund_writes.ts";
import type { SettlementRules } from "./rules.ts";

/**
 * Refunds `amount` of a cancelled booking, in its currency. Its earlier refunds must be finished.
 *
 * @throws {Problem} `booking_not_found`, `validation_failed` (a fraction of a currency without any),
 * `booking_not_refundable` or `refund_exceeds_payment`.
 */
export async function refundBooking(
  { db, clock, announce, audit }: SettlementRules & Pick<Scope, "audit">,
  { bookingId, amount }: { bookingId: number; amount: number },
): Promise<{ booking: Booking; refundAmount: number }> {
  return await inTransaction(db, async (trx) => {
    await lockBooking(trx, bookingId);
    const row = await findBooking(trx, bookingId);
    if (row === undefined) throw bookingNotFound(bookingId);
    const before = toBooking(row);
    if (hasNoFractions(before.currency) && !Number.isInteger(amount)) {
      const message = `must be whole, because ${before.currency} has no fractions`;
      throw invalidFields([{ in: "body", path: "amount", message }]);
    }
    const after = await insertGoodwillRefund(trx, { bookingId, cents: toCents(amount), now: clock.now() });
    if (after === undefined) throw refundRefusal(before);
    const booking = toBooking(after);
    await audit({ resource: "booking", resourceId: bookingId, before, after: booking });
    announce();
    return { booking, refundAmount: amount };
  });
}

/** Returns why a booking cannot be refunded, or not by so much. */
function refundRefusal({ id, status, paymentStatus, amountPaid, refundAmount, currency }: Booking): Problem {
  const notRefundable = (detail: string) => new Problem("booking_not_refundable", detail);
  if (status !== "cancelled") return notRefundable(`Booking ${id} is ${status}. Cancel it first.`);
  if (paymentStatus === "refund_pending") {
    return notRefundable("The payment provider has not accepted the last refund yet. Try again in a moment.");
  }
  if (paymentStatus === "refund_failed") {
    return notRefundable(
      `The last refund has failed. Retry it first (POST /api/v1/admin/bookings/${id}/refund), or record that you ` +
        "gave the money back in another way (PUT).",
    );
  }
  if (amountPaid === 0) return notRefundable(`Nothing was paid for booking ${id}.`);
  const left = (toCents(amountPaid) - toCents(refundAmount)) / 100;
  if (left === 0) return notRefundable(`Everything paid for booking ${id} is refunded already.`);
  const detail = `${formatMoney(left, currency)} of the payment is left. Refund at most this amount.`;
  return new Problem("refund_exceeds_payment", detail);
}
