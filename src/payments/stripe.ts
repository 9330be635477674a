/** Payments through Stripe: a hosted Checkout Session for each checkout, refunds of what it took, signed webhooks. */
import type { Stripe } from "stripe";
import { z } from "zod";
import type { Booking } from "../../generated/contract.ts";
import { Problem } from "../problems.ts";
import {
  type Checkout,
  type CheckoutRequest,
  type PaymentLinks,
  type PaymentNotice,
  type PaymentProvider,
  type PaymentProviderType,
  type PaymentSettings,
  RefundRefused,
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

/** An amount that the currency has no coins for. */
export class InexpressibleAmount extends Error {
  override name = "InexpressibleAmount";
}

// From https://docs.stripe.com/currencies. That lists UGX as without decimals too, but its special cases go before.
const withoutDecimals = new Set("BIF CLP DJF GNF JPY KMF KRW MGA PYG RWF VND VUV XAF XOF XPF".split(" "));
const withoutDecimalsYetInHundredths = new Set(["ISK", "UGX"]);
const withThreeDecimals = new Set(["BHD", "JOD", "KWD", "OMR", "TND"]);

/**
 * Hundredths of the main unit in the units that Stripe counts this currency in.
 *
 * @throws {InexpressibleAmount} for half a yen and the like.
 */
export function toStripeAmount(cents: number, currency: string): number {
  const isWhole = withoutDecimals.has(currency) || withoutDecimalsYetInHundredths.has(currency);
  if (!Number.isSafeInteger(cents) || (isWhole && cents % 100 !== 0)) {
    throw new InexpressibleAmount(`${cents / 100} ${currency} cannot be paid: ${currency} has no such fractions.`);
  }
  if (withThreeDecimals.has(currency)) return cents * 10;
  return withoutDecimals.has(currency) ? cents / 100 : cents;
}

/**
 * The way back of {@link toStripeAmount}.
 *
 * @throws {InexpressibleAmount} for thousandths, which Stripe itself never takes.
 */
export function fromStripeAmount(amount: number, currency: string): number {
  const cents = withoutDecimals.has(currency) ? amount * 100 : withThreeDecimals.has(currency) ? amount / 10 : amount;
  if (Number.isSafeInteger(cents)) return cents;
  throw new InexpressibleAmount(`Stripe's amount ${amount} ${currency} is not whole in hundredths.`);
}

const minuteMs = 60_000;

/**
 * When a session expires by itself, in Unix seconds: with the hold, as near as Stripe allows. It takes 30 minutes to 24
 * hours by its own clock, to which 5 minutes are left. Mostly a hold is shorter than that, and the server closes the
 * session when the hold ends; this is for a server that could not.
 */
export function sessionExpiry(heldForMs: number | null, nowMs: number): number {
  const openForMs = Math.min(Math.max(heldForMs ?? Infinity, 35 * minuteMs), (24 * 60 - 5) * minuteMs);
  return Math.ceil((nowMs + openForMs) / 1_000);
}

/** For example `Monday 9 March 2026 at 10:00 – 11:00 (Europe/Berlin)`. */
function describeTimeslot({ timeslot, room: { timeZone } }: Booking): string {
  const format = new Intl.DateTimeFormat("en-GB", { dateStyle: "full", timeStyle: "short", timeZone });
  return `${format.formatRange(new Date(timeslot.startTime), new Date(timeslot.endTime))} (${timeZone})`;
}

const message = { id: z.string().min(1) };
// Others may use the same account: what does not carry a checkout of ours is theirs.
const ours = { metadata: z.object({ slotkeeper_checkout: z.uuid() }) };
const payment = { ...ours, payment_intent: z.string().min(1), currency: z.string().length(3).toUpperCase() };

/** All that concerns us of the events that do. One with any of it missing says nothing to us. */
const eventsOfInterest = z.discriminatedUnion("type", [
  z.object({
    ...message,
    type: z.enum(["checkout.session.completed", "checkout.session.async_payment_succeeded"]),
    // By a slow way to pay, a session is completed before its money is there; async_payment_succeeded follows.
    data: z.object({ object: z.object({ ...payment, payment_status: z.literal("paid"), amount_total: z.int() }) }),
  }),
  z.object({
    ...message,
    type: z.literal("checkout.session.async_payment_failed"),
    data: z.object({ object: z.object(ours) }),
  }),
  z.object({
    ...message,
    type: z.literal("checkout.session.expired"),
    data: z.object({ object: z.object(ours) }),
  }),
  z.object({
    ...message,
    type: z.literal("charge.refunded"),
    data: z.object({ object: z.object({ ...payment, amount_refunded: z.int() }) }),
  }),
]);

function toNotice(event: unknown): PaymentNotice | undefined {
  const { data } = eventsOfInterest.safeParse(event);
  if (data === undefined) return undefined;
  const about = { eventId: data.id, checkoutId: data.data.object.metadata.slotkeeper_checkout };
  switch (data.type) {
    case "checkout.session.completed":
    case "checkout.session.async_payment_succeeded": {
      const { payment_intent: payment, amount_total: amount, currency } = data.data.object;
      return { ...about, kind: "paid", payment, cents: fromStripeAmount(amount, currency), currency };
    }
    // A session whose payment fails days later is over by then.
    case "checkout.session.async_payment_failed":
    case "checkout.session.expired":
      return { ...about, kind: "expired" };
    case "charge.refunded": {
      const { payment_intent: payment, amount_refunded: amount, currency } = data.data.object;
      return { ...about, kind: "refunded", payment, cents: fromStripeAmount(amount, currency), currency };
    }
  }
}

/** Refusals that time cures: the account gets money again. */
const curable = new Set<string | undefined>(["balance_insufficient", "insufficient_funds"]);

/** @param timeoutMs Of one attempt, with the body of its answer. One that fails is followed by another, 0.5 s later. */
export function openStripe(
  settings: PaymentSettings,
  links: PaymentLinks,
  { timeoutMs = 3_500 }: { timeoutMs?: number } = {},
): PaymentProvider {
  const { STRIPE_SECRET_KEY, STRIPE_WEBHOOK_SECRET, STRIPE_API_URL } = z.object(variables).parse(settings);
  const api = new URL(STRIPE_API_URL ?? "https://api.stripe.com");

  // Loaded here, so that only a server that uses Stripe pays its 8 MB and tenth of a second.
  const loading = import("stripe").then(({ Stripe }) => ({
    errors: Stripe.errors,
    cryptoProvider: Stripe.createSubtleCryptoProvider(),
    stripe: new Stripe(STRIPE_SECRET_KEY, {
      host: api.hostname,
      port: api.port || (api.protocol === "http:" ? 80 : 443),
      protocol: api.protocol === "http:" ? "http" : "https",
      httpClient: Stripe.createFetchHttpClient(),
      timeout: timeoutMs,
      maxNetworkRetries: 1,
      telemetry: false,
    }),
  }));

  /** The session of a checkout that was asked for in the last 24 hours, for which Stripe keeps idempotency keys. */
  async function findSession(checkoutId: string): Promise<Stripe.Checkout.Session | undefined> {
    const { stripe } = await loading;
    const created = { gte: Math.floor(Date.now() / 1_000) - 24 * 60 * 60 };
    for await (const session of stripe.checkout.sessions.list({ created, limit: 100 })) {
      if (session.metadata?.slotkeeper_checkout === checkoutId) return session;
    }
    return undefined;
  }

  async function findRefund({ id, payment }: RefundRequest): Promise<Stripe.Refund | undefined> {
    const { stripe } = await loading;
    for await (const refund of stripe.refunds.list({ payment_intent: payment, limit: 100 })) {
      const isGood = refund.status !== "failed" && refund.status !== "canceled";
      if (isGood && refund.metadata?.slotkeeper_refund === id) return refund;
    }
    return undefined;
  }

  async function createCheckout({ id, booking, cents, heldForMs }: CheckoutRequest): Promise<Checkout> {
    const { stripe, errors } = await loading;
    const metadata = { slotkeeper_checkout: id, slotkeeper_booking: String(booking.id) };
    const params: Stripe.Checkout.SessionCreateParams = {
      mode: "payment",
      client_reference_id: String(booking.id),
      line_items: [{
        quantity: 1,
        price_data: {
          currency: booking.currency.toLowerCase(),
          unit_amount: toStripeAmount(cents, booking.currency),
          product_data: { name: booking.room.name, description: describeTimeslot(booking) },
        },
      }],
      metadata,
      payment_intent_data: { metadata },
      success_url: links.afterCheckout(booking.id, "paid"),
      cancel_url: links.afterCheckout(booking.id, "cancelled"),
      expires_at: sessionExpiry(heldForMs, Date.now()),
    };
    const session = await stripe.checkout.sessions.create(params, { idempotencyKey: id }).catch(async (error) => {
      // Asked again, the hold is shorter than it was: to Stripe that is another request with the same key.
      const known = error instanceof errors.StripeIdempotencyError ? await findSession(id) : undefined;
      if (known === undefined) throw error;
      return known;
    });
    if (typeof session.id !== "string" || typeof session.url !== "string") {
      throw new Error(`Stripe gives no address to pay at: its session ${session.id} is ${session.status}.`);
    }
    return { reference: session.id, url: session.url };
  }

  async function closeCheckout(reference: string): Promise<void> {
    const { stripe, errors } = await loading;
    try {
      await stripe.checkout.sessions.expire(reference);
    } catch (error) {
      if (!(error instanceof errors.StripeInvalidRequestError)) throw error;
      const { status } = await stripe.checkout.sessions.retrieve(reference);
      if (status !== "complete" && status !== "expired") throw error;
    }
  }

  async function refund(request: RefundRequest): Promise<string> {
    const { stripe, errors } = await loading;
    const { id, payment, cents, currency, idempotencyKey } = request;
    try {
      const amount = toStripeAmount(cents, currency);
      // The key alone does not do: Stripe forgets it after 24 hours, and an admin has it tried again with another.
      const known = await findRefund(request);
      const params = { payment_intent: payment, amount, metadata: { slotkeeper_refund: id } };
      const made = known ?? await stripe.refunds.create(params, { idempotencyKey });
      if (made.status === "failed" || made.status === "canceled") {
        throw new RefundRefused(
          `Stripe's refund ${made.id} is ${made.status}: ${made.failure_reason ?? "no reason given"}.`,
        );
      }
      if (typeof made.id !== "string") throw new Error("Stripe's answer is no refund.");
      return made.id;
    } catch (error) {
      const isRefusal = error instanceof errors.StripeInvalidRequestError || error instanceof errors.StripeCardError;
      if ((isRefusal && !curable.has(error.code)) || error instanceof InexpressibleAmount) {
        throw new RefundRefused(error.message, { cause: error });
      }
      throw error;
    }
  }

  async function verify(body: string, signature: string): Promise<unknown> {
    const { stripe, cryptoProvider } = await loading;
    try {
      // Undefined is Stripe's own tolerance, 300 seconds, against the clock of this machine.
      return await stripe.webhooks.constructEventAsync(
        body,
        signature,
        STRIPE_WEBHOOK_SECRET,
        undefined,
        cryptoProvider,
      );
    } catch (cause) {
      const detail = "The message is not signed with this endpoint's secret of Stripe, or it is older than 5 minutes.";
      throw new Problem("webhook_invalid", detail, { cause });
    }
  }

  return {
    name: "stripe",
    createCheckout,
    closeCheckout,
    refund,
    readWebhook: async ({ body, headers }) => toNotice(await verify(body, headers.get("stripe-signature") ?? "")),
  };
}
