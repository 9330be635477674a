/** Receives the webhooks of a payment provider, and stores them with their consequences. */
import { markExpired } from "../bookings/sweep_writes.ts";
import { Problem } from "../contract/problems.ts";
import { Conflict } from "../database/failures.ts";
import { isAfter } from "../database/instants.ts";
import { retryConflicts } from "../database/transactions.ts";
import type { PaymentNotice, Webhook } from "../payments/provider.ts";
import { lockBookingOfCheckout, lockTimeslotOf, recordFailure, recordPayment, wasOvertaken } from "./payment_writes.ts";
import { recordReportedRefund } from "./refund_writes.ts";
import type { SettlementRules } from "./rules.ts";

/**
 * Stores a message of the provider with its consequences. A known message, or one about an unknown checkout, changes
 * nothing.
 *
 * @throws {Problem} `payment_provider_not_found` or `webhook_invalid`.
 */
export async function receivePaymentEvent(rules: SettlementRules, provider: string, webhook: Webhook): Promise<void> {
  const { payments } = rules;
  if (payments?.name !== provider) {
    throw new Problem("payment_provider_not_found", `The payment provider ${provider} is not configured here.`);
  }
  const notice = await payments.readWebhook(webhook);
  if (notice !== undefined) await storeNotice(rules, provider, notice);
}

/** Stores a notice of the provider, in one transaction with the change of the booking and its events. */
export async function storeNotice(rules: SettlementRules, provider: string, notice: PaymentNotice): Promise<void> {
  const isStored = await retryConflicts(rules.db, () => storeOnce(rules, provider, notice));
  if (isStored) rules.announce();
  else rules.log.warn("payment event is about an unknown checkout", { provider, eventId: notice.eventId });
}

/** Returns false when the checkout is unknown. */
function storeOnce({ db, clock, log }: SettlementRules, provider: string, notice: PaymentNotice): Promise<boolean> {
  const now = clock.now();
  return db.transaction().execute(async (trx) => {
    const booking = await lockBookingOfCheckout(trx, { ...notice, provider });
    if (booking === undefined) return false;
    const bookingId = booking.id;
    const message = { ...notice, bookingId, provider, now };
    switch (message.kind) {
      case "paid": {
        const startsAt = await lockTimeslotOf(trx, bookingId);
        // The sweep may be a moment late. The payment of a timeslot that has started goes back.
        if (booking.status === "pending" && !isAfter(startsAt, now)) await markExpired(trx, { ids: [bookingId], now });
        // Only a cancelled booking may take its timeslot again.
        if (booking.status === "cancelled" && await wasOvertaken(trx, bookingId)) {
          throw new Conflict("the timeslot was changed by a younger transaction");
        }
        const outcome = await recordPayment(trx, message);
        if (outcome?.confirms === false) {
          log.warn("payment does not confirm its booking and is refunded", { bookingId, payment: message.payment });
        }
        break;
      }
      case "refunded":
        await recordReportedRefund(trx, message);
        break;
      default:
        await recordFailure(trx, message);
    }
    return true;
  });
}
