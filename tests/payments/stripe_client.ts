/** The Stripe provider with a stand-in of its own. */
import assert from "node:assert/strict";
import type { Booking } from "../../generated/contract.ts";
import {
  type CheckoutRequest,
  type PaymentProvider,
  ProviderRefusal,
  type RefundRequest,
} from "../../src/payments/provider.ts";
import { stripePayments } from "../../src/payments/stripe.ts";
import { stopProviderTime } from "../support/provider_time.ts";
import { startStripe, type StripeFault, type StripeSession, type StripeStandIn } from "../support/stripe_stand_in.ts";

const links = {
  page: (path: string) => `https://booking.example${path}`,
  returnsElsewhere: true,
  afterCheckout: ({ bookingId }: { bookingId: number }, outcome: string) =>
    `https://shop.example/bookings/${bookingId}?checkout=${outcome}`,
};
export const minuteMs = 60_000;

/** The part of a booking that the provider reads. */
const bookingFields = {
  id: 17,
  currency: "EUR",
  room: { id: 3, name: "Garden studio", roomType: "meeting", timeZone: "Europe/Berlin" },
  timeslot: { id: 5, roomId: 3, startTime: "2026-03-09T09:00:00.000Z", endTime: "2026-03-09T10:30:00.000Z" },
} satisfies Partial<Booking>;

/** A checkout of 45.50, held for 15 minutes. */
export function newCheckout(fields: Partial<CheckoutRequest> = {}, currency = "EUR"): CheckoutRequest {
  // The provider reads no other field of a booking.
  const booking = { ...bookingFields, currency } as unknown as Booking;
  return { id: crypto.randomUUID(), booking, cents: 4_550, heldForMs: 15 * minuteMs, ...fields };
}

export interface Client extends AsyncDisposable {
  stripe: StripeStandIn;
  provider: PaymentProvider;
  /** An open checkout and its session at Stripe. */
  newSession(fields?: Partial<CheckoutRequest>, currency?: string): Promise<{ id: string; session: StripeSession }>;
  /** A refund of a payment of 45.50 EUR. */
  newRefund(fields?: Partial<RefundRequest>): Promise<RefundRequest>;
}

export async function newClient(): Promise<Client> {
  const stripe = await startStripe();
  const provider = stripePayments.open(stripe.env, links);
  async function newSession(fields: Partial<CheckoutRequest> = {}, currency = "EUR") {
    const request = newCheckout(fields, currency);
    const session = stripe.sessions.get((await provider.openCheckoutPage(request)).reference);
    assert(session);
    return { id: request.id, session };
  }
  return {
    stripe,
    provider,
    newSession,
    async newRefund(fields = {}) {
      const { id: payment } = stripe.pay((await newSession()).session.id);
      const id = crypto.randomUUID();
      return { id, idempotencyKey: id, payment, cents: 4_550, currency: "EUR", ...fields };
    },
    [Symbol.asyncDispose]: () => stripe[Symbol.asyncDispose](),
  };
}

/** Every fault that a retry may cure. */
export const faults: StripeFault[] = [
  ...(["slow", "close", "drip", "garbage", 401, 403, 409, 429, 500, 503] as const).map((kind) => ({ kind })),
  { kind: 400, code: "balance_insufficient" },
];

/** Whether the job retries: any error but a refusal. */
export function isRetryable(error: unknown): boolean {
  return error instanceof Error && !(error instanceof ProviderRefusal);
}

/** Fails unless `request` fails by `fault` with a retryable error. */
export async function assertRetryable(
  { stripe }: Client,
  fault: StripeFault,
  request: () => Promise<unknown>,
): Promise<void> {
  stripe.fault = fault;
  using time = stopProviderTime(stripe);
  await Promise.all([assert.rejects(request(), isRetryable), time.endAttempts(fault)]);
  stripe.fault = undefined;
}
