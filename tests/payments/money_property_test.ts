/**
 * Money of random bookings. fast-check creates rates, lengths, tiers and histories. A model that counts in cents and shares no
 * code with `src/` gives the expected amounts. A failure prints the smallest history that fails.
 */
import fc from "fast-check";
import { sql } from "kysely";
import assert from "node:assert/strict";
import type { Booking, Timeslot } from "../../generated/contract.ts";
import { deliverEvent, newCheckout, newEventId, watchRefunds } from "../support/sandbox_payments.ts";
import { runs } from "../support/properties.ts";
import { startServer, type TestServer } from "../support/server.ts";

const env = { PAYMENT_PROVIDER: "sandbox" };
const start = Date.parse("2026-03-02T10:00:00.000Z");
const hour = 3_600_000;

/** An event in the history of a booking. */
type Step =
  /** A new payment of the price plus `difference` cents. */
  | { kind: "pay"; difference: number }
  /** The operator refunds `share` percent of the rest of the booking's payment manually. */
  | { kind: "refundManually"; share: number }
  /** The provider delivers an earlier event again. */
  | { kind: "redeliver"; index: number }
  /** Cancellation `ahead` milliseconds before the start. */
  | { kind: "cancel"; by: "user" | "admin"; ahead: number }
  /** The hold ends, and a rival may book the timeslot. */
  | { kind: "expire"; isTaken: boolean }
  /** An admin confirms, because it was paid elsewhere. */
  | { kind: "confirm" }
  | { kind: "work" };

interface History {
  rateCents: number;
  minutes: number;
  tiers: { hours: number; tenths: number }[];
  steps: Step[];
}

const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 5,
    arbitrary: fc.record({
      kind: fc.constant("pay" as const),
      difference: fc.oneof({ weight: 4, arbitrary: fc.constant(0) }, {
        weight: 1,
        arbitrary: fc.constantFrom(-1, 1, 500),
      }),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({ kind: fc.constant("refundManually" as const), share: fc.integer({ min: 1, max: 100 }) }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("redeliver" as const), index: fc.nat({ max: 9 }) }) },
  {
    weight: 3,
    arbitrary: fc.record({
      kind: fc.constant("cancel" as const),
      by: fc.constantFrom("user" as const, "user" as const, "admin" as const),
      ahead: fc.integer({ min: 1, max: 160 * hour }),
    }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("expire" as const), isTaken: fc.boolean() }) },
  { weight: 1, arbitrary: fc.constant({ kind: "confirm" as const }) },
  { weight: 3, arbitrary: fc.constant({ kind: "work" as const }) },
);

const history: fc.Arbitrary<History> = fc.record({
  rateCents: fc.oneof(fc.integer({ min: 1, max: 500 }), fc.integer({ min: 1, max: 9_999_999 })),
  minutes: fc.oneof(fc.constantFrom(15, 30, 45, 60, 90), fc.integer({ min: 5, max: 600 })),
  tiers: fc.uniqueArray(
    fc.record({ hours: fc.integer({ min: 0, max: 150 }), tenths: fc.integer({ min: 0, max: 1_000 }) }),
    { minLength: 1, maxLength: 4, selector: ({ hours }) => hours },
  ),
  // Half of the histories begin with a payment.
  steps: fc.tuple(fc.boolean(), fc.array(step, { minLength: 2, maxLength: 8 })).map(([isPaid, steps]): Step[] =>
    isPaid ? [{ kind: "pay", difference: 0 }, ...steps] : steps
  ),
});

/** Rounds half up. */
const divided = (cents: bigint, by: bigint) => (2n * cents + by) / (2n * by);
const smaller = (a: bigint, b: bigint) => a < b ? a : b;
const larger = (a: bigint, b: bigint) => a > b ? a : b;

interface Payment {
  reference: string;
  cents: bigint;
  /** Refunded manually. */
  manual: bigint;
  /** Refunded at our request. */
  asked: bigint;
  /** Decided, and not requested by the job yet. */
  pending: bigint;
}

/** The expected amounts in cents. */
class Model {
  status: "pending" | "confirmed" | "cancelled" = "pending";
  isExpired = false;
  isTaken = false;
  /** The payment of the booking. Null if it was paid elsewhere. */
  payment: Payment | null = null;
  others: Payment[] = [];
  paid = 0n;
  refunded = 0n;
  /** The total to refund. */
  due = 0n;

  constructor(readonly price: bigint, readonly tiers: History["tiers"]) {}

