import type { Handlers } from "../http/handlers.ts";
import { createCheckout, type PaymentRules, receive, retryRefund } from "./payments.ts";

type PaymentOperations = "createCheckout" | "receivePaymentEvent" | "retryRefund";

export function paymentHandlers(rules: PaymentRules): Pick<Handlers, PaymentOperations> {
  return {
    async createCheckout({ caller, params: { bookingId } }) {
      const opened = await createCheckout(rules, caller, bookingId);
      return { status: 201, body: { ...opened, message: "Complete payment to confirm." } };
    },

    async receivePaymentEvent({ params: { provider }, body, request: { headers } }) {
      await receive(rules, provider, { body, headers });
      return { status: 200, body: { message: "Event received" } };
    },

    async retryRefund({ params: { bookingId } }) {
      const retried = await retryRefund(rules, bookingId);
      return { status: 200, body: { ...retried, message: "The refund is tried again." } };
    },
  };
}
