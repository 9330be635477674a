/** Stripe as a payment provider, against a stand-in that checks what it is sent. */
import assert from "node:assert/strict";
import type { Booking } from "../../generated/contract.ts";
import { Problem } from "../../src/contract/problems.ts";
import {
  type CheckoutRequest,
  type PaymentProvider,
  ProviderRefusal,
  type RefundRequest,
} from "../../src/payments/provider.ts";
import {
  fromStripeAmount,
  InexpressibleAmount,
  openStripe,
  sessionExpiry,
  stripePayments,
  toStripeAmount,
} from "../../src/payments/stripe.ts";
import { startStripe, type StripeFault, type StripeSession, type StripeStandIn } from "../support/stripe_stand_in.ts";

const links = {
  page: (path: string) => `https://booking.example${path}`,
  afterCheckout: (bookingId: number, outcome: string) =>
    `https://shop.example/bookings/${bookingId}?checkout=${outcome}`,
};
const minuteMs = 60_000;

const whatStripeLearns = {
  id: 17,
  currency: "EUR",
  room: { id: 3, name: "Garden studio", roomType: "meeting", timeZone: "Europe/Berlin" },
  timeslot: { id: 5, roomId: 3, startTime: "2026-03-09T09:00:00.000Z", endTime: "2026-03-09T10:30:00.000Z" },
} satisfies Partial<Booking>;

function newCheckout(fields: Partial<CheckoutRequest> = {}, currency = "EUR"): CheckoutRequest {
  // The provider reads no more of a booking than this.
  const booking = { ...whatStripeLearns, currency } as unknown as Booking;
  return { id: crypto.randomUUID(), booking, cents: 4_550, heldForMs: 15 * minuteMs, ...fields };
}

interface Client extends AsyncDisposable {
  stripe: StripeStandIn;
  provider: PaymentProvider;
  /** The same that waits 1.5 seconds for an answer, for answers that do not come: time enough for those that do. */
  impatient: PaymentProvider;
  /** A checkout that can be paid, and its session at Stripe. */
  newSession(fields?: Partial<CheckoutRequest>, currency?: string): Promise<{ id: string; session: StripeSession }>;
  /** A refund of a payment of 45.50 EUR. */
  newRefund(fields?: Partial<RefundRequest>): Promise<RefundRequest>;
}

/** A stand-in of its own and a provider that uses it. */
async function newClient(): Promise<Client> {
  const stripe = await startStripe();
  const provider = stripePayments.open(stripe.env, links);
  async function newSession(fields: Partial<CheckoutRequest> = {}, currency = "EUR") {
    const request = newCheckout(fields, currency);
    const session = stripe.sessions.get((await provider.createCheckout(request)).reference);
    assert(session);
    return { id: request.id, session };
  }
  return {
    stripe,
    provider,
    impatient: openStripe(stripe.env, links, { timeoutMs: 1_500 }),
    newSession,
    async newRefund(fields = {}) {
      const { id: payment } = stripe.pay((await newSession()).session.id);
      const id = crypto.randomUUID();
      return { id, idempotencyKey: id, payment, cents: 4_550, currency: "EUR", ...fields };
    },
    [Symbol.asyncDispose]: () => stripe[Symbol.asyncDispose](),
  };
}

function isWebhookInvalid(error: unknown): boolean {
  return error instanceof Problem && error.code === "webhook_invalid";
}

/** Not a refusal: the job tries again. */
function isToBeTriedAgain(error: unknown): boolean {
  return error instanceof Error && !(error instanceof ProviderRefusal);
}

Deno.test("createCheckout opens a session with the booking, its price, its time and our ids", async () => {
  await using client = await newClient();
  const request = newCheckout();
  const before = Date.now();
  const { reference, url } = await client.provider.createCheckout(request);

  const [sent] = client.stripe.requests;
  assert(sent);
  assert.equal(sent.headers["idempotency-key"], request.id);
  const description = "line_items[0][price_data][product_data][description]";
  const { expires_at: expiresAt, [description]: time, ...params } = sent.params;
  assert(Number(expiresAt) >= sessionExpiry(request.heldForMs, before));
  assert(Number(expiresAt) <= sessionExpiry(request.heldForMs, Date.now()));
  assert.equal(time, "Monday, 9 March 2026 at 10:00 to 11:30 (Europe/Berlin)");
  assert.deepEqual(params, {
    mode: "payment",
    client_reference_id: "17",
    "line_items[0][quantity]": "1",
    "line_items[0][price_data][currency]": "eur",
    "line_items[0][price_data][unit_amount]": "4550",
    "line_items[0][price_data][product_data][name]": "Garden studio",
    "metadata[slotkeeper_checkout]": request.id,
    "metadata[slotkeeper_booking]": "17",
    "payment_intent_data[metadata][slotkeeper_checkout]": request.id,
    "payment_intent_data[metadata][slotkeeper_booking]": "17",
    success_url: "https://shop.example/bookings/17?checkout=paid",
    cancel_url: "https://shop.example/bookings/17?checkout=cancelled",
  });
  assert.equal(client.stripe.sessions.get(reference)?.url, url);
});