  pay(reference: string, cents: bigint): void {
    const payment = { reference, cents, manual: 0n, asked: 0n, pending: 0n };
    if (this.paid > 0n || cents !== this.price) {
      this.others.push(payment);
      payment.pending = cents;
      return;
    }
    this.payment = payment;
    this.paid = cents;
    if (this.status === "pending" || (this.isExpired && !this.isTaken)) {
      this.status = "confirmed";
    } else {
      payment.pending = this.due = cents;
    }
  }

  cancel(by: "user" | "admin", ahead: number): bigint {
    const tier = this.tiers.toSorted((a, b) => b.hours - a.hours).find(({ hours }) => hours * hour <= ahead);
    const owed = by === "admin" ? this.paid : divided(this.paid * BigInt(tier?.tenths ?? 0), 1_000n);
    const refund = larger(0n, owed - this.refunded);
    this.status = "cancelled";
    this.due = this.refunded + refund;
    if (this.payment !== null) this.payment.pending = refund;
    else this.refunded = this.due;
    return refund;
  }

  work(): void {
    for (const payment of [...this.others, ...(this.payment === null ? [] : [this.payment])]) {
      // A manual refund in the meantime counts.
      payment.asked += smaller(payment.pending, payment.cents - payment.manual - payment.asked);
      payment.pending = 0n;
    }
    this.observe();
  }

  observe(): void {
    if (this.payment === null) return;
    this.refunded = larger(this.refunded, this.payment.manual + this.payment.asked);
    this.due = larger(this.due, this.refunded);
  }
}

const euros = (cents: bigint) => Number(cents) / 100;
const cents = (euros: number | string) => BigInt(Number(euros).toFixed(2).replace(".", ""));

/** Cents that the server has recorded as refunded at its request. */
async function recordedRefunds({ db }: TestServer, payment: string): Promise<bigint> {
  const { rows } = await sql<{ amount: string }>`
    select coalesce(sum(r.amount), 0) as amount from refunds r join payments p on p.id = r.payment_id
    where p.reference = ${payment} and r.status = 'succeeded' and r.reference is not null
  `.execute(db);
  return cents(rows[0]?.amount ?? "0");
}

/** Inserts a room with this rate per hour, and its timeslot. */
async function insertTimeslot({ db }: TestServer, rateCents: number, minutes: number): Promise<Timeslot> {
  const startTime = "2026-03-09T09:00:00.000Z";
  const endTime = new Date(Date.parse(startTime) + minutes * 60_000).toISOString();
  const { rows } = await sql<Pick<Timeslot, "id" | "roomId">>`
    with room as (
      insert into rooms (name, capacity, room_type, hourly_rate, currency, time_zone, auto_confirm, is_active, metadata,
        created_at, updated_at)
      values ('Test room', 1, 'meeting', ${rateCents}::numeric / 100, 'EUR', 'UTC', false, true, '{}', '2026-03-02Z',
        '2026-03-02Z')
      returning id
    )
    insert into timeslots (room_id, starts_at, ends_at)
    select id, ${startTime}::timestamptz, ${endTime}::timestamptz from room returning id, room_id as "roomId"
  `.execute(db);
  const [slot] = rows;
  assert(slot);
  return { ...slot, startTime, endTime };
}

async function revenue(server: TestServer): Promise<bigint> {
  // All bookings are made on this day. A longer range has a figure for each day.
  const query = { fromDate: "2026-03-02", toDate: "2026-03-02" };
  const stats = await server.ok("getBookingStats", { token: await server.token("admin", "admin"), query });
  assert.equal(stats.revenueByCurrency.EUR ?? 0, stats.revenue);
  return cents(stats.revenue);
}

