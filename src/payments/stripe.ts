/** Payments through Stripe: a hosted Checkout Session per checkout, refunds, and signed webhooks. */
import type { Stripe } from "stripe";
import { z } from "zod";
import { Problem } from "../contract/problems.ts";
import { hasNoFractions } from "../money.ts";
import { describeTimes } from "../time/calendar.ts";
import {
  type Checkout,
  type CheckoutRequest,
  type PaymentLinks,
  type PaymentNotice,
  type PaymentProvider,
  type PaymentProviderType,
  type PaymentSettings,
  ProviderRefusal,
  type RefundRequest,
} from "./provider.ts";

const secret = z.string("is needed with PAYMENT_PROVIDER=stripe; Stripe's dashboard shows it")
  .regex(/^\S+$/, "must be the key as Stripe's dashboard shows it, without spaces");

const variables = {
  STRIPE_SECRET_KEY: secret,
  STRIPE_WEBHOOK_SECRET: secret,
  STRIPE_API_URL: z.string().refine(
    (value) => /^https?:\/\/[^/?#]+\/?$/.test(value) && URL.canParse(value),
    "must be a URL with http or https and without a path",
  ).optional(),
};

export const stripePayments: PaymentProviderType = { variables, open: openStripe };

/** An amount that cannot be expressed in the currency. */
export class InexpressibleAmount extends Error {
  override name = "InexpressibleAmount";
}

// From https://docs.stripe.com/currencies. Stripe uses whole units for currencies without fractions. ISK and UGX are a
// special case there, which overrides that list: they are in hundredths.
const wholeYetInHundredths = new Set(["ISK", "UGX"]);
const isInWholeUnits = (currency: string) => hasNoFractions(currency) && !wholeYetInHundredths.has(currency);
const withThreeDecimals = new Set(["BHD", "JOD", "KWD", "OMR", "TND"]);

/**
 * Converts hundredths of the main unit to Stripe's units of the currency.
 *
 * @throws {InexpressibleAmount} for an amount with fractions that the currency does not have, such as half a yen.
 */
export function toStripeAmount(cents: number, currency: string): number {
  if (!Number.isSafeInteger(cents) || (hasNoFractions(currency) && cents % 100 !== 0)) {
    throw new InexpressibleAmount(`${cents / 100} ${currency} cannot be paid: ${currency} has no such fractions.`);
  }
  if (withThreeDecimals.has(currency)) return cents * 10;
  return isInWholeUnits(currency) ? cents / 100 : cents;
}

/**
 * Converts Stripe's units of the currency to hundredths of the main unit.
 *
 * @throws {InexpressibleAmount} for thousandths, which Stripe itself never charges.
 */
export function fromStripeAmount(amount: number, currency: string): number {
  const cents = isInWholeUnits(currency) ? amount * 100 : withThreeDecimals.has(currency) ? amount / 10 : amount;
  if (Number.isSafeInteger(cents)) return cents;
  throw new InexpressibleAmount(`Stripe's amount ${amount} ${currency} is not whole in hundredths.`);
}

const minuteMs = 60_000;

/**
 * Returns when a session expires by itself, in Unix seconds: with the hold, as near as Stripe allows. It allows
 * 30 minutes to 24 hours by its own clock, so both limits have a margin of 5 minutes. Most holds are shorter, and the
 * server closes the session when the hold ends. The expiry is for a server that could not.
 */
export function sessionExpiry(heldForMs: number | null, nowMs: number): number {
  const openForMs = Math.min(Math.max(heldForMs ?? Infinity, 35 * minuteMs), (24 * 60 - 5) * minuteMs);
  return Math.ceil((nowMs + openForMs) / 1_000);
}

const message = { id: z.string().min(1) };
// Other servers may share the account. Objects without our metadata belong to them.
const ours = { metadata: z.object({ slotkeeper_checkout: z.uuid() }) };
const payment = {
  ...ours,
  payment_intent: z.union([z.string().min(1), z.object({ id: z.string().min(1) }).transform(({ id }) => id)]),
  currency: z.string().length(3).toUpperCase(),
};
const paidSession = z.object({ ...payment, payment_status: z.literal("paid"), amount_total: z.int() });
// A slow payment method completes a session before the money arrives. async_payment_succeeded follows.
const unpaidSession = z.object({ ...ours, payment_status: z.enum(["unpaid", "no_payment_required"]) });

/** The relevant events with their relevant fields. */
const eventsOfInterest = z.discriminatedUnion("type", [
  z.object({
    ...message,
    type: z.enum(["checkout.session.completed", "checkout.session.async_payment_succeeded"]),
    data: z.object({ object: z.discriminatedUnion("payment_status", [paidSession, unpaidSession]) }),
  }),
  z.object({
    ...message,
    // A session whose payment fails days later is already closed.
    type: z.enum(["checkout.session.async_payment_failed", "checkout.session.expired"]),
    data: z.object({ object: z.object(ours) }),
  }),
  z.object({
    ...message,
    type: z.literal("charge.refunded"),
    data: z.object({ object: z.object({ ...payment, amount_refunded: z.int() }) }),
  }),
]);
const typesOfInterest = new Set<string>(
  eventsOfInterest.options.flatMap(({ shape: { type } }) => "options" in type ? type.options : [type.value]),
);
/** An event of interest about one of our checkouts. Its other fields are not checked. */
const aboutOurs = z.object({
  type: z.string().refine((type) => typesOfInterest.has(type)),
  data: z.object({ object: z.object(ours) }),
});

/**
 * Returns undefined for an event that is not about our checkouts. Throws if it is but cannot be parsed: Stripe then sends
 * it again, and its dashboard shows the failure.
 */
function toNotice(event: unknown): PaymentNotice | undefined {
  const { data, error } = eventsOfInterest.safeParse(event);
  if (data === undefined) {
    if (!aboutOurs.safeParse(event).success) return undefined;
    throw new Error("An event of Stripe about one of our checkouts cannot be parsed", { cause: error });
  }
  const about = { eventId: data.id, checkoutId: data.data.object.metadata.slotkeeper_checkout };
  switch (data.type) {
    case "checkout.session.completed":
    case "checkout.session.async_payment_succeeded": {
      const session = data.data.object;
      return session.payment_status === "paid" ? paidNotice(data.id, session) : undefined;
    }
    case "checkout.session.async_payment_failed":
    case "checkout.session.expired":
      return { ...about, kind: "expired" };
    case "charge.refunded": {
      const { payment_intent: payment, amount_refunded: amount, currency } = data.data.object;
      return { ...about, kind: "refunded", payment, cents: fromStripeAmount(amount, currency), currency };
    }
  }
}

function paidNotice(eventId: string, session: z.output<typeof paidSession>): PaymentNotice {
  const { payment_intent: payment, amount_total: amount, currency, metadata } = session;
  const cents = fromStripeAmount(amount, currency);
  return { eventId, checkoutId: metadata.slotkeeper_checkout, kind: "paid", payment, cents, currency };
}

/** Temporary refusals, until the account has money again. */
const temporary = new Set<string | undefined>(["balance_insufficient", "insufficient_funds"]);

/** Returns whether Stripe understood the request and would refuse a retry too. */
function isRefusal(error: unknown, errors: typeof Stripe.errors): error is Stripe.errors.StripeError {
  return (error instanceof errors.StripeInvalidRequestError || error instanceof errors.StripeCardError) &&
    !temporary.has(error.code);
}

function toPayableAmount(cents: number, currency: string): number {
  try {
    return toStripeAmount(cents, currency);
  } catch (error) {
    if (error instanceof InexpressibleAmount) throw new ProviderRefusal(error.message, { cause: error });
    throw error;
  }
}

/** Milliseconds for one attempt, including the body of the answer. A failed one is retried once, 0.5 s later. */
export const attemptLimitMs = 3_500;

export function openStripe(settings: PaymentSettings, links: PaymentLinks): PaymentProvider {
  const { STRIPE_SECRET_KEY, STRIPE_WEBHOOK_SECRET, STRIPE_API_URL } = z.object(variables).parse(settings);
  const api = new URL(STRIPE_API_URL ?? "https://api.stripe.com");

  // Imported here, so that only a server with Stripe pays its 8 MB and 0.1 s.
  const loading = import("stripe").then(({ Stripe }) => ({
    errors: Stripe.errors,
    cryptoProvider: Stripe.createSubtleCryptoProvider(),
    stripe: new Stripe(STRIPE_SECRET_KEY, {
      host: api.hostname,
      port: api.port || (api.protocol === "http:" ? 80 : 443),
      protocol: api.protocol === "http:" ? "http" : "https",
      httpClient: Stripe.createFetchHttpClient(),
      timeout: attemptLimitMs,
      maxNetworkRetries: 1,
      telemetry: false,
    }),
  }));

  async function findRefund({ id, payment }: RefundRequest): Promise<Stripe.Refund | undefined> {
    const { stripe } = await loading;
    for await (const refund of stripe.refunds.list({ payment_intent: payment, limit: 100 })) {
      const isGood = refund.status !== "failed" && refund.status !== "canceled";
      if (isGood && refund.metadata?.slotkeeper_refund === id) return refund;
    }
    return undefined;
  }

  async function openCheckoutPage({ id, booking, cents, heldForMs }: CheckoutRequest): Promise<Checkout> {
    const { stripe, errors } = await loading;
    const metadata = { slotkeeper_checkout: id, slotkeeper_booking: String(booking.id) };
    const params: Stripe.Checkout.SessionCreateParams = {
      mode: "payment",
      client_reference_id: String(booking.id),
      line_items: [{
        quantity: 1,
        price_data: {
          currency: booking.currency.toLowerCase(),
          unit_amount: toPayableAmount(cents, booking.currency),
          product_data: {
            name: booking.room.name,
            description: describeTimes(booking.room.timeZone, booking.timeslot),
          },
        },
      }],
      metadata,
      payment_intent_data: { metadata },
      success_url: links.afterCheckout({ checkoutId: id, bookingId: booking.id }, "paid"),
      cancel_url: links.afterCheckout({ checkoutId: id, bookingId: booking.id }, "cancelled"),
      expires_at: sessionExpiry(heldForMs, Date.now()),
    };
    const session = await stripe.checkout.sessions.create(params, { idempotencyKey: id }).catch((error: unknown) => {
      if (isRefusal(error, errors)) throw new ProviderRefusal(error.message, { cause: error });
      throw error;
    });
    if (typeof session.id !== "string" || typeof session.url !== "string") {
      throw new Error(`Stripe returned no page to pay: its session ${session.id} is ${session.status}.`);
    }
    return { reference: session.id, url: session.url };
  }

  async function closeCheckout(reference: string): Promise<PaymentNotice | undefined> {
    const { stripe, errors } = await loading;
    try {
      await stripe.checkout.sessions.expire(reference);
    } catch (error) {
      if (!(error instanceof errors.StripeInvalidRequestError)) throw error;
      const session = await stripe.checkout.sessions.retrieve(reference);
      if (session.status !== "complete" && session.status !== "expired") throw error;
      const { data } = paidSession.safeParse(session);
      return data === undefined ? undefined : paidNotice(`closed ${reference}`, data);
    }
  }

  async function refund(request: RefundRequest): Promise<string> {
    const { stripe, errors } = await loading;
    const { id, payment, cents, currency, idempotencyKey } = request;
    try {
      const amount = toPayableAmount(cents, currency);
      // The key alone is not enough. Stripe keeps it for 24 hours, and a retry by an admin has another key.
      const known = await findRefund(request);
      const params = { payment_intent: payment, amount, metadata: { slotkeeper_refund: id } };
      const made = known ?? await stripe.refunds.create(params, { idempotencyKey });
      if (made.status === "failed" || made.status === "canceled") {
        throw new ProviderRefusal(
          `Stripe's refund ${made.id} is ${made.status}: ${made.failure_reason ?? "no reason given"}.`,
        );
      }
      if (typeof made.id !== "string") throw new Error("Stripe's answer is not a refund.");
      return made.id;
    } catch (error) {
      if (isRefusal(error, errors)) throw new ProviderRefusal(error.message, { cause: error });
      throw error;
    }
  }

  async function verify(body: string, signature: string): Promise<unknown> {
    const { stripe, cryptoProvider } = await loading;
    try {
      // Undefined means Stripe's own tolerance: 300 seconds by the clock of this machine.
      return await stripe.webhooks.constructEventAsync(
        body,
        signature,
        STRIPE_WEBHOOK_SECRET,
        undefined,
        cryptoProvider,
      );
    } catch (cause) {
      const detail = "The message is not signed with Stripe's secret of this endpoint, or it is older than 5 minutes.";
      throw new Problem("webhook_invalid", detail, { cause });
    }
  }

  return {
    name: "stripe",
    openCheckoutPage,
    closeCheckout,
    refund,
    readWebhook: async ({ body, headers }) => toNotice(await verify(body, headers.get("stripe-signature") ?? "")),
  };
}