Deno.test("createCheckout asks in the currency's own unit, and the payment comes back in hundredths", async () => {
  await using client = await newClient();
  const amounts = { EUR: 4_500, JPY: 45, KWD: 45_000, ISK: 4_500, UGX: 4_500 };
  for (const [currency, amount] of Object.entries(amounts)) {
    const { session } = await client.newSession({ cents: 4_500 }, currency);
    assert.equal(session.amount_total, amount);
    assert.equal(session.currency, currency.toLowerCase());
    client.stripe.pay(session.id);
    const notice = await client.provider.readWebhook(await client.stripe.completed(session.id));
    assert(notice?.kind === "paid");
    assert.equal(notice.cents, 4_500);
    assert.equal(notice.currency, currency);
  }
  const halfAYen = client.provider.createCheckout(newCheckout({ cents: 4_550 }, "JPY"));
  await assert.rejects(halfAYen, /45\.5 JPY cannot be paid: JPY has no such fractions/);
  assert.equal(client.stripe.sessions.size, Object.keys(amounts).length);
});

Deno.test("amounts go to Stripe's units and back unchanged, and what a currency has no coins for is refused", () => {
  const whole = "BIF CLP DJF GNF JPY KMF KRW MGA PYG RWF VND VUV XAF XOF XPF".split(" ");
  for (const currency of whole) assert.equal(toStripeAmount(123_400, currency), 1_234, currency);
  for (const currency of ["BHD", "JOD", "KWD", "OMR", "TND"]) assert.equal(toStripeAmount(1_234, currency), 12_340);
  for (const currency of ["EUR", "USD", "HUF", "TWD"]) assert.equal(toStripeAmount(1_234, currency), 1_234);
  for (const currency of [...whole, "BHD", "EUR", "ISK", "UGX"]) {
    for (const cents of [0, 100, 99_999_900]) {
      assert.equal(fromStripeAmount(toStripeAmount(cents, currency), currency), cents);
    }
  }
  for (const currency of [...whole, "ISK", "UGX"]) {
    assert.throws(() => toStripeAmount(150, currency), InexpressibleAmount);
  }
  for (const cents of [0.5, NaN, Infinity]) assert.throws(() => toStripeAmount(cents, "EUR"), InexpressibleAmount);
  assert.throws(() => fromStripeAmount(5_125, "KWD"), InexpressibleAmount);
});

Deno.test("a session expires with the hold, within what Stripe allows even to clocks that are minutes apart", async () => {
  const now = Date.parse("2026-03-02T10:00:00.250Z");
  const minutesOpen = (heldForMinutes: number | null) =>
    (sessionExpiry(heldForMinutes === null ? null : heldForMinutes * minuteMs, now) * 1_000 - now) / minuteMs;
  const cases = [[-5, 35], [0, 35], [15, 35], [35, 35], [40, 40], [1_000, 1_000], [1_439, 1_435], [
    9_999,
    1_435,
  ]] as const;
  for (const [held, open] of cases) assert.equal(Math.floor(minutesOpen(held)), open);
  assert.equal(Math.floor(minutesOpen(null)), 1_435);

  await using client = await newClient();
  for (const heldForMs of [-1, 0, 15 * minuteMs, 90 * minuteMs, 7 * 24 * 60 * minuteMs, null]) {
    await client.newSession({ heldForMs });
  }
  assert.equal(client.stripe.sessions.size, 6);
});

Deno.test("closeCheckout expires an open session and leaves a paid or expired one as it is", async () => {
  await using client = await newClient();
  const { session: open } = await client.newSession();
  await client.provider.closeCheckout(open.id);
  assert.equal(open.status, "expired");
  assert.throws(() => client.stripe.pay(open.id));
  await client.provider.closeCheckout(open.id);
  assert.equal(open.status, "expired");

  const { session: paid } = await client.newSession();
  client.stripe.pay(paid.id);
  await client.provider.closeCheckout(paid.id);
  assert.equal(paid.status, "complete");
  assert.equal(paid.payment_status, "paid");
});

