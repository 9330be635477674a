/** The payment providers, by the values of `PAYMENT_PROVIDER`. */
import type { PaymentLinks, PaymentProvider, PaymentProviderType, PaymentSettings } from "./provider.ts";
import { sandboxPayments } from "./sandbox.ts";
import { stripePayments } from "./stripe.ts";

export const providerTypes = { sandbox: sandboxPayments, stripe: stripePayments } satisfies Record<
  string,
  PaymentProviderType
>;
export type PaymentProviderName = keyof typeof providerTypes;

/** Opens the configured provider. Returns undefined for `none`: payments happen elsewhere, and an admin confirms. */
export function openPaymentProvider(
  { paymentProvider, paymentSettings }: {
    paymentProvider: "none" | PaymentProviderName;
    paymentSettings: PaymentSettings;
  },
  links: PaymentLinks,
): PaymentProvider | undefined {
  return paymentProvider === "none" ? undefined : providerTypes[paymentProvider].open(paymentSettings, links);
}

/** Returns the links of a server at `publicUrl`. A checkout leads to `returnUrl`, or to a page of this server. */
export function paymentLinks(publicUrl: () => string, returnUrl: string | undefined): PaymentLinks {
  return {
    page: (path) => `${publicUrl()}${path}`,
    returnsElsewhere: returnUrl !== undefined,
    afterCheckout({ checkoutId, bookingId }, outcome) {
      const url = new URL(returnUrl ?? `${publicUrl()}/checkout/${checkoutId}`);
      url.searchParams.set("bookingId", String(bookingId));
      url.searchParams.set("checkout", outcome);
      return url.href;
    },
  };
}
