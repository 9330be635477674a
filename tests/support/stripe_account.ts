/**
 * An account at the stand-in for Stripe: its sessions, payments and refunds, and the requests that read or change them. It
 * validates each request and refuses what Stripe would refuse.
 */

export interface StripeSession {
  id: string;
  object: "checkout.session";
  status: "open" | "complete" | "expired";
  payment_status: "paid" | "unpaid";
  url: string | null;
  client_reference_id: string;
  amount_total: number;
  currency: string;
  metadata: Record<string, string>;
  payment_intent: string | null;
  created: number;
  expires_at: number;
}

/** A payment intent together with its charge. */
export interface StripePayment {
  id: string;
  charge: string;
  amount: number;
  currency: string;
  /** The session's `payment_intent_data[metadata]`. Stripe copies it to the charge. */
  metadata: Record<string, string>;
}

export interface StripeRefund {
  id: string;
  object: "refund";
  payment_intent: string;
  charge: string;
  amount: number;
  currency: string;
  status: "pending" | "succeeded" | "failed" | "canceled";
  metadata: Record<string, string>;
}

export interface StripeRequest {
  method: string;
  path: string;
  /** Fields of the form or the query, named as they are sent: `line_items[0][quantity]`. */
  params: Record<string, string>;
  headers: Record<string, string>;
}

/** Stripe refuses. `isKept` if the idempotency key is used up, because Stripe had begun the request. */
export class Refusal extends Error {
  constructor(
    readonly status: number,
    readonly error: { type: string; message: string; code?: string; param?: string },
    readonly isKept = false,
  ) {
    super(error.message);
  }
}

export function invalidRequest(message: string, details: { code?: string; param?: string } = {}): Refusal {
  return new Refusal(400, { type: "invalid_request_error", message, ...details });
}

export const newId = (prefix: string): string => `${prefix}_test_${crypto.randomUUID().replaceAll("-", "")}`;
export const nowSeconds = (): number => Math.floor(Date.now() / 1_000);

