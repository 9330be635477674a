/** receivePaymentEvent: which messages of a payment provider are accepted. */
import assert from "node:assert/strict";
import { sql } from "kysely";
import type { Webhook } from "../../src/payments/provider.ts";
import { isSandboxPayments, type SandboxEvent, sandboxPayments } from "../../src/payments/sandbox.ts";
import { newRoomWithTimeslot } from "../support/builders.ts";
import { sharedServer, type TestServer } from "../support/server.ts";
import { deliver, eventsOf, newHeldBooking, pay, read, send, sharedWorld } from "../payments/world.ts";

const startSandbox = () => sharedServer({ env: { PAYMENT_PROVIDER: "sandbox" } });

/** An unpaid booking in the sandbox, and the event of its payment. */
async function newSandboxPayment(sandbox: TestServer) {
  const { timeslot: { id: timeslotId, roomId } } = await newRoomWithTimeslot(sandbox);
  const request = { token: await sandbox.token("alice"), body: { roomId, timeslotId } };
  const { booking, checkoutUrl } = await sandbox.ok("createBooking", request);
  const checkout = checkoutUrl?.split("/").at(-1) ?? "";
  const { payments } = sandbox;
  assert(isSandboxPayments(payments));
  const paid: SandboxEvent = {
    id: `event-${checkout}`,
    type: "paid",
    checkout,
    payment: `payment-${checkout}`,
    cents: 6_000,
    currency: "EUR",
  };
  return { booking, paid, sign: payments.sign };
}

/** Numbers of stored events, payments and refunds. */
async function storedRows({ db }: TestServer): Promise<Record<string, number>> {
  const { rows } = await sql<Record<string, number>>`
    select (select count(*)::int from payment_events) as events, (select count(*)::int from payments) as payments,
      (select count(*)::int from refunds) as refunds, (select count(*)::int from booking_events) as "bookingEvents"
  `.execute(db);
  return rows[0] ?? {};
}

/** The differences of {@link storedRows} to `before`. */
async function newRows(server: TestServer, before: Record<string, number>): Promise<Record<string, number>> {
  const rows = Object.entries(await storedRows(server));
  return Object.fromEntries(rows.map(([name, count]) => [name, count - (before[name] ?? 0)]));
}

/** Fails unless each message gets 400 webhook_invalid and nothing is stored. */
async function assertRefused(server: TestServer, provider: string, webhooks: Record<string, Webhook>): Promise<void> {
  const before = await storedRows(server);
  for (const [what, { body, headers }] of Object.entries(webhooks)) {
    const { "content-type": _type, ...signature } = Object.fromEntries(headers);
    const request = { params: { provider }, body, headers: signature };
    const problem = await server.refused("webhook_invalid", "receivePaymentEvent", request);
    assert.equal(problem.status, 400, what);
  }
  assert.deepEqual(await storedRows(server), before);
}

const newSignature = ({ body }: Webhook, header: string, value?: string): Webhook => ({
  body,
  headers: new Headers(value === undefined ? {} : { [header]: value }),
});

Deno.test("receivePaymentEvent: paid in the sandbox -> booking confirmed", async () => {
  const sandbox = await startSandbox();
  const { booking, paid, sign } = await newSandboxPayment(sandbox);
  const answer = await send(sandbox, await sign(paid), { provider: "sandbox" });
  assert.deepEqual([answer.status, answer.body], [200, { message: "Event received" }]);
  assert.deepEqual(await read({ server: sandbox }, { booking }), {
    ...booking,
    status: "confirmed",
    paymentStatus: "paid",
    amountPaid: 60,
    holdExpiresAt: null,
  });
});

Deno.test("receivePaymentEvent: paid at Stripe -> booking confirmed at the server's time", async () => {
  const world = await sharedWorld();
  const held = await newHeldBooking(world);
  world.stripe.pay(held.session);
  const now = "2026-03-02T10:05:00.000Z";
  world.server.clock.set(now);
  await deliver(world, await world.stripe.completed(held.session));
  assert.deepEqual(await read(world, held), {
    ...held.booking,
    status: "confirmed",
    paymentStatus: "paid",
    amountPaid: 60,
    holdExpiresAt: null,
    updatedAt: now,
  });
  assert.deepEqual(await eventsOf(world, held), ["confirmed"]);
});

