/** Settings of the Stripe provider, and the stand-in for Stripe that its tests rely on. */
import assert from "node:assert/strict";
import { stripePayments } from "../../src/payments/stripe.ts";
import { minuteMs, newCheckout, newClient } from "./stripe_client.ts";

Deno.test("stripe settings: missing or malformed -> message with the reason", () => {
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

Deno.test("stand-in for Stripe: a request that Stripe would refuse -> the same refusal", async () => {
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

Deno.test("stand-in for Stripe: held request -> answered after release, closed by disposal", async () => {
  await using client = await newClient();
  client.stripe.fault = { kind: "slow" };
  const arrived = client.stripe.nextRequest(/^POST/);
  const released = client.provider.openCheckoutPage(newCheckout());
  await arrived;
  client.stripe.release();
  await released;

  const other = client.stripe.nextRequest(/^POST/);
  const cut = client.provider.openCheckoutPage(newCheckout());
  await other;
  await client.stripe[Symbol.asyncDispose]();
  await assert.rejects(cut, /connection to Stripe/);
});
