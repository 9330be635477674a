/** Webhooks of one payment in any order, repeated and at once. The result is always the same. */
import assert from "node:assert/strict";
import { sql } from "kysely";
import type { Webhook } from "../../src/payments/provider.ts";
import { newRoom, newTimeslots } from "../support/builders.ts";
import type { StripePayment } from "../support/stripe_stand_in.ts";
import {
  askedRefunds,
  countJobs,
  deliver,
  eventsOf,
  expireHolds,
  givenBack,
  type Held,
  hold,
  newHeld,
  openTill,
  restart,
  type Till,
} from "../payments/paying.ts";

/** Shared by all tests. Each has its own bookings. */
let till: Till;
Deno.test.beforeAll(async () => {
  till = await openTill();
});
Deno.test.afterAll(async () => await till[Symbol.asyncDispose]());
Deno.test.beforeEach(() => restart(till));

const messages = ["completed", "duplicate", "expired", "refunded"] as const;
type Message = typeof messages[number];

function ordersOf(left: readonly Message[]): Message[][] {
  if (left.length === 0) return [[]];
  return left.flatMap((first) => ordersOf(left.filter((message) => message !== first)).map((rest) => [first, ...rest]));
}
const orders = ordersOf(messages);
const rounds = 8;

interface Paid extends Held {
  payment: StripePayment;
  webhooks: Record<Message, Webhook>;
}

/** Pays a booking in time and refunds it manually. The server has received no webhook yet. */
async function payAndRefund({ stripe }: Till, held: Held): Promise<Paid> {
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
async function stateOf(till: Till, paid: Paid): Promise<unknown> {
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
  `.execute(till.server.db);
  return { ...rows[0]?.state, givenBack: givenBack(till, paid.payment) };
}

const common = {
  payments: [{ amount: 60, currency: "EUR", pays: true, reported: 60 }],
  refunds: 0,
  openCheckouts: 0,
  givenBack: 6_000,
};
const money = { payment: "refunded", paid: 60, refunded: 60, refund: 60, held: false, paidBy: true };
const confirmed = { ...common, booking: { ...money, status: "confirmed", reason: null, cancelled: false } };
const cancelled = { ...common, booking: { ...money, status: "cancelled", reason: "hold_expired", cancelled: true } };

interface Variant {
  name: string;
  /** Happens between the payment and the first webhook. */
  meanwhile(till: Till, paid: Paid[]): Promise<unknown>;
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
    async meanwhile(till, paid) {
      await expireHolds(till);
      await Promise.all(paid.map(({ timeslot }) => hold(till, timeslot, "bob")));
    },
    final: cancelled,
    events: ["cancelled", "refunded"],
  },
];

/** Types of the events of a booking, without those before the first webhook, sorted. */
async function eventTypesOf({ server }: Till, { booking }: Paid): Promise<string[]> {
  const { rows } = await sql<{ type: string }>`
    select type from booking_events where booking_id = ${booking.id} and type not in ('created', 'payment_failed')
    order by type::text
  `.execute(server.db);
  return rows.map(({ type }) => type);
}

for (const { name, meanwhile, final, events } of variants) {
  Deno.test(`receivePaymentEvent: ${name}, 24 orders and all at once -> the same final state`, async (t) => {
    const { server } = till;
    // Ten minutes at 60.00 EUR.
    const room = await newRoom(server, { hourlyRate: 360 });
    const rules = { slotDuration: 10, workingHours: { start: "08:00", end: "20:00" } };
    const slots = await newTimeslots(server, room, { date: "2026-03-09", ...rules });
    const wanted = slots.slice(0, 2 * orders.length + rounds);
    const all = await Promise.all(wanted.map(async (slot) => await payAndRefund(till, await hold(till, slot))));
    await meanwhile(till, all);
    const next = (): Paid => {
      const paid = all.shift();
      assert(paid);
      return paid;
    };
    const expectAll = async (done: Map<string, Paid>) => {
      const finals: Record<string, unknown> = {};
      const expected: Record<string, unknown> = {};
      for (const [order, paid] of done) {
        finals[order] = { final: await stateOf(till, paid), events: await eventTypesOf(till, paid) };
        expected[order] = { final, events };
      }
      assert.deepEqual(finals, expected);
      assert.equal(await countJobs(till), 0);
    };

    await t.step("jobs run after each webhook", async () => {
      const done = new Map<string, Paid>();
      for (const order of orders) {
        const paid = next();
        for (const message of order) {
          await deliver(till, paid.webhooks[message]);
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
        for (const message of order) await deliver(till, paid.webhooks[message]);
        done.set(order.join(", "), paid);
      }
      await server.work();
      await expectAll(done);
    });

    await t.step("all at once", async () => {
      const done = new Map<string, Paid>();
      for (let round = 1; round <= rounds; round++) {
        const paid = next();
        await Promise.all(messages.map((message) => deliver(till, paid.webhooks[message])));
        done.set(`round ${round}`, paid);
      }
      await server.work();
      await expectAll(done);
    });
  });
}

Deno.test("receivePaymentEvent: webhooks of a late payment repeated, jobs at the same time -> one refund", async () => {
  const { server, stripe } = till;
  for (let round = 0; round < 3; round++) {
    server.clock.set("2026-03-02T10:00:00.000Z");
    const held = await newHeld(till);
    const payment = stripe.pay(held.session);
    await expireHolds(till);
    await hold(till, held.timeslot, "bob");
    const eventId = `evt_${payment.id}`;
    const completed = await Promise.all(
      [{ eventId }, { eventId }, {}].map((options) => stripe.completed(held.session, options)),
    );
    const expired = await stripe.expired(held.session);
    await Promise.all([...completed.map((webhook) => deliver(till, webhook)), server.work(), deliver(till, expired)]);
    await server.work();
    const refunded = [await stripe.refunded(payment.id), await stripe.refunded(payment.id)];
    await Promise.all([...completed, ...refunded].map((webhook) => deliver(till, webhook)));
    await server.work();
    assert.equal(givenBack(till, payment), 6_000);
    assert.equal(askedRefunds(till, payment).length, 1);
    const events = await eventsOf(till, held);
    assert.deepEqual(events.filter((event) => !event.startsWith("timeslot")), ["cancelled", "refunded"]);
  }
});

Deno.test("late payment: a rival books at the same moment -> one has the timeslot, the other the money", async () => {
  const { server, stripe } = till;
  const slots = await newTimeslots(server, await newRoom(server), { date: "2026-03-09" });
  const all = await Promise.all(slots.map((slot) => hold(till, slot)));
  for (const { session } of all) stripe.pay(session);
  await expireHolds(till);
  const token = await server.token("bob");
  for (const { booking, timeslot, session } of all) {
    const completed = await stripe.completed(session);
    const body = { roomId: timeslot.roomId, timeslotId: timeslot.id };
    const [, rival] = await Promise.all([
      deliver(till, completed),
      server.call("createBooking", { token, body }),
    ]);
    await server.work();
    const params = { bookingId: booking.id };
    const { status, paymentStatus } = await server.ok("getBooking", { token: await server.token("alice"), params });
    const payment = stripe.payments.get(stripe.sessions.get(session)?.payment_intent ?? "");
    assert(payment);
    const outcome = { rival: rival.status, status, paymentStatus, givenBack: givenBack(till, payment) };
    assert.deepEqual(
      outcome,
      rival.status === 201
        ? { rival: 201, status: "cancelled", paymentStatus: "refunded", givenBack: 6_000 }
        : { rival: 400, status: "confirmed", paymentStatus: "paid", givenBack: 0 },
    );
  }
});
