/**
 * A stand-in for the part of Stripe's HTTP API that Slotkeeper uses. It validates requests and stores idempotency keys as
 * Stripe does. It signs events with the package's own test helper. A test can make it fail as a provider fails.
 */
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { text } from "node:stream/consumers";
import { Stripe } from "stripe";
import type { Webhook } from "../../src/payments/provider.ts";

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
  /** Fields of the form or the query, with the names sent: `line_items[0][quantity]`. */
  params: Record<string, string>;
  headers: Record<string, string>;
}

/**
 * A wrong answer to a request, or none:
 *
 * - `slow` answers after `release()`.
 * - `close` closes the connection.
 * - `drip` sends a body that does not end.
 * - `garbage` sends 200 without JSON.
 * - A number is the status of an error. A 500 is stored for the idempotency key and replayed, as Stripe does.
 */
export interface StripeFault {
  kind: "slow" | "close" | "drip" | "garbage" | 400 | 401 | 402 | 403 | 409 | 429 | 500 | 503;
  /** The `code` of an error. */
  code?: string;
  /** Number of requests that get this answer. Default: all. */
  times?: number;
  /** Matches the requests that get it, such as `POST /v1/refunds`. Default: all. */
  on?: RegExp;
  /** Whether the request takes effect and only its answer is lost. */
  takesEffect?: boolean;
}

export interface EventOptions {
  /** Default: a new id. */
  eventId?: string;
  /** Time of the signature in Unix seconds. Default: now. */
  timestamp?: number;
  /** Secret of the signature. Default: the endpoint's own. */
  secret?: string;
  /** Changes the body after the signature. */
  tamper?: (body: string) => string;
}

export interface StripeStandIn extends AsyncDisposable {
  readonly url: string;
  readonly secretKey: string;
  readonly webhookSecret: string;
  /** Environment for a server that uses it. */
  readonly env: Record<string, string>;
  /** By id. They may be changed. */
  readonly sessions: Map<string, StripeSession>;
  /** By the id of the payment intent. */
  readonly payments: Map<string, StripePayment>;
  /** Oldest first. They may be changed. */
  readonly refunds: StripeRefund[];
  /** Every request so far, including rejected and faulty ones. */
  readonly requests: StripeRequest[];
  /** The fault of the next requests. */
  fault: StripeFault | undefined;
  /** Resolves with the next request that matches `on`, such as `POST /v1/refunds`, before it is answered. */
  nextRequest(on: RegExp): Promise<StripeRequest>;
  /** Answers the requests that `slow` held back, as if they had just arrived. */
  release(): void;
  /**
   * A person pays an open session. With `delayed`, the payment succeeds or fails later. Stripe never has another `amount`
   * or `currency` than the session's.
   */
  pay(sessionId: string, options?: { amount?: number; currency?: string; delayed?: boolean }): StripePayment;
  /** The operator refunds in Stripe's dashboard. */
  refundInDashboard(paymentIntent: string, amount: number): StripeRefund;
  /** `checkout.session.completed`. */
  completed(sessionId: string, options?: EventOptions): Promise<Webhook>;
  /** `checkout.session.expired`. An open session expires. */
  expired(sessionId: string, options?: EventOptions): Promise<Webhook>;
  /** `checkout.session.async_payment_succeeded` or `…failed`, of a session paid with `delayed`. */
  settled(sessionId: string, outcome: "succeeded" | "failed", options?: EventOptions): Promise<Webhook>;
  /** `charge.refunded`, with the total refunded so far. */
  refunded(paymentIntent: string, options?: EventOptions): Promise<Webhook>;
  /** Any event. */
  event(type: string, object: unknown, options?: EventOptions): Promise<Webhook>;
}

interface Answer {
  status: number;
  body: unknown;
  headers?: Record<string, string>;
}

/** An error answer of Stripe. `isKept` if it is stored for the idempotency key, because the request had started. */
class Refusal extends Error {
  constructor(
    readonly status: number,
    readonly error: { type: string; message: string; code?: string; param?: string },
    readonly isKept = false,
  ) {
    super(error.message);
  }
}