Deno.test("closeCheckout fails when Stripe refuses and the session can still be paid", async () => {
  await using client = await newClient();
  const { session } = await client.newSession();
  client.stripe.fault = { kind: 400, on: /expire$/ };
  await assert.rejects(client.provider.closeCheckout(session.id), /A fault with status 400/);
  assert.equal(session.status, "open");
  client.stripe.fault = undefined;
  await assert.rejects(client.provider.closeCheckout("cs_test_unknown"), /No such checkout.session/);
});

Deno.test("refund gives back what is asked for, under its key, with our id on it", async () => {
  await using client = await newClient();
  const request = await client.newRefund({ cents: 1_275, idempotencyKey: "first-try" });
  const name = await client.provider.refund(request);
  const [refund, ...others] = client.stripe.refunds;
  assert(refund);
  assert.deepEqual(others, []);
  assert.equal(refund.id, name);
  assert.equal(refund.amount, 1_275);
  assert.deepEqual(refund.metadata, { slotkeeper_refund: request.id });
  const sent = client.stripe.requests.at(-1);
  assert.equal(sent?.headers["idempotency-key"], "first-try");
});

Deno.test("a refund that is asked for again is found, with another key and behind a hundred others too", async () => {
  await using client = await newClient();
  const request = await client.newRefund({ cents: 1_000 });
  const name = await client.provider.refund(request);
  for (let count = 0; count < 120; count++) client.stripe.refundInDashboard(request.payment, 1);
  assert.equal(await client.provider.refund(request), name);
  assert.equal(await client.provider.refund({ ...request, idempotencyKey: "asked-by-an-admin" }), name);
  assert.equal(client.stripe.refunds.length, 121);
});

Deno.test("a refund that Stripe could not carry out is made anew when it is asked for again", async () => {
  await using client = await newClient();
  for (const status of ["failed", "canceled"] as const) {
    const request = await client.newRefund();
    const first = await client.provider.refund(request);
    const made = client.stripe.refunds.find(({ id }) => id === first);
    assert(made);
    made.status = status;
    const second = await client.provider.refund({ ...request, idempotencyKey: `${request.id}-2` });
    assert.notEqual(second, first);
  }
});

Deno.test("a refund that asking again cannot bring about is refused with Stripe's reason", async () => {
  await using client = await newClient();
  const refused = async (fields: Partial<RefundRequest>, message: RegExp) => {
    const request = await client.newRefund(fields);
    await assert.rejects(client.provider.refund(request), (error) => {
      assert(error instanceof ProviderRefusal);
      assert.match(error.message, message);
      return true;
    });
    return request;
  };
  await refused({ cents: 4_551 }, /greater than unrefunded amount/);
  await refused({ payment: "pi_unknown" }, /No such payment_intent/);
  await refused({ currency: "JPY" }, /no such fractions/);
  const { payment } = await client.newRefund();
  client.stripe.refundInDashboard(payment, 4_550);
  await refused({ payment }, /already been refunded/);
  client.stripe.fault = { kind: 402, on: /refunds/ };
  await refused({}, /A fault with status 402/);
});

/** Who asks while `fault` holds. */
function asker({ provider, impatient }: Client, { kind }: StripeFault): PaymentProvider {
  return kind === "slow" || kind === "drip" ? impatient : provider;
}

const faults: StripeFault[] = [
  ...(["slow", "close", "drip", "garbage", 401, 403, 409, 429, 500, 503] as const).map((kind) => ({ kind })),
  { kind: 400, code: "balance_insufficient" },
];

Deno.test("whatever goes wrong at Stripe, a refund is to be tried again, and then is made once", async () => {
  const tryOne = async (fault: StripeFault) => {
    await using client = await newClient();
    const request = await client.newRefund();
    client.stripe.fault = { ...fault, on: /^POST \/v1\/refunds$/ };
    await assert.rejects(asker(client, fault).refund(request), isToBeTriedAgain);
    assert.equal(client.stripe.refunds.length, fault.takesEffect ? 1 : 0);
    client.stripe.fault = undefined;
    const again = { ...request };
    if (fault.kind === 500 && !fault.takesEffect) {
      // Stripe answers a key that it failed for the same until it forgets the key.
      await assert.rejects(client.provider.refund(again), isToBeTriedAgain);
      again.idempotencyKey = `${request.id}-2`;
    }
    assert.equal(await client.provider.refund(again), client.stripe.refunds[0]?.id);
    assert.equal(client.stripe.refunds.length, 1);
  };
  await Promise.all(faults.flatMap((fault) => [tryOne(fault), tryOne({ ...fault, takesEffect: true })]));
});

