/** The Stripe provider verifies events and reads their facts. */
import assert from "node:assert/strict";
import { Problem } from "../../src/contract/problems.ts";
import { newClient } from "./stripe_client.ts";

function isWebhookInvalid(error: unknown): boolean {
  return error instanceof Problem && error.code === "webhook_invalid";
}

Deno.test("stripe readWebhook: paid, expired and refunded -> notice with the checkout and the amount", async () => {
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

Deno.test("stripe readWebhook: completed before its money arrives -> no notice, later paid or expired", async () => {
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

Deno.test("stripe readWebhook: signed for this endpoint in the last 5 minutes -> notice, all else webhook_invalid", async () => {
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
  for (const [name, webhook] of Object.entries(bad)) {
    await assert.rejects(provider.readWebhook(webhook), isWebhookInvalid, name);
  }
});

Deno.test("stripe readWebhook: foreign event -> no notice, malformed event about our checkout -> error", async () => {
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
