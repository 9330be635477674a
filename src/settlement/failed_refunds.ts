/** Retries the failed refunds of a booking for an admin, or records that they were made elsewhere. */
import type { Booking } from "../../generated/contract.ts";
import { toBooking } from "../bookings/booking.ts";
import { findBooking, lockBooking } from "../bookings/queries.ts";
import { bookingNotFound } from "../bookings/refusals.ts";
import type { Scope } from "../contract/handlers.ts";
import { Problem } from "../contract/problems.ts";
import { inTransaction } from "../database/transactions.ts";
import { retryFailedRefunds, settleFailedRefunds } from "./refund_writes.ts";
import type { SettlementRules } from "./rules.ts";

type Rules = SettlementRules & Pick<Scope, "audit">;

/**
 * Queues the failed refunds of a booking again.
 *
 * @throws {Problem} `booking_not_found` or `no_failed_refund`.
 */
export function retryRefund(rules: Rules, bookingId: number): Promise<{ booking: Booking; refundAmount: number }> {
  return changeFailedRefunds(rules, bookingId, retryFailedRefunds);
}

/**
 * Records the failed refunds of a booking as made elsewhere. The provider is not asked again.
 *
 * @throws {Problem} `booking_not_found` or `no_failed_refund`.
 */
export function settleRefund(rules: Rules, bookingId: number): Promise<{ booking: Booking; refundAmount: number }> {
  return changeFailedRefunds(rules, bookingId, settleFailedRefunds);
}

async function changeFailedRefunds(
  { db, clock, announce, audit }: Rules,
  bookingId: number,
  change: typeof retryFailedRefunds,
): Promise<{ booking: Booking; refundAmount: number }> {
  return await inTransaction(db, async (trx) => {
    await lockBooking(trx, bookingId);
    const before = await findBooking(trx, bookingId);
    if (before === undefined) throw bookingNotFound(bookingId);
    const row = await change(trx, { bookingId, now: clock.now() });
    if (row === undefined) {
      const detail = `No refund of booking ${bookingId} has failed: its payment is ${before.payment_status}.`;
      throw new Problem("no_failed_refund", detail);
    }
    const booking = toBooking(row);
    await audit({ resource: "booking", resourceId: bookingId, before: toBooking(before), after: booking });
    announce();
    return { booking, refundAmount: Number(row.refund) };
  });
}