Deno.test("receivePaymentEvent: no or any Authorization header -> ignored", async () => {
  const world = await sharedWorld();
  const held = await newHeldBooking(world);
  world.stripe.pay(held.session);
  const headers = { Authorization: "Bearer of bad news" };
  assert.equal((await send(world.server, await world.stripe.completed(held.session), { headers })).status, 200);
  assert.equal((await read(world, held)).status, "confirmed");
});

Deno.test("receivePaymentEvent: sandbox signature missing, wrong or older than 5 min -> 400 webhook_invalid", async () => {
  const sandbox = await startSandbox();
  const { booking, paid, sign } = await newSandboxPayment(sandbox);
  const good = await sign(paid);
  const signature = good.headers.get("Sandbox-Signature") ?? "";
  const another = (value: string) => newSignature(good, "Sandbox-Signature", value);
  const stranger = sandboxPayments.open({}, { page: (path) => path, afterCheckout: () => "", returnsElsewhere: false });
  assert(isSandboxPayments(stranger));
  const seconds = Number(/t=(\d+)/.exec(signature)?.[1]);
  await assertRefused(sandbox, "sandbox", {
    "no signature": newSignature(good, "Sandbox-Signature"),
    "an empty one": another(""),
    "nonsense": another("nonsense"),
    "zeros": another(signature.replace(/v1=.*/, `v1=${"0".repeat(64)}`)),
    "a longer one": another(`${signature}00`),
    "another time": another(signature.replace(/t=\d+/, `t=${seconds - 1}`)),
    "in Stripe's header": newSignature(good, "Stripe-Signature", signature),
    "another secret": await stranger.sign(paid),
    "an old one": await sign(paid, { signedAt: Date.now() - 301_000 }),
    "a tampered body": { ...good, body: good.body.replace("6000", "1") },
    "one more space": { ...good, body: `${good.body} ` },
    "no body": { ...good, body: "" },
  });
  assert.deepEqual(await read({ server: sandbox }, { booking }), booking);
  const nearlyOld = await sign(paid, { signedAt: Date.now() - 240_000 });
  assert.equal((await send(sandbox, nearlyOld, { provider: "sandbox" })).status, 200);
});

Deno.test("receivePaymentEvent: Stripe signature missing, wrong or older than 5 min -> 400 webhook_invalid", async () => {
  const world = await sharedWorld();
  const { server, stripe } = world;
  const held = await newHeldBooking(world);
  stripe.pay(held.session);
  const good = await stripe.completed(held.session);
  const signature = good.headers.get("Stripe-Signature") ?? "";
  const another = (value: string) => newSignature(good, "Stripe-Signature", value);
  const seconds = Math.floor(Date.now() / 1_000);
  await assertRefused(server, "stripe", {
    "no signature": newSignature(good, "Stripe-Signature"),
    "nonsense": another("nonsense"),
    "zeros": another(signature.replace(/v1=.*/, `v1=${"0".repeat(64)}`)),
    "in the sandbox's header": newSignature(good, "Sandbox-Signature", signature),
    "another secret": await stripe.completed(held.session, { secret: "whsec_other" }),
    "an old one": await stripe.completed(held.session, { timestamp: seconds - 301 }),
    "a tampered body": await stripe.completed(held.session, { tamper: (body) => body.replace("6000", "1") }),
    "no body": { ...good, body: "" },
    "signed, but no JSON": await stripe.event("checkout.session.completed", {}, { tamper: () => "<html>" }),
  });
  assert.deepEqual(await read(world, held), held.booking);
  await deliver(world, await stripe.completed(held.session, { timestamp: seconds - 240 }));
});