Deno.test("while it is not known whether a refund was made, none is made", async () => {
  await using client = await newClient();
  const request = await client.newRefund();
  for (const kind of ["drip", "garbage", 429, 500] as const) {
    client.stripe.fault = { kind, on: /^GET \/v1\/refunds$/ };
    await assert.rejects(asker(client, { kind }).refund(request), isToBeTriedAgain);
  }
  assert.equal(
    client.stripe.requests.filter(({ method, path }) => method === "POST" && path === "/v1/refunds").length,
    0,
  );
});

Deno.test("whatever goes wrong at Stripe, createCheckout fails, and a new checkout can be asked for", async () => {
  const tryOne = async (fault: StripeFault) => {
    await using client = await newClient();
    const request = newCheckout();
    client.stripe.fault = { ...fault, on: /^POST/ };
    await assert.rejects(asker(client, fault).createCheckout(request), isToBeTriedAgain);
    assert.equal(client.stripe.sessions.size, fault.takesEffect ? 1 : 0);
    client.stripe.fault = undefined;
    const { reference } = await client.provider.createCheckout({ ...request, id: crypto.randomUUID() });
    assert.equal([...client.stripe.sessions.keys()].at(-1), reference);
  };
  await Promise.all(faults.flatMap((fault) => [tryOne(fault), tryOne({ ...fault, takesEffect: true })]));
});

Deno.test("an answer that is lost once is asked for again at once, with the same key", async () => {
  await using client = await newClient();
  for (const kind of ["slow", "close", 503] as const) {
    client.stripe.fault = { kind, times: 1, takesEffect: true };
    // Patient, since the second answer has no more time than the first.
    await client.provider.createCheckout(newCheckout());
  }
  assert.equal(client.stripe.sessions.size, 3);
  const keys = client.stripe.requests.map(({ headers }) => headers["idempotency-key"]);
  assert.equal(keys.length, 6);
  assert.equal(new Set(keys).size, 3);
});

Deno.test("a checkout that Stripe will not take payments for is refused", async () => {
  await using client = await newClient();
  client.stripe.fault = { kind: 400, code: "amount_too_small", on: /sessions$/ };
  await assert.rejects(client.provider.createCheckout(newCheckout()), ProviderRefusal);
  client.stripe.fault = undefined;
  const yen = { ...newCheckout(), cents: 4_550 };
  const booking = { ...yen.booking, currency: "JPY" };
  await assert.rejects(client.provider.createCheckout({ ...yen, booking }), ProviderRefusal);
});

Deno.test("closing a checkout that is paid tells of the payment, as its own message would", async () => {
  await using client = await newClient();
  const { id: checkoutId, session } = await client.newSession();
  const { id: payment } = client.stripe.pay(session.id);
  const told = await client.provider.closeCheckout(session.id);
  const { eventId, ...notice } = told ?? {};
  assert(eventId);
  assert.deepEqual(notice, { checkoutId, kind: "paid", payment, cents: 4_550, currency: "EUR" });
});

Deno.test("readWebhook tells what was paid, failed, expired and given back, for which checkout", async () => {
  await using client = await newClient();
  const { stripe, provider } = client;
  const { id: checkoutId, session } = await client.newSession();
  const { id: payment } = stripe.pay(session.id);
  const about = { eventId: "evt_1", checkoutId };
  const money = { payment, cents: 4_550, currency: "EUR" };
  const eventId = "evt_1";
  assert.deepEqual(await provider.readWebhook(await stripe.completed(session.id, { eventId })), {
    ...about,
    ...money,
    kind: "paid",
  });
  for (const cents of [1_000, 3_550]) {
    stripe.refundInDashboard(payment, cents);
    assert.deepEqual(await provider.readWebhook(await stripe.refunded(payment, { eventId })), {
      ...about,
      ...money,
      kind: "refunded",
      cents: cents === 1_000 ? 1_000 : 4_550,
    });
  }

  const { id: expiredId, session: expired } = await client.newSession();
  assert.deepEqual(await provider.readWebhook(await stripe.expired(expired.id, { eventId })), {
    eventId,
    checkoutId: expiredId,
    kind: "expired",
  });
});

