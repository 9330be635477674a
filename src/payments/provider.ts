/**
 * What a payment provider is. One more is a file beside this one that exports a {@link PaymentProviderType}, and its line in
 * `providers.ts`.
 */
import type { z } from "zod";
import type { Booking } from "../../generated/contract.ts";

/** Money is counted in hundredths of the currency's main unit, whatever units the provider counts in. */
export interface CheckoutRequest {
  /**
   * A UUID of ours, which nobody can guess. The provider sends it back with everything that it says about the payment. It
   * is also the key by which a request that is sent twice makes nothing twice.
   */
  id: string;
  booking: Booking;
  cents: number;
  /** For how long the timeslot is still held; null when it is held without an end. */
  heldForMs: number | null;
}

export interface Checkout {
  /** The provider's name for it. */
  reference: string;
  /** Where the person pays. */
  url: string;
}

export interface RefundRequest {
  /**
   * A UUID of ours. There is at most one refund of it, however often it is asked for, and with whatever key: an answer may
   * have been lost long ago.
   */
  id: string;
  /** Changes with the amount, and when an admin has it tried again after it had failed for good. */
  idempotencyKey: string;
  /** The provider's name for the payment. */
  payment: string;
  cents: number;
  currency: string;
}

/** What a provider tells us about a checkout of ours. Facts, that hold in whatever order they arrive. */
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
    /** How much of a payment has been given back so far, in all. */
    | { kind: "refunded"; payment: string; cents: number; currency: string }
  );

/** A message of the provider as it came, which its signature is of. */
export interface Webhook {
  body: string;
  headers: Headers;
}

/** A way to be paid online. It is never asked inside a database transaction, and always through `askProvider`. */
export interface PaymentProvider {
  readonly name: string;
  /** @throws {ProviderRefusal} when it will not take this payment. */
  createCheckout(request: CheckoutRequest): Promise<Checkout>;
  /**
   * Makes sure that a checkout can no longer be paid. One that is expired or closed already is left as it is. For one that
   * is paid it tells so, in case its own message never arrived.
   */
  closeCheckout(reference: string): Promise<PaymentNotice | undefined>;
  /**
   * Gives money back and returns the provider's name for the refund.
   *
   * @throws {ProviderRefusal} when it will not.
   */
  refund(request: RefundRequest): Promise<string>;
  /**
   * Verifies signature and age, and tells what the message says; undefined when it says nothing about a checkout of ours.
   * Fails when it is about one, but cannot be read: it will be sent again.
   *
   * @throws {Problem} `webhook_invalid`.
   */
  readWebhook(webhook: Webhook): Promise<PaymentNotice | undefined>;
}

/** The provider understood, and will not do it, also when it is asked again. */
export class ProviderRefusal extends Error {
  override name = "ProviderRefusal";
}

/** Addresses that a provider sends people to. */
export interface PaymentLinks {
  /** `path` on this server, as the outside sees it. */
  page(path: string): string;
  /** Where a person goes on after a checkout of this booking. */
  afterCheckout(bookingId: number, outcome: "paid" | "declined" | "cancelled"): string;
}

export type PaymentSettings = Record<string, string | undefined>;

/** A kind of provider, and what it needs from the environment. */
export interface PaymentProviderType {
  /** Environment variables by name. Those of the provider that is chosen are parsed at the start. */
  variables: Record<string, z.ZodType<string | undefined, string | undefined>>;
  open(settings: PaymentSettings, links: PaymentLinks): PaymentProvider;
}
