/**
 * The interface of payment providers. To add one, export a {@link PaymentProviderType} from a file beside this one, and
 * add it to `providers.ts`.
 */
import type { z } from "zod";
import type { Booking } from "../../generated/contract.ts";

/** `cents` are hundredths of the currency's main unit, also if the provider uses other units. */
export interface CheckoutRequest {
  /**
   * Our own random UUID. The provider sends it back in every message about the payment. It is also the idempotency key of
   * the request.
   */
  id: string;
  booking: Booking;
  cents: number;
  /** How long the timeslot is still held. Null means without an end. */
  heldForMs: number | null;
}

export interface Checkout {
  /** The provider's name of the checkout. */
  reference: string;
  /** The page to pay. */
  url: string;
}

export interface RefundRequest {
  /**
   * Our own UUID. The provider makes at most one refund for it, for any number of requests and keys. The answer of an
   * early request may have been lost.
   */
  id: string;
  /** Changes with the amount, and if an admin retries a failed refund. */
  idempotencyKey: string;
  /** The provider's name of the payment. */
  payment: string;
  cents: number;
  currency: string;
}

/** A report of a provider about one of our checkouts. It is a fact, and reports may arrive in any order. */
export type PaymentNotice =
  & {
    /** The provider's id of this message. It may be delivered more than once. */
    eventId: string;
    /** The `id` of the {@link CheckoutRequest}. */
    checkoutId: string;
  }
  & (
    | { kind: "paid"; payment: string; cents: number; currency: string }
    /** An attempt to pay failed; the checkout can still be used. */
    | { kind: "failed" }
    /** The checkout can no longer be used. */
    | { kind: "expired" }
    /** The total refund of a payment so far. */
    | { kind: "refunded"; payment: string; cents: number; currency: string }
  );

/** A message of the provider as received. Its signature covers the exact body. */
export interface Webhook {
  body: string;
  headers: Headers;
}

/** An online payment provider. Call it only through `askProvider`, and never inside a database transaction. */
export interface PaymentProvider {
  readonly name: string;
  /** @throws {ProviderRefusal} if the provider refuses this payment. */
  openCheckoutPage(request: CheckoutRequest): Promise<Checkout>;
  /**
   * Ensures that a checkout can no longer be paid. Leaves an expired or closed one as it is. For a paid one it returns the
   * notice, because the provider's own message may be lost.
   */
  closeCheckout(reference: string): Promise<PaymentNotice | undefined>;
  /**
   * Refunds money and returns the provider's name of the refund.
   *
   * @throws {ProviderRefusal} if the provider refuses it.
   */
  refund(request: RefundRequest): Promise<string>;
  /**
   * Verifies the signature and age of a message, and returns its notice. Returns undefined if the message is not about one
   * of our checkouts. Throws if it is but cannot be parsed, so that the provider sends it again.
   *
   * @throws {Problem} `webhook_invalid`.
   */
  readWebhook(webhook: Webhook): Promise<PaymentNotice | undefined>;
}

/** The provider understood the request and refused it. A retry would be refused too. */
export class ProviderRefusal extends Error {
  override name = "ProviderRefusal";
}

/** URLs that a provider sends people to. */
export interface PaymentLinks {
  /** Returns the public URL of `path` on this server. */
  page(path: string): string;
  /** Returns the page after a checkout. */
  afterCheckout(
    checkout: { checkoutId: string; bookingId: number },
    outcome: "paid" | "declined" | "cancelled",
  ): string;
  /** Whether the operator has a page of their own for this. */
  returnsElsewhere: boolean;
}

export type PaymentSettings = Record<string, string | undefined>;

/** A type of provider with its environment variables. */
export interface PaymentProviderType {
  /** Environment variables by name. The start parses those of the configured provider. */
  variables: Record<string, z.ZodType<string | undefined, string | undefined>>;
  open(settings: PaymentSettings, links: PaymentLinks): PaymentProvider;
}