Deno.test("a session that is completed before its money arrives counts as paid only when it has arrived", async () => {
  await using client = await newClient();
  const { stripe, provider } = client;
  for (const outcome of ["succeeded", "failed"] as const) {
    const { id, session } = await client.newSession();
    const { id: payment } = stripe.pay(session.id, { delayed: true });
    assert.equal(await provider.readWebhook(await stripe.completed(session.id)), undefined);
    const notice = await provider.readWebhook(await stripe.settled(session.id, outcome));
    assert.equal(notice?.checkoutId, id);
    assert.equal(notice.kind, outcome === "succeeded" ? "paid" : "expired");
    if (notice.kind === "paid") assert.equal(notice.payment, payment);
  }
});

Deno.test("readWebhook takes only what Stripe signed for this endpoint, in the last five minutes", async () => {
  await using client = await newClient();
  const { stripe, provider } = client;
  const { session } = await client.newSession();
  stripe.pay(session.id);
  const now = Math.floor(Date.now() / 1_000);
  const isPaid = async (timestamp: number) =>
    (await provider.readWebhook(await stripe.completed(session.id, { timestamp })))?.kind === "paid";
  assert(await isPaid(now));
  assert(await isPaid(now - 290));

  const good = await stripe.completed(session.id);
  const signature = good.headers.get("stripe-signature") ?? "";
  const signed = (value: string) => ({ body: good.body, headers: new Headers({ "Stripe-Signature": value }) });
  const bad = {
    "an old one": await stripe.completed(session.id, { timestamp: now - 310 }),
    "another secret": await stripe.completed(session.id, { secret: "whsec_other" }),
    "another amount": await stripe.completed(session.id, { tamper: (body) => body.replace("4550", "4551") }),
    "another time": signed(signature.replace(/t=\d+/, `t=${now - 1}`)),
    "another scheme": signed(signature.replace("v1=", "v0=")),
    "an empty signature": signed(""),
    "nonsense": signed("nonsense"),
    "no signature": { body: good.body, headers: new Headers() },
    "no body": { ...good, body: "" },
    "no JSON": await stripe.event("any", {}, { tamper: () => "<html>" }),
  };
  for (const [what, webhook] of Object.entries(bad)) {
    await assert.rejects(provider.readWebhook(webhook), isWebhookInvalid, what);
  }
});

Deno.test("events of others with the same account say nothing, and events of ours that cannot be read are sent again", async () => {
  await using client = await newClient();
  const { stripe, provider } = client;
  const { session } = await client.newSession();
  const { id: payment_intent } = stripe.pay(session.id);
  const charge = { payment_intent, currency: "eur", amount_refunded: 100, metadata: session.metadata };
  const completed = "checkout.session.completed";
  const foreign: [type: string, object: unknown][] = [
    [completed, { ...session, metadata: {} }],
    [completed, { ...session, metadata: null }],
    [completed, { ...session, metadata: { slotkeeper_checkout: "1" } }],
    [completed, { ...session, metadata: { slotkeeper_checkout: { id: 1 } } }],
    [completed, { ...session, payment_status: "no_payment_required" }],
    [completed, null],
    [completed, undefined],
    ["checkout.session.expired", {}],
    ["checkout.session.async_payment_failed", []],
    ["charge.refunded", { ...charge, metadata: {} }],
    ["payment_intent.succeeded", { id: payment_intent, metadata: session.metadata }],
    ["toString", session],
  ];
  for (const [type, object] of foreign) {
    assert.equal(await provider.readWebhook(await stripe.event(type, object)), undefined, `${type} ${object}`);
  }
  const unreadable: [type: string, object: unknown][] = [
    [completed, { ...session, payment_intent: null }],
    [completed, { ...session, amount_total: null }],
    [completed, { ...session, amount_total: 45.5 }],
    [completed, { ...session, currency: null }],
    [completed, { ...session, payment_status: "settled" }],
    ["charge.refunded", { ...charge, amount_refunded: "100" }],
    ["charge.refunded", { ...charge, payment_intent: null }],
  ];
  for (const [type, object] of unreadable) {
    await assert.rejects(
      provider.readWebhook(await stripe.event(type, object)),
      /one of our checkouts cannot be parsed/,
    );
  }
  assert.equal((await provider.readWebhook(await stripe.event("charge.refunded", charge)))?.kind, "refunded");
  assert.equal((await provider.readWebhook(await stripe.event(completed, session)))?.kind, "paid");
  const expanded = { ...session, payment_intent: { id: payment_intent } };
  const notice = await provider.readWebhook(await stripe.event(completed, expanded));
  assert(notice?.kind === "paid");
  assert.equal(notice.payment, payment_intent);
});

