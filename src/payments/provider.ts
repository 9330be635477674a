/** Where payments are taken. */
import type { Booking } from "../../generated/contract.ts";
import type { Config } from "../config.ts";

/** A way to be paid. Providers are never called inside a database transaction. */
export interface PaymentProvider {
  name: Config["paymentProvider"];
  /** Where the person pays for `booking`; null when payment happens outside of Slotkeeper. */
  createCheckout(booking: Booking): Promise<string | null>;
}

/**
 * No online payment: an admin confirms a booking when it was paid, and pays back by hand what a cancellation refunds.
 */
export const noPayments: PaymentProvider = { name: "none", createCheckout: () => Promise.resolve(null) };

const providers: Record<Config["paymentProvider"], PaymentProvider> = { none: noPayments };

export function paymentProvider({ paymentProvider }: Pick<Config, "paymentProvider">): PaymentProvider {
  return providers[paymentProvider];
}
