/** Webhooks of one payment in any order, repeated and at once. The result is always the same. */
import assert from "node:assert/strict";
import { sql } from "kysely";
import type { Webhook } from "../../src/payments/provider.ts";
import { newRoom, newTimeslots } from "../support/builders.ts";
import { openOnce } from "../support/open_once.ts";
import type { StripePayment } from "../support/stripe_stand_in.ts";
import {
  countJobs,
  deliver,
  eventsOf,
  expireHolds,
  type HeldBooking,
  holdTimeslot,
  newHeldBooking,
  refundedCents,
  refundRequests,
  reset,
  startWorld,
  type World,
} from "../payments/world.ts";

/** Shared by all tests. Each has its own bookings. */
const openWorld = openOnce(startWorld);
async function newWorld(): Promise<World> {
  const world = await openWorld();
  reset(world);
  return world;
}

const messages = ["completed", "duplicate", "expired", "refunded"] as const;
type Message = typeof messages[number];

function ordersOf(left: readonly Message[]): Message[][] {
  if (left.length === 0) return [[]];
  return left.flatMap((first) => ordersOf(left.filter((message) => message !== first)).map((rest) => [first, ...rest]));
}
const orders = ordersOf(messages);
const rounds = 8;

interface Paid extends HeldBooking {
  payment: StripePayment;
  webhooks: Record<Message, Webhook>;
}

/** Pays a booking in time and refunds it manually. The server has received no webhook yet. */
async function payAndRefund({ stripe }: World, held: HeldBooking): Promise<Paid> {
  const payment = stripe.pay(held.session);
  stripe.refundInDashboard(payment.id, payment.amount);
  const eventId = `evt_${payment.id}`;
  const webhooks = {
    completed: await stripe.completed(held.session, { eventId }),
    duplicate: await stripe.completed(held.session, { eventId }),
    expired: await stripe.expired(held.session),
    refunded: await stripe.refunded(payment.id),
  };
  return { ...held, payment, webhooks };
}

/** The final state of a booking and its money, without ids and times. */
async function stateOf(world: World, paid: Paid): Promise<unknown> {
  const { id } = paid.booking;
  const { rows } = await sql<{ state: Record<string, unknown> }>`
    select json_build_object(
      'booking', (
        select json_build_object(
          'status', status, 'payment', payment_status, 'paid', amount_paid, 'refunded', amount_refunded,
          'refund', refund_amount, 'reason', cancellation_reason, 'cancelled', cancelled_at is not null,
          'held', hold_expires_at is not null, 'paidBy', payment_id is not null
        ) from bookings where id = ${id}
      ),
      'payments', (
        select json_agg(json_build_object(
          'amount', amount, 'currency', currency, 'pays', pays_booking, 'reported', reported_refunded
        )) from payments where booking_id = ${id}
      ),
      -- A refund that was already done needs no request to Stripe.
      'refunds', (
        select count(*) from refunds where booking_id = ${id} and (status <> 'succeeded' or reference is not null)
      ),
      'openCheckouts', (select count(*) from checkouts where booking_id = ${id} and closed_at is null)
    ) as state
  `.execute(world.server.db);
  return { ...rows[0]?.state, refundedCents: refundedCents(world, paid.payment) };
}

const common = {
  payments: [{ amount: 60, currency: "EUR", pays: true, reported: 60 }],
  refunds: 0,
  openCheckouts: 0,
  refundedCents: 6_000,
};
const money = { payment: "refunded", paid: 60, refunded: 60, refund: 60, held: false, paidBy: true };
const confirmed = { ...common, booking: { ...money, status: "confirmed", reason: null, cancelled: false } };
const cancelled = { ...common, booking: { ...money, status: "cancelled", reason: "hold_expired", cancelled: true } };

interface Variant {
  name: string;
  /** Happens between the payment and the first webhook. */
  meanwhile(world: World, paid: Paid[]): Promise<unknown>;
  final: unknown;
  /** Types of the later events, which are the same in every order, sorted. */
  events: string[];
}

const variants: Variant[] = [
  {
    name: "hold not expired",
    meanwhile: () => Promise.resolve(),
    final: confirmed,
    events: ["confirmed", "refunded"],
  },
  {
    name: "hold expired, timeslot free",
    meanwhile: expireHolds,
    final: confirmed,
    events: ["cancelled", "confirmed", "refunded"],
  },
  {
    name: "hold expired, timeslot booked by another user",
    async meanwhile(world, paid) {
      await expireHolds(world);
      await Promise.all(paid.map(({ timeslot }) => holdTimeslot(world, timeslot, "bob")));
    },
    final: cancelled,
    events: ["cancelled", "refunded"],
  },
];

/** Types of the events of a booking, without those before the first webhook, sorted. */
async function eventTypesOf({ server }: World, { booking }: Paid): Promise<string[]> {
  const { rows } = await sql<{ type: string }>`
    select type from booking_events where booking_id = ${booking.id} and type not in ('created', 'payment_failed')
    order by type::text
  `.execute(server.db);
  return rows.map(({ type }) => type);
}

