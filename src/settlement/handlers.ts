import type { Audit } from "../audit/audit.ts";
import type { Handlers } from "../contract/handlers.ts";
import { createCheckout, type PaymentRules, receive, retryRefund } from "./payments.ts";

type PaymentOperations = "createCheckout" | "receivePaymentEvent" | "retryRefund";

export function paymentHandlers(rules: PaymentRules & { audit: Audit }): Pick<Handlers, PaymentOperations> {
  return {
    async createCheckout({ caller, params: { bookingId } }) {
      const open = await createCheckout(rules, caller, bookingId);
      return {
        soFar: undefined,
        finish: async (db) => ({ status: 201, body: { ...await open(db), message: "Complete payment to confirm." } }),
      };
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
