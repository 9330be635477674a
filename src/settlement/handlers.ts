import type { Booking } from "../../generated/contract.ts";
import type { Handlers } from "../contract/handlers.ts";
import { createCheckout } from "./create_checkout.ts";
import { retryRefund, settleRefund } from "./failed_refunds.ts";
import { receivePaymentEvent } from "./receive_payment_event.ts";
import { refundBooking } from "./refund_booking.ts";
import type { SettlementOptions } from "./rules.ts";

type SettlementOperations =
  | "createCheckout"
  | "receivePaymentEvent"
  | "refundBooking"
  | "retryRefund"
  | "settleRefund";

export function settlementHandlers(options: SettlementOptions): Pick<Handlers, SettlementOperations> {
  return {
    async createCheckout({ caller, params: { bookingId } }, scope) {
      const open = await createCheckout({ ...options, ...scope }, caller, bookingId);
      return {
        soFar: undefined,
        finish: async (db) => ({ status: 201, body: { ...await open(db), message: "Complete payment to confirm." } }),
      };
    },

    async receivePaymentEvent({ params: { provider }, body, request: { headers } }, scope) {
      await receivePaymentEvent({ ...options, ...scope }, provider, { body, headers });
      return { status: 200, body: { message: "Event received" } };
    },

    async refundBooking({ params: { bookingId }, body: { amount } }, scope) {
      const refunded = await refundBooking({ ...options, ...scope }, { bookingId, amount });
      return { status: 200, body: { ...refunded, message: refundMessage(refunded.booking) } };
    },

    async retryRefund({ params: { bookingId } }, scope) {
      const retried = await retryRefund({ ...options, ...scope }, bookingId);
      return { status: 200, body: { ...retried, message: "The refund is tried again." } };
    },

    async settleRefund({ params: { bookingId } }, scope) {
      const settled = await settleRefund({ ...options, ...scope }, bookingId);
      return { status: 200, body: { ...settled, message: "The refund is recorded." } };
    },
  };
}

function refundMessage({ paymentStatus }: Booking): string {
  return paymentStatus === "refund_pending"
    ? "The refund is requested."
    : "The refund is recorded. The booking was not paid online, so give the money back yourself.";
}