function invalidRequest(message: string, details: { code?: string; param?: string } = {}): Refusal {
  return new Refusal(400, { type: "invalid_request_error", message, ...details });
}

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

/** Rejects fields that are not in `form`, values that do not match and, unless optional, missing fields. */
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

async function readRequest(request: IncomingMessage): Promise<StripeRequest> {
  const { pathname: path, searchParams } = new URL(request.url ?? "", "http://stripe");
  const method = request.method ?? "";
  const params = Object.fromEntries(method === "GET" ? searchParams : new URLSearchParams(await text(request)));
  const headers = Object.entries(request.headers).map(([name, value]) => [name, String(value)]);
  return { method, path, params, headers: Object.fromEntries(headers) };
}

/** A new Stripe account on a free port. Disposing it closes the connections of held requests. */
export async function startStripe(): Promise<StripeStandIn> {
  const secretKey = `sk_test_${crypto.randomUUID().replaceAll("-", "")}`;
  const webhookSecret = `whsec_${crypto.randomUUID().replaceAll("-", "")}`;
  const sessions = new Map<string, StripeSession>();
  const payments = new Map<string, StripePayment>();
  const refunds: StripeRefund[] = [];
  const requests: StripeRequest[] = [];
  const paymentMetadata = new Map<string, Record<string, string>>();
  const kept = new Map<string, Answer & { request: string }>();
  const held: (() => void)[] = [];
  const awaited: { on: RegExp; resolve: (request: StripeRequest) => void }[] = [];

  const newId = (prefix: string) => `${prefix}_test_${crypto.randomUUID().replaceAll("-", "")}`;
  const nowSeconds = () => Math.floor(Date.now() / 1_000);

  function findSession(id: string): StripeSession {
    const session = sessions.get(id);
    if (session === undefined) {
      const message = `No such checkout.session: '${id}'`;
      throw new Refusal(404, { type: "invalid_request_error", code: "resource_missing", message });
    }
    if (session.status === "open" && session.expires_at <= nowSeconds()) expire(session);
    return session;
  }

  function expire(session: StripeSession): void {
    session.status = "expired";
    session.url = null;
  }

  function findPayment(id: string): StripePayment {
    const payment = payments.get(id);
    if (payment !== undefined) return payment;
    throw invalidRequest(`No such payment_intent: '${id}'`, { code: "resource_missing", param: "payment_intent" });
  }

  function amountRefunded({ id }: StripePayment): number {
    return refunds.filter(({ payment_intent, status }) =>
      payment_intent === id && status !== "failed" && status !== "canceled"
    ).reduce((sum, { amount }) => sum + amount, 0);
  }

  function makeRefund(payment: StripePayment, amount: number, metadata: Record<string, string>): StripeRefund {
    const refunded = amountRefunded(payment);
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
    refunds.push(refund);
    return refund;
  }

  function createSession(params: Record<string, string>): StripeSession {
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
    sessions.set(id, session);
    paymentMetadata.set(id, nested(params, "payment_intent_data[metadata]"));
    return session;
  }

  /** Performs the request and returns the object that Stripe answers. */
  function perform({ method, path, params }: StripeRequest): unknown {
    const [, id, action] = /^\/v1\/checkout\/sessions\/(\w+)(\/expire)?$/.exec(path) ?? [];
    if (id !== undefined && method === (action === undefined ? "GET" : "POST")) {
      checkParams(params, {});
      const session = findSession(id);
      if (action !== undefined && session.status !== "open") {
        const message = `Only Checkout Sessions with a status in ["open"] can be expired. ` +
          `This Checkout Session has a status of \`${session.status}\`.`;
        throw new Refusal(400, { type: "invalid_request_error", message }, true);
      }
      if (action !== undefined) expire(session);
      return session;
    }
    switch (`${method} ${path}`) {
      case "POST /v1/checkout/sessions":
        return createSession(params);
      case "GET /v1/checkout/sessions": {
        checkParams(params, sessionQuery, { isOptional: true });
        const since = Number(params["created[gte]"] ?? 0);
        return listPage([...sessions.values()].filter(({ created }) => created >= since), params, path);
      }
      case "POST /v1/refunds": {
        checkParams(params, refundForm);
        const payment = findPayment(params.payment_intent ?? "");
        checkAmount(Number(params.amount), payment.currency);
        return makeRefund(payment, Number(params.amount), nested(params, "metadata"));
      }
      case "GET /v1/refunds": {
        checkParams(params, refundQuery, { isOptional: true });
        const payment = findPayment(params.payment_intent ?? "");
        return listPage(refunds.filter(({ payment_intent }) => payment_intent === payment.id), params, path);
      }
    }
    const message = `Unrecognized request URL (${method}: ${path}).`;
    throw new Refusal(404, { type: "invalid_request_error", message });
  }

  function checkHeaders({ method, headers }: StripeRequest): void {
    if (headers.authorization !== `Bearer ${secretKey}`) {
      throw new Refusal(401, { type: "invalid_request_error", message: "Invalid API Key provided." });
    }
    if (headers["stripe-version"] !== Stripe.API_VERSION) {
      throw invalidRequest(`Invalid Stripe API version: ${headers["stripe-version"]}`);
    }
    if (headers["x-stripe-client-telemetry"] !== undefined) throw invalidRequest("Telemetry is on.");
    if (method !== "POST") return;
    if (headers["content-type"] !== "application/x-www-form-urlencoded") {
      throw invalidRequest(`Invalid content type: ${headers["content-type"]}`);
    }
    if (!/^\S{1,255}$/.test(headers["idempotency-key"] ?? "")) throw invalidRequest("Idempotency-Key is missing.");
  }

  /** Performs the request, or replays the answer stored for its idempotency key. */
  function answer(request: StripeRequest, failure?: Refusal): Answer {
    const key = request.method === "POST" ? request.headers["idempotency-key"] : undefined;
    const fingerprint = `${request.method} ${request.path} ${JSON.stringify(request.params)}`;
    const keep = (made: Answer) => {
      if (key !== undefined) kept.set(key, { ...made, request: fingerprint });
      return made;
    };
    try {
      checkHeaders(request);
      const known = key === undefined ? undefined : kept.get(key);
      if (known !== undefined && known.request !== fingerprint) {
        const message = "Keys for idempotent requests can only be used with the same parameters they were first used " +
          `with. Try using a key other than '${key}' if you meant to execute a different request.`;
        throw new Refusal(400, { type: "idempotency_error", message });
      }
      if (known !== undefined) return { ...known, headers: { ...known.headers, "idempotent-replayed": "true" } };
      if (failure !== undefined) throw failure;
      return keep({ status: 200, body: perform(request) });
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      const refused: Answer = { status: error.status, body: { error: error.error } };
      if (error.status === 500) refused.headers = { "stripe-should-retry": "false" };
      return error.isKept ? keep(refused) : refused;
    }
  }

  function nextFault({ method, path }: StripeRequest): StripeFault | undefined {
    const fault = standIn.fault;
    if (fault === undefined || fault.on?.test(`${method} ${path}`) === false) return undefined;
    if (fault.times !== undefined) {
      standIn.fault = fault.times <= 1 ? undefined : { ...fault, times: fault.times - 1 };
    }
    return fault;
  }

  function send(response: ServerResponse, { status, body, headers }: Answer): void {
    response.writeHead(status, { "content-type": "application/json", "request-id": newId("req"), ...headers });
    response.end(JSON.stringify(body));
  }

  async function serve(incoming: IncomingMessage, response: ServerResponse): Promise<void> {
    const request = await readRequest(incoming);
    requests.push(request);
    const fault = nextFault(request);
    if (fault?.takesEffect) answer(request);
    for (const [index, { on, resolve }] of [...awaited.entries()].toReversed()) {
      if (!on.test(`${request.method} ${request.path}`)) continue;
      awaited.splice(index, 1);
      resolve(request);
    }
    if (fault === undefined) return send(response, answer(request));
    switch (fault.kind) {
      case "slow":
        held.push(() => send(response, answer(request)));
        return;
      case "close":
        incoming.socket.destroy();
        return;
      case "drip":
        response.writeHead(200, { "content-type": "application/json" });
        response.write("{");
        return;
      case "garbage":
        response.writeHead(200, { "content-type": "text/html" });
        response.end("<html>Back in a moment</html>");
        return;
      default: {
        const type = fault.kind === 402 ? "card_error" : fault.kind < 409 ? "invalid_request_error" : "api_error";
        const message = `A fault with status ${fault.kind}.`;
        const error = { type, message, ...(fault.code === undefined ? {} : { code: fault.code }) };
        // The real answer is stored for the key. Only this one differs.
        if (fault.takesEffect) return send(response, { status: fault.kind, body: { error } });
        return send(response, answer(request, new Refusal(fault.kind, error, fault.kind === 500)));
      }
    }
  }

  const server = createServer((incoming, response) => {
    serve(incoming, response).catch((error) => {
      console.error("stand-in for Stripe failed", error);
      incoming.socket.destroy();
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("the stand-in does not listen on a port");
  const url = `http://127.0.0.1:${address.port}`;

  async function signedEvent(type: string, object: unknown, options: EventOptions = {}): Promise<Webhook> {
    const { eventId = newId("evt"), timestamp = nowSeconds(), secret = webhookSecret, tamper = (body) => body } =
      options;
    const payload = JSON.stringify({
      id: eventId,
      object: "event",
      api_version: Stripe.API_VERSION,
      created: nowSeconds(),
      livemode: false,
      type,
      data: { object },
    });
    const signature = await Stripe.webhooks.generateTestHeaderStringAsync({
      payload,
      timestamp,
      secret,
      scheme: "v1",
      signature: "",
      cryptoProvider: Stripe.createSubtleCryptoProvider(),
    });
    const headers = new Headers({ "Content-Type": "application/json; charset=utf-8", "Stripe-Signature": signature });
    return { body: tamper(payload), headers };
  }

  const standIn: StripeStandIn = {
    url,
    secretKey,
    webhookSecret,
    env: {
      PAYMENT_PROVIDER: "stripe",
      CHECKOUT_RETURN_URL: "https://app.example/booked",
      STRIPE_SECRET_KEY: secretKey,
      STRIPE_WEBHOOK_SECRET: webhookSecret,
      STRIPE_API_URL: url,
    },
    sessions,
    payments,
    refunds,
    requests,
    fault: undefined,

    nextRequest(on) {
      return new Promise((resolve) => awaited.push({ on, resolve }));
    },

    release() {
      for (const answerHeld of held.splice(0)) answerHeld();
    },

    pay(sessionId, { amount, currency, delayed = false } = {}) {
      const session = findSession(sessionId);
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
        metadata: paymentMetadata.get(sessionId) ?? {},
      };
      session.payment_intent = payment.id;
      payments.set(payment.id, payment);
      return payment;
    },

    refundInDashboard(paymentIntent, amount) {
      return makeRefund(findPayment(paymentIntent), amount, {});
    },

    completed(sessionId, options) {
      return signedEvent("checkout.session.completed", findSession(sessionId), options);
    },

    expired(sessionId, options) {
      const session = findSession(sessionId);
      if (session.status === "open") expire(session);
      const expired = { ...session, status: "expired", payment_status: "unpaid", payment_intent: null, url: null };
      return signedEvent("checkout.session.expired", expired, options);
    },

    settled(sessionId, outcome, options) {
      const session = findSession(sessionId);
      session.payment_status = outcome === "succeeded" ? "paid" : "unpaid";
      return signedEvent(`checkout.session.async_payment_${outcome}`, session, options);
    },

    refunded(paymentIntent, options) {
      const payment = findPayment(paymentIntent);
      const amount_refunded = amountRefunded(payment);
      const { charge: id, amount, currency, metadata } = payment;
      const refunded = amount_refunded === amount;
      const charge = { id, object: "charge", payment_intent: payment.id, amount, amount_refunded, currency, metadata };
      return signedEvent("charge.refunded", { ...charge, refunded }, options);
    },

    event: signedEvent,

    async [Symbol.asyncDispose]() {
      held.length = 0;
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
  return standIn;
}