Deno.test("a server is told which of Stripe's settings it lacks, and which it cannot use", () => {
  const message = (name: string, value: string | undefined) =>
    stripePayments.variables[name]?.safeParse(value).error?.issues[0]?.message;
  for (const name of ["STRIPE_SECRET_KEY", "STRIPE_WEBHOOK_SECRET"]) {
    assert.match(message(name, undefined) ?? "", /is needed with PAYMENT_PROVIDER=stripe/);
    for (const value of ["", " ", "sk_test_1\n"]) assert.match(message(name, value) ?? "", /without spaces/);
    assert.equal(message(name, "sk_test_1"), undefined);
  }
  for (const url of ["api.stripe.com", "ftp://127.0.0.1", "http://127.0.0.1/v1", "http://"]) {
    assert.match(message("STRIPE_API_URL", url) ?? "", /must be a URL/);
  }
  for (const url of [undefined, "http://127.0.0.1:1234", "https://stripe.internal/"]) {
    assert.equal(message("STRIPE_API_URL", url), undefined);
  }
});

Deno.test("the stand-in refuses what Stripe would refuse, so that these tests mean something", async () => {
  await using client = await newClient();
  const { stripe } = client;
  await client.newSession();
  const [sent] = stripe.requests;
  assert(sent);
  const post = async (params: Record<string, string>, headers: Record<string, string> = {}) => {
    const body = new URLSearchParams(params).toString();
    const url = `${stripe.url}/v1/checkout/sessions`;
    const { host: _host, "content-length": _length, ...kept } = sent.headers;
    const response = await fetch(url, {
      method: "POST",
      headers: { ...kept, "idempotency-key": crypto.randomUUID(), ...headers },
      body,
    });
    const { error } = await response.json();
    return error === undefined ? response.status : `${response.status} ${error.code ?? error.type}`;
  };
  assert.equal(await post(sent.params), 200);
  for (const name of Object.keys(sent.params)) {
    const { [name]: _left, ...rest } = sent.params;
    assert.equal(await post(rest), "400 parameter_missing", name);
  }
  assert.equal(await post({ ...sent.params, extra: "1" }), "400 parameter_unknown");
  const wrong = { "line_items[0][price_data][currency]": "EUR", "line_items[0][price_data][unit_amount]": "45.5" };
  for (const [name, value] of Object.entries(wrong)) {
    assert.equal(await post({ ...sent.params, [name]: value }), "400 invalid_request_error");
  }
  for (const minutes of [29, 24 * 60 + 1]) {
    const expires = String(Math.floor((Date.now() + minutes * minuteMs) / 1_000));
    assert.equal(await post({ ...sent.params, expires_at: expires }), "400 invalid_request_error");
  }
  assert.equal(await post(sent.params, { authorization: "Bearer sk_test_other" }), "401 invalid_request_error");
  assert.equal(await post(sent.params, { "stripe-version": "2020-08-27" }), "400 invalid_request_error");
  assert.equal(await post(sent.params, { "idempotency-key": "" }), "400 invalid_request_error");
  assert.equal(await post(sent.params, { "content-type": "application/json" }), "400 invalid_request_error");
  const used = { "idempotency-key": sent.headers["idempotency-key"] ?? "" };
  assert.equal(await post(sent.params, used), 200);
  assert.equal(await post({ ...sent.params, mode: "setup" }, used), "400 idempotency_error");
  assert.equal(stripe.sessions.size, 2);
});

Deno.test("a request that the stand-in holds back goes on when it is released, and ends when it is disposed", async () => {
  await using client = await newClient();
  client.stripe.fault = { kind: "slow" };
  const arrived = client.stripe.nextRequest(/^POST/);
  const released = client.provider.createCheckout(newCheckout());
  await arrived;
  client.stripe.release();
  await released;

  const other = client.stripe.nextRequest(/^POST/);
  const cut = client.provider.createCheckout(newCheckout());
  await other;
  await client.stripe[Symbol.asyncDispose]();
  await assert.rejects(cut, /connection to Stripe/);
});