const uuid = /^[0-9a-f]{8}-[0-9a-f]{4}-[1-8][0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;
const wholeNumber = /^[1-9]\d{0,10}$/;
const webAddress = /^https?:\/\/\S+$/;

const sessionForm: Record<string, RegExp> = {
  mode: /^payment$/,
  client_reference_id: /^[1-9]\d*$/,
  "line_items[0][quantity]": /^1$/,
  "line_items[0][price_data][currency]": /^[a-z]{3}$/,
  "line_items[0][price_data][unit_amount]": wholeNumber,
  "line_items[0][price_data][product_data][name]": /\S/,
  "line_items[0][price_data][product_data][description]": /\S/,
  "metadata[slotkeeper_checkout]": uuid,
  "metadata[slotkeeper_booking]": /^[1-9]\d*$/,
  "payment_intent_data[metadata][slotkeeper_checkout]": uuid,
  "payment_intent_data[metadata][slotkeeper_booking]": /^[1-9]\d*$/,
  success_url: webAddress,
  cancel_url: webAddress,
  expires_at: wholeNumber,
};

const refundForm: Record<string, RegExp> = {
  payment_intent: /^pi_\w+$/,
  amount: wholeNumber,
  "metadata[slotkeeper_refund]": uuid,
};

const page = { limit: /^(100|[1-9]\d?)$/, starting_after: /^\w+$/ };
const refundQuery = { ...page, payment_intent: /^pi_\w+$/ };
const sessionQuery = { ...page, "created[gte]": wholeNumber };

/** Refuses unknown fields, values of the wrong form and, unless they are optional, missing fields. */
function checkParams(
  params: Record<string, string>,
  form: Record<string, RegExp>,
  { isOptional = false }: { isOptional?: boolean } = {},
): void {
  for (const name of Object.keys(params)) {
    if (!Object.hasOwn(form, name)) {
      throw invalidRequest(`Received unknown parameter: ${name}`, { code: "parameter_unknown", param: name });
    }
  }
  for (const [name, pattern] of Object.entries(form)) {
    const value = params[name];
    if (value === undefined && isOptional) continue;
    if (value === undefined) {
      throw invalidRequest(`Missing required param: ${name}.`, { code: "parameter_missing", param: name });
    }
    if (!pattern.test(value)) throw invalidRequest(`Invalid ${name}: ${value}`, { param: name });
  }
}

/** The values of `name[…]`, by the text in the brackets. */
function nested(params: Record<string, string>, name: string): Record<string, string> {
  const fields = Object.entries(params).filter(([field]) => field.startsWith(`${name}[`));
  return Object.fromEntries(fields.map(([field, value]) => [field.slice(name.length + 1, -1), value]));
}

function checkAmount(amount: number, currency: string): void {
  const step = { isk: 100, ugx: 100, bhd: 10, jod: 10, kwd: 10, omr: 10, tnd: 10 }[currency] ?? 1;
  if (amount % step !== 0) throw invalidRequest(`Invalid amount: ${amount} ${currency}.`, { param: "amount" });
}

function listPage<Row extends { id: string }>(rows: Row[], params: Record<string, string>, url: string): unknown {
  const newestFirst = rows.toReversed();
  const start = newestFirst.findIndex(({ id }) => id === params.starting_after) + 1;
  const data = newestFirst.slice(start, start + Number(params.limit ?? 10));
  return { object: "list", url, data, has_more: start + data.length < newestFirst.length };
}

export class StripeAccount {
  readonly sessions = new Map<string, StripeSession>();
  /** By the id of the payment intent. */
  readonly payments = new Map<string, StripePayment>();
  /** Oldest first. */
  readonly refunds: StripeRefund[] = [];
  private readonly paymentMetadata = new Map<string, Record<string, string>>();

  /** @throws {Refusal} if there is no such session. */
  findSession(id: string): StripeSession {
    const session = this.sessions.get(id);
    if (session === undefined) {
      const message = `No such checkout.session: '${id}'`;
      throw new Refusal(404, { type: "invalid_request_error", code: "resource_missing", message });
    }
    if (session.status === "open" && session.expires_at <= nowSeconds()) this.expire(session);
    return session;
  }

  expire(session: StripeSession): void {
    session.status = "expired";
    session.url = null;
  }

  /** @throws {Refusal} if there is no such payment. */
  findPayment(id: string): StripePayment {
    const payment = this.payments.get(id);
    if (payment !== undefined) return payment;
    throw invalidRequest(`No such payment_intent: '${id}'`, { code: "resource_missing", param: "payment_intent" });
  }

  amountRefunded({ id }: StripePayment): number {
    return this.refunds.filter(({ payment_intent, status }) =>
      payment_intent === id && status !== "failed" && status !== "canceled"
    ).reduce((sum, { amount }) => sum + amount, 0);
  }

  pay(
    sessionId: string,
    { amount, currency, delayed = false }: { amount?: number; currency?: string; delayed?: boolean } = {},
  ): StripePayment {
    const session = this.findSession(sessionId);
    if (session.status !== "open") throw new Error(`The session is ${session.status}.`);
    session.amount_total = amount ?? session.amount_total;
    session.currency = currency ?? session.currency;
    session.status = "complete";
    session.payment_status = delayed ? "unpaid" : "paid";
    session.url = null;
    const payment: StripePayment = {
      id: newId("pi"),
      charge: newId("ch"),
      amount: session.amount_total,
      currency: session.currency,
      metadata: this.paymentMetadata.get(sessionId) ?? {},
    };
    session.payment_intent = payment.id;
    this.payments.set(payment.id, payment);
    return payment;
  }

  /** @throws {Refusal} if that is more than what is left of the payment. */
  createRefund(payment: StripePayment, amount: number, metadata: Record<string, string>): StripeRefund {
    const refunded = this.amountRefunded(payment);
    const refusal = (message: string, code?: string) =>
      new Refusal(400, { type: "invalid_request_error", message, ...(code === undefined ? {} : { code }) }, true);
    if (refunded >= payment.amount) {
      throw refusal(`Charge ${payment.charge} has already been refunded.`, "charge_already_refunded");
    }
    if (amount > payment.amount - refunded) {
      throw refusal(
        `Refund amount (${amount}) is greater than unrefunded amount on charge (${payment.amount - refunded})`,
      );
    }
    const { id, charge, currency } = payment;
    const refund: StripeRefund = {
      id: newId("re"),
      object: "refund",
      payment_intent: id,
      charge,
      amount,
      currency,
      status: "succeeded",
      metadata,
    };
    this.refunds.push(refund);
    return refund;
  }

  /**
   * Performs a request and returns the object that Stripe answers.
   *
   * @throws {Refusal} if Stripe would refuse it.
   */
  perform({ method, path, params }: StripeRequest): unknown {
    const [, id, action] = /^\/v1\/checkout\/sessions\/(\w+)(\/expire)?$/.exec(path) ?? [];
    if (id !== undefined && method === (action === undefined ? "GET" : "POST")) {
      checkParams(params, {});
      const session = this.findSession(id);
      if (action !== undefined && session.status !== "open") {
        const message = `Only Checkout Sessions with a status in ["open"] can be expired. ` +
          `This Checkout Session has a status of \`${session.status}\`.`;
        throw new Refusal(400, { type: "invalid_request_error", message }, true);
      }
      if (action !== undefined) this.expire(session);
      return session;
    }
    switch (`${method} ${path}`) {
      case "POST /v1/checkout/sessions":
        return this.createSession(params);
      case "GET /v1/checkout/sessions": {
        checkParams(params, sessionQuery, { isOptional: true });
        const since = Number(params["created[gte]"] ?? 0);
        return listPage([...this.sessions.values()].filter(({ created }) => created >= since), params, path);
      }
      case "POST /v1/refunds": {
        checkParams(params, refundForm);
        const payment = this.findPayment(params.payment_intent ?? "");
        checkAmount(Number(params.amount), payment.currency);
        return this.createRefund(payment, Number(params.amount), nested(params, "metadata"));
      }
      case "GET /v1/refunds": {
        checkParams(params, refundQuery, { isOptional: true });
        const payment = this.findPayment(params.payment_intent ?? "");
        return listPage(this.refunds.filter(({ payment_intent }) => payment_intent === payment.id), params, path);
      }
    }
    const message = `Unrecognized request URL (${method}: ${path}).`;
    throw new Refusal(404, { type: "invalid_request_error", message });
  }

  private createSession(params: Record<string, string>): StripeSession {
    checkParams(params, sessionForm);
    const amount = Number(params["line_items[0][price_data][unit_amount]"]);
    const currency = params["line_items[0][price_data][currency]"] ?? "";
    checkAmount(amount, currency);
    const openFor = Number(params.expires_at) - nowSeconds();
    if (openFor < 30 * 60 || openFor > 24 * 60 * 60) {
      const message =
        "The `expires_at` timestamp must be between 30 minutes and 24 hours from Checkout Session creation.";
      throw invalidRequest(message, { param: "expires_at" });
    }
    const id = newId("cs");
    const session: StripeSession = {
      id,
      object: "checkout.session",
      status: "open",
      payment_status: "unpaid",
      url: `https://checkout.stripe.example/c/pay/${id}`,
      client_reference_id: params.client_reference_id ?? "",
      amount_total: amount,
      currency,
      metadata: nested(params, "metadata"),
      payment_intent: null,
      created: nowSeconds(),
      expires_at: Number(params.expires_at),
    };
    this.sessions.set(id, session);
    this.paymentMetadata.set(id, nested(params, "payment_intent_data[metadata]"));
    return session;
  }
}