Deno.test("money: random history of a booking -> its amounts, the provider's and the revenue agree to the cent", async () => {
  await using server = await startServer({ env });
  const [alice, admin] = [await server.token("alice"), await server.token("admin", "admin")];
  using refunds = watchRefunds(server);
  let earlierRevenue = 0n;

  const property = fc.asyncProperty(history, async ({ rateCents, minutes, tiers, steps }) => {
    // A price below half a cent is 0.
    fc.pre(rateCents * minutes >= 30);
    server.clock.set(new Date(start).toISOString());
    const slot = await insertTimeslot(server, rateCents, minutes);
    const checkout = await newCheckout(server, "alice", slot);
    const { booking: { id: bookingId } } = checkout;
    // The server never changes its tiers, so the test stores them.
    const storedTiers = JSON.stringify(tiers.map(({ hours, tenths }) => ({ hours, percent: tenths / 10 })));
    await server.db.updateTable("bookings").set({ cancellation_tiers: sql`${storedTiers}::text::jsonb` })
      .where("id", "=", bookingId).execute();
    const model = new Model(divided(BigInt(rateCents) * BigInt(minutes), 60n), tiers);
    assert.equal(checkout.booking.price, euros(model.price));
    const params = { bookingId };
    const deliveries: (() => Promise<void>)[] = [];
    const deliver = async (event: Parameters<typeof deliverEvent>[1]) => {
      deliveries.push(() => deliverEvent(server, event));
      await deliverEvent(server, event);
    };

    for (const step of steps) {
      switch (step.kind) {
        case "pay": {
          const payment = `payment_${newEventId()}`;
          const paid = larger(1n, model.price + BigInt(step.difference));
          const event = {
            id: newEventId(),
            checkout: checkout.checkout,
            payment,
            cents: Number(paid),
            currency: "EUR",
          };
          await deliver({ type: "paid", ...event });
          model.pay(payment, paid);
          break;
        }
        case "refundManually": {
          const { payment } = model;
          if (payment === null) break;
          // No refund exceeds the rest. While ours is pending, a manual refund takes all or nothing.
          const left = payment.cents - payment.manual - payment.asked;
          const refund = step.share > 75 ? left : payment.pending > 0n ? 0n : divided(left * BigInt(step.share), 100n);
          if (refund === 0n) break;
          payment.manual += refund;
          const total = Number(payment.manual + payment.asked);
          const event = { id: newEventId(), checkout: checkout.checkout, payment: payment.reference, currency: "EUR" };
          await deliver({ type: "refunded", ...event, cents: total });
          model.observe();
          break;
        }
        case "redeliver":
          await deliveries[step.index % Math.max(1, deliveries.length)]?.();
          break;
        case "cancel": {
          const at = Date.parse(slot.startTime) - step.ahead;
          if (model.status === "cancelled") break;
          server.clock.set(new Date(Math.max(at, server.clock.now().getTime())).toISOString());
          const ahead = Date.parse(slot.startTime) - server.clock.now().getTime();
          const expected = model.cancel(step.by, ahead);
          if (step.by === "user") {
            const { refundAmount } = await server.ok("cancelBooking", { token: alice, params });
            assert.equal(refundAmount, euros(expected), "refundAmount of the cancellation");
          } else {
            await server.ok("updateBookingStatus", { token: admin, params, body: { status: "cancelled" } });
          }
          break;
        }
        case "expire": {
          const { status, holdExpiresAt } = await server.ok("getBooking", { token: alice, params });
          if (status !== "pending" || holdExpiresAt === null) break;
          server.clock.set(holdExpiresAt);
          await server.sweep();
          model.status = "cancelled";
          model.isExpired = true;
          model.isTaken = step.isTaken;
          const body = { roomId: slot.roomId, timeslotId: slot.id };
          if (step.isTaken) await server.ok("createBooking", { token: await server.token("bob"), body });
          break;
        }
        case "confirm":
          if (model.status !== "pending") break;
          await server.ok("updateBookingStatus", { token: admin, params, body: { status: "confirmed" } });
          model.status = "confirmed";
          model.paid = model.price;
          break;
        default:
          await server.work();
          model.work();
      }
      const booking = await server.ok("getBooking", { token: alice, params });
      assertAmounts(booking, model, step.kind);
    }
    await server.work();
    model.work();

    const booking = await server.ok("getBooking", { token: alice, params });
    assertAmounts(booking, model, "the last job");
    assert.notEqual(booking.paymentStatus, "refund_pending");
    assert.equal(booking.amountRefunded, booking.refundAmount, "every decided refund was made");
    for (const payment of [...model.others, ...(model.payment === null ? [] : [model.payment])]) {
      const asked = refunds.centsOf(payment.reference);
      assert.equal(asked, payment.asked, "cents requested from the provider");
      assert.equal(await recordedRefunds(server, payment.reference), asked, "cents recorded by the server");
      assert(asked + payment.manual <= payment.cents, "more was refunded than was paid");
    }
    for (const { manual, asked, cents } of model.others) {
      assert.equal(manual + asked, cents, "a payment that pays nothing is refunded in full");
    }
    const now = await revenue(server);
    assert.equal(now - earlierRevenue, model.paid - model.refunded, "revenue");
    earlierRevenue = now;
  });
  await fc.assert(property, { numRuns: runs(10, 100), seed: 20_260_310, endOnFailure: true });
});

function assertAmounts(booking: Booking, { status, price, paid, refunded, due }: Model, when: string): void {
  const { amountPaid, amountRefunded, refundAmount } = booking;
  assert.deepEqual(
    { status: booking.status, price: booking.price, amountPaid, amountRefunded, refundAmount },
    {
      status,
      price: euros(price),
      amountPaid: euros(paid),
      amountRefunded: euros(refunded),
      refundAmount: euros(larger(due, smaller(refunded, paid))),
    },
    `after: ${when}`,
  );
  assert(refunded <= paid);
}
