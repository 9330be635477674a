/** The Stripe provider opens and closes checkouts. */
import assert from "node:assert/strict";
import { ProviderRefusal } from "../../src/payments/provider.ts";
import { fromStripeAmount, InexpressibleAmount, sessionExpiry, toStripeAmount } from "../../src/payments/stripe.ts";
import { stopProviderTime } from "../support/provider_time.ts";
import type { StripeFault } from "../support/stripe_stand_in.ts";
import { assertRetryable, faults, minuteMs, newCheckout, newClient } from "./stripe_client.ts";

Deno.test("stripe openCheckoutPage: a booking -> session with its price, time and our ids", async () => {
  await using client = await newClient();
  const request = newCheckout();
  const before = Date.now();
  const { reference, url } = await client.provider.openCheckoutPage(request);

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

Deno.test("stripe openCheckoutPage: any currency -> amount in Stripe's unit, payment in hundredths", async () => {
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
  const halfYen = client.provider.openCheckoutPage(newCheckout({ cents: 4_550 }, "JPY"));
  await assert.rejects(halfYen, /45\.5 JPY cannot be paid: JPY has no such fractions/);
  assert.equal(client.stripe.sessions.size, Object.keys(amounts).length);
});

Deno.test("stripe amounts: any currency -> same cents after a round trip, fractions without coins rejected", () => {
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

Deno.test("stripe openCheckoutPage: any hold -> session expires with it, within Stripe's limits for clocks 5 minutes apart", async () => {
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

Deno.test("stripe closeCheckout: open session -> expired, paid or expired session -> unchanged", async () => {
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

Deno.test("stripe closeCheckout: Stripe refuses and the session is still open -> error", async () => {
  await using client = await newClient();
  const { session } = await client.newSession();
  client.stripe.fault = { kind: 400, on: /expire$/ };
  await assert.rejects(client.provider.closeCheckout(session.id), /A fault with status 400/);
  assert.equal(session.status, "open");
  client.stripe.fault = undefined;
  await assert.rejects(client.provider.closeCheckout("cs_test_unknown"), /No such checkout.session/);
});

Deno.test("stripe openCheckoutPage: any fault, then a new checkout -> retryable error, then a session", async () => {
  const tryFault = async (fault: StripeFault) => {
    await using client = await newClient();
    const request = newCheckout();
    await assertRetryable(client, { ...fault, on: /^POST/ }, () => client.provider.openCheckoutPage(request));
    assert.equal(client.stripe.sessions.size, fault.takesEffect ? 1 : 0);
    const { reference } = await client.provider.openCheckoutPage({ ...request, id: crypto.randomUUID() });
    assert.equal([...client.stripe.sessions.keys()].at(-1), reference);
  };
  for (const fault of faults) {
    await tryFault(fault);
    await tryFault({ ...fault, takesEffect: true });
  }
});

Deno.test("stripe openCheckoutPage: one answer is lost -> retried at once with the same key", async () => {
  await using client = await newClient();
  for (const kind of ["slow", "close", 503] as const) {
    const fault: StripeFault = { kind, times: 1, takesEffect: true };
    client.stripe.fault = fault;
    using time = stopProviderTime(client.stripe);
    await Promise.all([client.provider.openCheckoutPage(newCheckout()), time.endAttempts(fault)]);
  }
  assert.equal(client.stripe.sessions.size, 3);
  const keys = client.stripe.requests.map(({ headers }) => headers["idempotency-key"]);
  assert.equal(keys.length, 6);
  assert.equal(new Set(keys).size, 3);
});

Deno.test("stripe openCheckoutPage: Stripe accepts no payment of this amount -> ProviderRefusal", async () => {
  await using client = await newClient();
  client.stripe.fault = { kind: 400, code: "amount_too_small", on: /sessions$/ };
  await assert.rejects(client.provider.openCheckoutPage(newCheckout()), ProviderRefusal);
  client.stripe.fault = undefined;
  const yen = { ...newCheckout(), cents: 4_550 };
  const booking = { ...yen.booking, currency: "JPY" };
  await assert.rejects(client.provider.openCheckoutPage({ ...yen, booking }), ProviderRefusal);
});

Deno.test("stripe closeCheckout: paid session -> the notice of its payment", async () => {
  await using client = await newClient();
  const { id: checkoutId, session } = await client.newSession();
  const { id: payment } = client.stripe.pay(session.id);
  const { eventId, ...notice } = await client.provider.closeCheckout(session.id) ?? {};
  assert(eventId);
  assert.deepEqual(notice, { checkoutId, kind: "paid", payment, cents: 4_550, currency: "EUR" });
});
