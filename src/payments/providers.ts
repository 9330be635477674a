/** The payment providers that there are, by the names of `PAYMENT_PROVIDER`. */
import type { PaymentLinks, PaymentProvider, PaymentProviderType, PaymentSettings } from "./provider.ts";
import { sandboxPayments } from "./sandbox.ts";
import { stripePayments } from "./stripe.ts";

export const providerTypes = { sandbox: sandboxPayments, stripe: stripePayments } satisfies Record<
  string,
  PaymentProviderType
>;
export type PaymentProviderName = keyof typeof providerTypes;

/** The provider that is configured. Undefined with `none`: payments happen elsewhere, and an admin confirms. */
export function openPaymentProvider(
  { paymentProvider, paymentSettings }: {
    paymentProvider: "none" | PaymentProviderName;
    paymentSettings: PaymentSettings;
  },
  links: PaymentLinks,
): PaymentProvider | undefined {
  return paymentProvider === "none" ? undefined : providerTypes[paymentProvider].open(paymentSettings, links);
}

/** Links of a server that the outside sees at `publicUrl`. People go on at `returnUrl` after a checkout. */
export function paymentLinks(publicUrl: () => string, returnUrl: string | undefined): PaymentLinks {
  return {
    page: (path) => `${publicUrl()}${path}`,
    afterCheckout(bookingId, outcome) {
      const url = new URL(returnUrl ?? publicUrl());
      url.searchParams.set("bookingId", String(bookingId));
      url.searchParams.set("checkout", outcome);
      return url.href;
    },
  };
}