Deno.test("receivePaymentEvent: signed body over 64 KiB -> 413 body_too_large", async () => {
  const world = await sharedWorld();
  const { server, stripe } = world;
  const { session } = await newHeldBooking(world);
  stripe.pay(session);
  const object = { ...stripe.sessions.get(session), description: "" };
  const padding = 65_536 - (await stripe.event("checkout.session.completed", object)).body.length;
  const padded = (length: number) =>
    stripe.event("checkout.session.completed", { ...object, description: "x".repeat(length) });
  const before = await storedRows(server);
  // Event ids have the same length, so this body is one byte too long.
  const { body, headers } = await padded(padding + 1);
  assert.equal(body.length, 65_537);
  const request = { params: { provider: "stripe" }, body, headers: Object.fromEntries(headers) };
  assert.equal((await server.refused("body_too_large", "receivePaymentEvent", request)).status, 413);
  assert.deepEqual(await storedRows(server), before);
  await deliver(world, await padded(padding));
});

Deno.test("receivePaymentEvent: body is not UTF-8 -> 400 malformed_json", async () => {
  const sandbox = await startSandbox();
  const url = `${sandbox.url}/api/v1/payments/webhook/sandbox`;
  const response = await fetch(url, { method: "POST", body: new Uint8Array([0x7b, 0xff, 0x7d]) });
  assert.equal(response.status, 400);
  assert.equal((await response.json()).code, "malformed_json");
});

Deno.test("receivePaymentEvent: provider not in use -> 404 payment_provider_not_found", async () => {
  const world = await sharedWorld();
  const held = await newHeldBooking(world);
  world.stripe.pay(held.session);
  const { body, headers } = await world.stripe.completed(held.session);
  const { "content-type": _type, ...signature } = Object.fromEntries(headers);
  const call = (server: TestServer, provider: string) => ({ params: { provider }, body, headers: signature, server });
  const none = await sharedServer();
  const sandbox = await startSandbox();
  for (
    const { server, ...request } of [
      call(world.server, "sandbox"),
      call(none, "sandbox"),
      call(none, "stripe"),
      call(sandbox, "stripe"),
    ]
  ) {
    const problem = await server.refused("payment_provider_not_found", "receivePaymentEvent", request);
    assert.equal(problem.status, 404);
  }
  for (const provider of ["none", "paypal", "Stripe", "toString"]) {
    const { server, ...request } = call(world.server, provider);
    await server.refused("payment_provider_not_found", "receivePaymentEvent", request);
  }
  assert.deepEqual(await read(world, held), held.booking);
});

Deno.test("receivePaymentEvent: event about no checkout of ours -> 200, nothing stored", async () => {
  const world = await sharedWorld();
  const sandbox = await startSandbox();
  const { server, stripe } = world;
  const { session } = await newHeldBooking(world);
  stripe.pay(session);
  const before = await storedRows(server);
  const object = stripe.sessions.get(session);
  const foreign = [
    await stripe.event("customer.created", { id: "cus_1" }),
    await stripe.event("payment_intent.succeeded", object),
    await stripe.event("checkout.session.completed", { ...object, metadata: {} }),
    await stripe.event("checkout.session.completed", { ...object, payment_status: "unpaid" }),
    await stripe.event("checkout.session.completed", null),
  ];
  for (const webhook of foreign) await deliver(world, webhook);
  assert.deepEqual(await storedRows(server), before);

  const { sign } = await newSandboxPayment(sandbox);
  const beforeSandbox = await storedRows(sandbox);
  for (const event of [{ id: "event-1", type: "sneezed" }, {}, [], null, 1]) {
    const webhook = await sign(event as SandboxEvent);
    assert.equal((await send(sandbox, webhook, { provider: "sandbox" })).status, 200);
  }
  assert.deepEqual(await storedRows(sandbox), beforeSandbox);
});