for (const { name, meanwhile, final, events } of variants) {
  Deno.test(`receivePaymentEvent: ${name}, 24 orders and all at once -> the same final state`, async (t) => {
    const world = await newWorld();
    const { server } = world;
    // Ten minutes at 60.00 EUR.
    const room = await newRoom(server, { hourlyRate: 360 });
    const rules = { slotDuration: 10, workingHours: { start: "08:00", end: "20:00" } };
    const slots = await newTimeslots(server, room, { date: "2026-03-09", ...rules });
    const wanted = slots.slice(0, 2 * orders.length + rounds);
    const all = await Promise.all(
      wanted.map(async (slot) => await payAndRefund(world, await holdTimeslot(world, slot))),
    );
    await meanwhile(world, all);
    const next = (): Paid => {
      const paid = all.shift();
      assert(paid);
      return paid;
    };
    const expectAll = async (done: Map<string, Paid>) => {
      const finals: Record<string, unknown> = {};
      const expected: Record<string, unknown> = {};
      for (const [order, paid] of done) {
        finals[order] = { final: await stateOf(world, paid), events: await eventTypesOf(world, paid) };
        expected[order] = { final, events };
      }
      assert.deepEqual(finals, expected);
      assert.equal(await countJobs(world), 0);
    };

    await t.step("jobs run after each webhook", async () => {
      const done = new Map<string, Paid>();
      for (const order of orders) {
        const paid = next();
        for (const message of order) {
          await deliver(world, paid.webhooks[message]);
          await server.work();
        }
        done.set(order.join(", "), paid);
      }
      await expectAll(done);
    });

    await t.step("jobs run in the end", async () => {
      const done = new Map<string, Paid>();
      for (const order of orders) {
        const paid = next();
        for (const message of order) await deliver(world, paid.webhooks[message]);
        done.set(order.join(", "), paid);
      }
      await server.work();
      await expectAll(done);
    });

    await t.step("all at once", async () => {
      const done = new Map<string, Paid>();
      for (let round = 1; round <= rounds; round++) {
        const paid = next();
        await Promise.all(messages.map((message) => deliver(world, paid.webhooks[message])));
        done.set(`round ${round}`, paid);
      }
      await server.work();
      await expectAll(done);
    });
  });
}

Deno.test("receivePaymentEvent: webhooks of a late payment repeated, jobs at the same time -> one refund", async () => {
  const world = await newWorld();
  const { server, stripe } = world;
  for (let round = 0; round < 3; round++) {
    server.clock.set("2026-03-02T10:00:00.000Z");
    const held = await newHeldBooking(world);
    const payment = stripe.pay(held.session);
    await expireHolds(world);
    await holdTimeslot(world, held.timeslot, "bob");
    const eventId = `evt_${payment.id}`;
    const completed = await Promise.all(
      [{ eventId }, { eventId }, {}].map((options) => stripe.completed(held.session, options)),
    );
    const expired = await stripe.expired(held.session);
    await Promise.all([...completed.map((webhook) => deliver(world, webhook)), server.work(), deliver(world, expired)]);
    await server.work();
    const refunded = [await stripe.refunded(payment.id), await stripe.refunded(payment.id)];
    await Promise.all([...completed, ...refunded].map((webhook) => deliver(world, webhook)));
    await server.work();
    assert.equal(refundedCents(world, payment), 6_000);
    assert.equal(refundRequests(world, payment).length, 1);
    const events = await eventsOf(world, held);
    assert.deepEqual(events.filter((event) => !event.startsWith("timeslot")), ["cancelled", "refunded"]);
  }
});

Deno.test("late payment: a rival books at the same moment -> one has the timeslot, the other the money", async () => {
  const world = await newWorld();
  const { server, stripe } = world;
  const slots = await newTimeslots(server, await newRoom(server), { date: "2026-03-09" });
  const all = await Promise.all(slots.map((slot) => holdTimeslot(world, slot)));
  for (const { session } of all) stripe.pay(session);
  await expireHolds(world);
  const token = await server.token("bob");
  for (const { booking, timeslot, session } of all) {
    const completed = await stripe.completed(session);
    const body = { roomId: timeslot.roomId, timeslotId: timeslot.id };
    const [, rival] = await Promise.all([
      deliver(world, completed),
      server.call("createBooking", { token, body }),
    ]);
    await server.work();
    const params = { bookingId: booking.id };
    const { status, paymentStatus } = await server.ok("getBooking", { token: await server.token("alice"), params });
    const payment = stripe.payments.get(stripe.sessions.get(session)?.payment_intent ?? "");
    assert(payment);
    const outcome = { rival: rival.status, status, paymentStatus, refundedCents: refundedCents(world, payment) };
    assert.deepEqual(
      outcome,
      rival.status === 201
        ? { rival: 201, status: "cancelled", paymentStatus: "refunded", refundedCents: 6_000 }
        : { rival: 400, status: "confirmed", paymentStatus: "paid", refundedCents: 0 },
    );
  }
});
