/**
 * A stand-in for Stripe's HTTP API, limited to what Slotkeeper uses. It validates requests, keeps idempotency keys as Stripe
 * does, and signs events with Stripe's own package. A test can make it fail as a provider fails.
 */
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { text } from "node:stream/consumers";
import { Stripe } from "stripe";
import type { Webhook } from "../../src/payments/provider.ts";
import {
  invalidRequest,
  newId,
  nowSeconds,
  Refusal,
  StripeAccount,
  type StripePayment,
  type StripeRefund,
  type StripeRequest,
  type StripeSession,
} from "./stripe_account.ts";

export type { StripePayment, StripeRequest, StripeSession };

// The package waits 0.5 s before it retries. No test has to.
Stripe.prototype.getInitialNetworkRetryDelay = () => 0;

/**
 * A wrong answer:
 *
 * - `slow`: none, until `release()`.
 * - `close`: the connection is closed.
 * - `drip`: headers, and a body that does not end.
 * - `garbage`: 200 and a body that is not JSON.
 * - a number: this status. Stripe keeps a 500 for the idempotency key and answers it again.
 */
export interface StripeFault {
  kind: "slow" | "close" | "drip" | "garbage" | 400 | 401 | 402 | 403 | 409 | 429 | 500 | 503;
  /** The `code` of an error. */
  code?: string;
  /** The number of requests that fail. By default all. */
  times?: number;
  /** The requests that fail, such as `POST /v1/refunds`. By default all. */
  on?: RegExp;
  /** Whether the request takes effect, so that only its answer is lost. */
  takesEffect?: boolean;
}

export interface EventOptions {
  /** By default a new one. */
  eventId?: string;
  /** The time of the signature in Unix seconds. By default now. */
  timestamp?: number;
  /** The secret that signs. By default the endpoint's own. */
  secret?: string;
  /** Changes the body after it was signed. */
  tamper?: (body: string) => string;
}

export interface StripeStandIn extends AsyncDisposable {
  readonly url: string;
  /** The environment of a server that uses it. */
  readonly env: Record<string, string>;
  /** By id. A test may change them. */
  readonly sessions: Map<string, StripeSession>;
  /** By the id of the payment intent. */
  readonly payments: Map<string, StripePayment>;
  /** Oldest first. A test may change them. */
  readonly refunds: StripeRefund[];
  /** Every request so far, refused and failed ones included. */
  readonly requests: StripeRequest[];
  /** Makes the next requests fail. */
  fault: StripeFault | undefined;
  /** Resolves with the next matching request, such as `POST /v1/refunds`, before it is answered. */
  nextRequest(on: RegExp): Promise<StripeRequest>;
  /** Answers the requests that `slow` held, as if they had just arrived. */
  release(): void;
  /** Closes the connections of the requests that `slow` held. */
  drop(): void;
  /**
   * A person pays an open session. With `delayed` the money arrives later, or never. Stripe itself never takes another amount
   * or currency than the session's.
   */
  pay(sessionId: string, options?: { amount?: number; currency?: string; delayed?: boolean }): StripePayment;
  /** The operator refunds manually. */
  refundInDashboard(paymentIntent: string, amount: number): StripeRefund;
  /** `checkout.session.completed`. */
  completed(sessionId: string, options?: EventOptions): Promise<Webhook>;
  /** `checkout.session.expired`. Expires an open session. */
  expired(sessionId: string, options?: EventOptions): Promise<Webhook>;
  /** `checkout.session.async_payment_succeeded` or `…failed`, of a session that was paid with `delayed`. */
  settled(sessionId: string, outcome: "succeeded" | "failed", options?: EventOptions): Promise<Webhook>;
  /** `charge.refunded`, with the current sum of the refunds. */
  refunded(paymentIntent: string, options?: EventOptions): Promise<Webhook>;
  /** Any event. */
  event(type: string, object: unknown, options?: EventOptions): Promise<Webhook>;
}

interface Answer {
  status: number;
  body: unknown;
  headers?: Record<string, string>;
}

async function readRequest(request: IncomingMessage): Promise<StripeRequest> {
  const { pathname: path, searchParams } = new URL(request.url ?? "", "http://stripe");
  const method = request.method ?? "";
  const params = Object.fromEntries(method === "GET" ? searchParams : new URLSearchParams(await text(request)));
  const headers = Object.entries(request.headers).map(([name, value]) => [name, String(value)]);
  return { method, path, params, headers: Object.fromEntries(headers) };
}

/** Starts a stand-in with an empty account on a free port. Disposing it closes the connections of held requests. */
export async function startStripe(): Promise<StripeStandIn> {
  const secretKey = `sk_test_${crypto.randomUUID().replaceAll("-", "")}`;
  const webhookSecret = `whsec_${crypto.randomUUID().replaceAll("-", "")}`;
  const account = new StripeAccount();
  const requests: StripeRequest[] = [];
  const kept = new Map<string, Answer & { request: string }>();
  const held: { request: StripeRequest; response: ServerResponse }[] = [];
  const awaited: { on: RegExp; resolve: (request: StripeRequest) => void }[] = [];

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

  /** Performs the request, or repeats the answer that its idempotency key has. */
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
      return keep({ status: 200, body: account.perform(request) });
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
        held.push({ request, response });
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
        // The key keeps the good answer. Only this answer is wrong.
        if (fault.takesEffect) return send(response, { status: fault.kind, body: { error } });
        return send(response, answer(request, new Refusal(fault.kind, error, fault.kind === 500)));
      }
    }
  }

  const server = createServer((incoming, response) => {
    serve(incoming, response).catch((error) => {
      console.error("The stand-in for Stripe failed:", error);
      incoming.socket.destroy();
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("The stand-in has no port.");
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
    env: {
      PAYMENT_PROVIDER: "stripe",
      CHECKOUT_RETURN_URL: "https://app.example/booked",
      STRIPE_SECRET_KEY: secretKey,
      STRIPE_WEBHOOK_SECRET: webhookSecret,
      STRIPE_API_URL: url,
    },
    sessions: account.sessions,
    payments: account.payments,
    refunds: account.refunds,
    requests,
    fault: undefined,

    nextRequest(on) {
      return new Promise((resolve) => awaited.push({ on, resolve }));
    },

    release() {
      for (const { request, response } of held.splice(0)) send(response, answer(request));
    },

    drop() {
      for (const { response } of held.splice(0)) response.destroy();
    },

    pay: (sessionId, options) => account.pay(sessionId, options),

    refundInDashboard(paymentIntent, amount) {
      return account.createRefund(account.findPayment(paymentIntent), amount, {});
    },

    completed(sessionId, options) {
      return signedEvent("checkout.session.completed", account.findSession(sessionId), options);
    },

    expired(sessionId, options) {
      const session = account.findSession(sessionId);
      if (session.status === "open") account.expire(session);
      const then = { ...session, status: "expired", payment_status: "unpaid", payment_intent: null, url: null };
      return signedEvent("checkout.session.expired", then, options);
    },

    settled(sessionId, outcome, options) {
      const session = account.findSession(sessionId);
      session.payment_status = outcome === "succeeded" ? "paid" : "unpaid";
      return signedEvent(`checkout.session.async_payment_${outcome}`, session, options);
    },

    refunded(paymentIntent, options) {
      const payment = account.findPayment(paymentIntent);
      const amount_refunded = account.amountRefunded(payment);
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