Deno.test("receivePaymentEvent: unknown checkout -> 200, logged, nothing stored", async () => {
  const world = await sharedWorld();
  const { server, stripe } = world;
  const held = await newHeldBooking(world);
  const payment = stripe.pay(held.session);
  stripe.refundInDashboard(payment.id, 1_000);
  const before = await storedRows(server);
  const metadata = { slotkeeper_checkout: crypto.randomUUID() };
  const object = { ...stripe.sessions.get(held.session), metadata };
  const charge = { payment_intent: payment.id, currency: "eur", amount_refunded: 1_000, metadata };
  const events: [type: string, object: unknown][] = [
    ["checkout.session.completed", object],
    ["checkout.session.expired", object],
    ["charge.refunded", charge],
  ];
  for (const [index, [type, about]] of events.entries()) {
    const eventId = `evt_${index}`;
    await deliver(world, await stripe.event(type, about, { eventId }));
    const entries = server.logged.filter((entry) => entry.includes(eventId));
    assert.equal(entries.length, 1, type);
    assert.match(entries[0] ?? "", /about an unknown checkout/);
  }
  assert.deepEqual(await storedRows(server), before);
  assert.deepEqual(await read(world, held), held.booking);
});

Deno.test("receivePaymentEvent: event delivered 3 times -> processed once", async () => {
  const world = await sharedWorld();
  const { server, stripe } = world;
  const held = await newHeldBooking(world);
  const before = await storedRows(server);
  const payment = await pay(world, held.session);
  const completed = await stripe.completed(held.session, { eventId: "evt_again" });
  for (let times = 0; times < 3; times++) await deliver(world, completed);
  stripe.refundInDashboard(payment.id, 1_000);
  const refunded = await stripe.refunded(payment.id);
  for (let times = 0; times < 3; times++) await deliver(world, refunded);
  // Two events reported the payment. The booking was confirmed, and refunded in part.
  assert.deepEqual(await newRows(server, before), { events: 3, payments: 1, refunds: 0, bookingEvents: 2 });
  assert.deepEqual(await eventsOf(world, held), ["confirmed", "refunded"]);
  const { paymentStatus, amountPaid, amountRefunded } = await read(world, held);
  assert.deepEqual([paymentStatus, amountPaid, amountRefunded], ["partially_refunded", 60, 10]);
});

Deno.test("receivePaymentEvent: event delivered 8 times at once -> processed once", async () => {
  const world = await sharedWorld();
  const held = await newHeldBooking(world);
  world.stripe.pay(held.session);
  const before = await storedRows(world.server);
  const completed = await world.stripe.completed(held.session);
  await Promise.all(Array.from({ length: 8 }, () => deliver(world, completed)));
  assert.deepEqual(await eventsOf(world, held), ["confirmed"]);
  const rows = { events: 1, payments: 1, refunds: 0, bookingEvents: 1 };
  assert.deepEqual(await newRows(world.server, before), rows);
});

Deno.test("receivePaymentEvent: failed payment -> event payment_failed, booking still held and payable", async () => {
  const sandbox = await startSandbox();
  const { booking, paid, sign } = await newSandboxPayment(sandbox);
  const failed = await sign({ id: "event-0", type: "failed", checkout: paid.checkout });
  for (let times = 0; times < 2; times++) await send(sandbox, failed, { provider: "sandbox" });
  assert.deepEqual(await read({ server: sandbox }, { booking }), booking);
  await send(sandbox, await sign(paid), { provider: "sandbox" });
  assert.deepEqual(await eventsOf({ server: sandbox }, { booking }), ["payment_failed", "confirmed"]);
});

Deno.test("receivePaymentEvent: event of our checkout with wrong fields -> 500, logged, so that it is sent again", async () => {
  const world = await sharedWorld();
  const held = await newHeldBooking(world);
  world.stripe.pay(held.session);
  const session = world.stripe.sessions.get(held.session);
  const webhook = await world.stripe.event("checkout.session.completed", { ...session, amount_total: "all of it" });
  const { status, body } = await send(world.server, webhook);
  assert.deepEqual([status, Reflect.get(Object(body), "code")], [500, "internal_error"]);
  assert(world.server.logged.some((entry) => entry.includes("cannot be parsed")));
  assert.deepEqual(await read(world, held), held.booking);
});
