/** receivePaymentEvent: what is taken from a payment provider, and what is not. */
import assert from "node:assert/strict";
import { sql } from "kysely";
import type { Webhook } from "../../src/payments/provider.ts";
import { isSandboxPayments, type SandboxEvent, sandboxPayments } from "../../src/payments/sandbox.ts";
import { newRoomWithTimeslot } from "../support/builders.ts";
import { startServer, type TestServer } from "../support/server.ts";
import {
  deliver,
  eventsOf,
  newHeldBooking,
  pay,
  read,
  reset,
  send,
  startWorld,
  type World,
} from "../payments/world.ts";

/** One server with each provider for all tests here: each has bookings of its own. */
let world: World & AsyncDisposable;
let sandbox: TestServer;
Deno.test.beforeAll(async () => {
  [world, sandbox] = await Promise.all([startWorld(), startServer({ env: { PAYMENT_PROVIDER: "sandbox" } })]);
});
Deno.test.afterAll(async () => {
  await world[Symbol.asyncDispose]();
  await sandbox[Symbol.asyncDispose]();
});
Deno.test.beforeEach(() => reset(world));

/** A booking that waits for its payment in the sandbox, and the event of that. */
async function newSandboxPayment() {
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

/** How much of what providers tell is stored, in all. */
async function storedRows({ db }: TestServer): Promise<Record<string, number>> {
  const { rows } = await sql<Record<string, number>>`
    select (select count(*)::int from payment_events) as events, (select count(*)::int from payments) as payments,
      (select count(*)::int from refunds) as refunds, (select count(*)::int from booking_events) as "bookingEvents"
  `.execute(db);
  return rows[0] ?? {};
}

/** How many there are more than `before`. */
async function newRows(server: TestServer, before: Record<string, number>): Promise<Record<string, number>> {
  const rows = Object.entries(await storedRows(server));
  return Object.fromEntries(rows.map(([name, count]) => [name, count - (before[name] ?? 0)]));
}

/** Fails unless each message is refused with 400, and leaves nothing behind. */
async function refuseAll(server: TestServer, provider: string, webhooks: Record<string, Webhook>): Promise<void> {
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

Deno.test("receivePaymentEvent confirms the booking of a payment in the sandbox", async () => {
  const { booking, paid, sign } = await newSandboxPayment();
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

Deno.test("receivePaymentEvent confirms the booking of a payment at Stripe, at the server's time", async () => {
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

Deno.test("receivePaymentEvent needs no token, and looks at none", async () => {
  const held = await newHeldBooking(world);
  world.stripe.pay(held.session);
  const headers = { Authorization: "Bearer of bad news" };
  assert.equal((await send(world.server, await world.stripe.completed(held.session), { headers })).status, 200);
  assert.equal((await read(world, held)).status, "confirmed");
});

Deno.test("receivePaymentEvent refuses what the sandbox has not signed, or not lately: webhook_invalid", async () => {
  const { booking, paid, sign } = await newSandboxPayment();
  const good = await sign(paid);
  const signature = good.headers.get("Sandbox-Signature") ?? "";
  const another = (value: string) => newSignature(good, "Sandbox-Signature", value);
  const stranger = sandboxPayments.open({}, { page: (path) => path, afterCheckout: () => "" });
  assert(isSandboxPayments(stranger));
  const seconds = Number(/t=(\d+)/.exec(signature)?.[1]);
  await refuseAll(sandbox, "sandbox", {
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

Deno.test("receivePaymentEvent refuses what Stripe has not signed, or not lately: webhook_invalid", async () => {
  const { server, stripe } = world;
  const held = await newHeldBooking(world);
  stripe.pay(held.session);
  const good = await stripe.completed(held.session);
  const signature = good.headers.get("Stripe-Signature") ?? "";
  const another = (value: string) => newSignature(good, "Stripe-Signature", value);
  const seconds = Math.floor(Date.now() / 1_000);
  await refuseAll(server, "stripe", {
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

Deno.test("receivePaymentEvent refuses a body over 64 KiB, however well it is signed: body_too_large", async () => {
  const { server, stripe } = world;
  const { session } = await newHeldBooking(world);
  stripe.pay(session);
  const object = { ...stripe.sessions.get(session), description: "" };
  const padding = 65_536 - (await stripe.event("checkout.session.completed", object)).body.length;
  const padded = (length: number) =>
    stripe.event("checkout.session.completed", { ...object, description: "x".repeat(length) });
  const before = await storedRows(server);
  // An event's id is always as long as the other, so this one is a byte too long.
  const { body, headers } = await padded(padding + 1);
  assert.equal(body.length, 65_537);
  const request = { params: { provider: "stripe" }, body, headers: Object.fromEntries(headers) };
  assert.equal((await server.refused("body_too_large", "receivePaymentEvent", request)).status, 413);
  assert.deepEqual(await storedRows(server), before);
  await deliver(world, await padded(padding));
});

Deno.test("receivePaymentEvent refuses a body that is not UTF-8: malformed_json", async () => {
  const url = `${sandbox.url}/api/v1/payments/webhook/sandbox`;
  const response = await fetch(url, { method: "POST", body: new Uint8Array([0x7b, 0xff, 0x7d]) });
  assert.equal(response.status, 400);
  assert.equal((await response.json()).code, "malformed_json");
});

Deno.test("receivePaymentEvent answers 404 payment_provider_not_found for every provider but the one in use", async () => {
  const held = await newHeldBooking(world);
  world.stripe.pay(held.session);
  const { body, headers } = await world.stripe.completed(held.session);
  const { "content-type": _type, ...signature } = Object.fromEntries(headers);
  const call = (server: TestServer, provider: string) => ({ params: { provider }, body, headers: signature, server });
  await using none = await startServer();
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

Deno.test("receivePaymentEvent answers 200 to events about nothing of ours, and stores nothing", async () => {
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

  const { sign } = await newSandboxPayment();
  const beforeSandbox = await storedRows(sandbox);
  for (const event of [{ id: "event-1", type: "sneezed" }, {}, [], null, 1]) {
    const webhook = await sign(event as SandboxEvent);
    assert.equal((await send(sandbox, webhook, { provider: "sandbox" })).status, 200);
  }
  assert.deepEqual(await storedRows(sandbox), beforeSandbox);
});

Deno.test("receivePaymentEvent answers 200 to events of a checkout that it does not know, changes nothing and logs it", async () => {
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
    const told = server.logged.filter((line) => line.includes(eventId));
    assert.equal(told.length, 1, type);
    assert.match(told[0] ?? "", /about an unknown checkout/);
  }
  assert.deepEqual(await storedRows(server), before);
  assert.deepEqual(await read(world, held), held.booking);
});

Deno.test("receivePaymentEvent deals with an event once, however often it comes", async () => {
  const { server, stripe } = world;
  const held = await newHeldBooking(world);
  const before = await storedRows(server);
  const payment = await pay(world, held.session);
  const completed = await stripe.completed(held.session, { eventId: "evt_again" });
  for (let times = 0; times < 3; times++) await deliver(world, completed);
  stripe.refundInDashboard(payment.id, 1_000);
  const refunded = await stripe.refunded(payment.id);
  for (let times = 0; times < 3; times++) await deliver(world, refunded);
  // The payment was told by two events of its own. The booking was confirmed, and refunded in part.
  assert.deepEqual(await newRows(server, before), { events: 3, payments: 1, refunds: 0, bookingEvents: 2 });
  assert.deepEqual(await eventsOf(world, held), ["confirmed", "refunded"]);
  const { paymentStatus, amountPaid, amountRefunded } = await read(world, held);
  assert.deepEqual([paymentStatus, amountPaid, amountRefunded], ["partially_refunded", 60, 10]);
});

Deno.test("receivePaymentEvent deals with an event once when it comes eight times at the same moment", async () => {
  const held = await newHeldBooking(world);
  world.stripe.pay(held.session);
  const before = await storedRows(world.server);
  const completed = await world.stripe.completed(held.session);
  await Promise.all(Array.from({ length: 8 }, () => deliver(world, completed)));
  assert.deepEqual(await eventsOf(world, held), ["confirmed"]);
  const rows = { events: 1, payments: 1, refunds: 0, bookingEvents: 1 };
  assert.deepEqual(await newRows(world.server, before), rows);
});

Deno.test("a failed attempt in the sandbox is told, and the booking stays held and payable", async () => {
  const { booking, paid, sign } = await newSandboxPayment();
  const failed = await sign({ id: "event-0", type: "failed", checkout: paid.checkout });
  for (let times = 0; times < 2; times++) await send(sandbox, failed, { provider: "sandbox" });
  assert.deepEqual(await read({ server: sandbox }, { booking }), booking);
  await send(sandbox, await sign(paid), { provider: "sandbox" });
  assert.deepEqual(await eventsOf({ server: sandbox }, { booking }), ["payment_failed", "confirmed"]);
});

Deno.test("receivePaymentEvent answers 500 to an event of ours that it cannot read, so that it is sent again, and says so in the log", async () => {
  const held = await newHeldBooking(world);
  world.stripe.pay(held.session);
  const session = world.stripe.sessions.get(held.session);
  const webhook = await world.stripe.event("checkout.session.completed", { ...session, amount_total: "all of it" });
  const { status, body } = await send(world.server, webhook);
  assert.deepEqual([status, Reflect.get(Object(body), "code")], [500, "internal_error"]);
  assert(world.server.logged.some((entry) => entry.includes("not as we know it")));
  assert.deepEqual(await read(world, held), held.booking);
});
