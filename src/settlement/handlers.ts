import type { Handlers } from "../contract/handlers.ts";
import { createCheckout } from "./create_checkout.ts";
import { receivePaymentEvent } from "./receive_payment_event.ts";
import { retryRefund } from "./retry_refund.ts";
import type { SettlementOptions } from "./rules.ts";

type SettlementOperations = "createCheckout" | "receivePaymentEvent" | "retryRefund";

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

    async retryRefund({ params: { bookingId } }, scope) {
      const retried = await retryRefund({ ...options, ...scope }, bookingId);
      return { status: 200, body: { ...retried, message: "The refund is tried again." } };
    },
  };
}
