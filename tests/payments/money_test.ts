/**
 * Money for bookings that nobody thought of: fast-check makes up rates, lengths, tiers and what happens to a booking, and a
 * model that counts in cents, and shares nothing with `src/`, says what there is to be. A failure prints the smallest history
 * that fails.
 */
import fc from "fast-check";
import { sql } from "kysely";
import assert from "node:assert/strict";
import type { Booking } from "../../generated/contract.ts";
import { newRoom, newRoomWithTimeslot, newTimeslots } from "../support/builders.ts";
import { deliverEvent, newCheckout, newEventId, pay, reportRefund } from "../support/sandbox_payments.ts";
import { startServer, type TestServer } from "../support/server.ts";

const env = { PAYMENT_PROVIDER: "sandbox" };
const start = Date.parse("2026-03-02T10:00:00.000Z");
const hour = 3_600_000;

/** What may happen to a booking. */
type Step =
  /** A payment of the price, or of so many cents more or less. Each is another one. */
  | { kind: "pay"; difference: number }
  /** The operator gives back a share of what is left of the booking's payment at the provider, by hand. */
  | { kind: "refundByHand"; share: number }
  /** The provider delivers once more what it has delivered before. */
  | { kind: "redeliver"; index: number }
  /** So many milliseconds before the start. */
  | { kind: "cancel"; by: "user" | "admin"; ahead: number }
  /** The hold ends; a rival may take the timeslot. */
  | { kind: "expire"; isTaken: boolean }
  /** An admin says that it was paid elsewhere. */
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
    arbitrary: fc.record({ kind: fc.constant("refundByHand" as const), share: fc.integer({ min: 1, max: 100 }) }),
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
  // A payment first, more often than not.
  steps: fc.tuple(fc.boolean(), fc.array(step, { minLength: 2, maxLength: 8 })).map(([isPaid, steps]): Step[] =>
    isPaid ? [{ kind: "pay", difference: 0 }, ...steps] : steps
  ),
});

/** Half up. */
const divided = (cents: bigint, by: bigint) => (2n * cents + by) / (2n * by);
const smaller = (a: bigint, b: bigint) => a < b ? a : b;
const larger = (a: bigint, b: bigint) => a > b ? a : b;

interface Payment {
  reference: string;
  cents: bigint;
  /** Given back at the provider by hand, and because we asked for it. */
  byHand: bigint;
  asked: bigint;
  /** What we have decided to ask for, until the job has done so. */
  pending: bigint;
}

/** What there is to be, in cents. */
class Model {
  status: "pending" | "confirmed" | "cancelled" = "pending";
  isExpired = false;
  isTaken = false;
  /** What pays the booking; null when that was paid elsewhere. */
  payment: Payment | null = null;
  others: Payment[] = [];
  paid = 0n;
  refunded = 0n;
  /** What is to be given back in all. */
  due = 0n;

  constructor(readonly price: bigint, readonly tiers: History["tiers"]) {}

  pay(reference: string, cents: bigint): void {
    const payment = { reference, cents, byHand: 0n, asked: 0n, pending: 0n };
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
      // What the operator has given back meanwhile is not given back again.
      payment.asked += smaller(payment.pending, payment.cents - payment.byHand - payment.asked);
      payment.pending = 0n;
    }
    this.look();
  }

  look(): void {
    if (this.payment === null) return;
    this.refunded = larger(this.refunded, this.payment.byHand + this.payment.asked);
    this.due = larger(this.due, this.refunded);
  }
}

const euros = (cents: bigint) => Number(cents) / 100;
const cents = (euros: number | string) => BigInt(Number(euros).toFixed(2).replace(".", ""));

/** What the provider is asked to give back from now on. Says how many cents of a payment that are by now. */
function watchRefunds({ payments }: TestServer): (payment: string) => bigint {
  assert(payments !== undefined);
  // Of one id there is one refund, however often it is asked for.
  const asked = new Map<string, { payment: string; cents: number }>();
  const refund = payments.refund.bind(payments);
  payments.refund = (request) => {
    asked.set(request.id, request);
    return refund(request);
  };
  return (payment) =>
    [...asked.values()].reduce((sum, of) => of.payment === payment ? sum + BigInt(of.cents) : sum, 0n);
}

/** What the server believes that the provider has given back because it was asked to. */
async function recordedRefunds({ db }: TestServer, payment: string): Promise<bigint> {
  const { rows } = await sql<{ amount: string }>`
    select coalesce(sum(r.amount), 0) as amount from refunds r join payments p on p.id = r.payment_id
    where p.reference = ${payment} and r.status = 'succeeded' and r.reference is not null
  `.execute(db);
  return cents(rows[0]?.amount ?? "0");
}

async function revenue(server: TestServer): Promise<bigint> {
  const query = { fromDate: "2026-01-01", toDate: "2026-12-31" };
  const stats = await server.ok("getBookingStats", { token: await server.token("admin", "admin"), query });
  assert.equal(stats.revenueByCurrency.EUR ?? 0, stats.revenue);
  return cents(stats.revenue);
}

Deno.test("whatever happens to a booking, its amounts, the provider's and the revenue agree to the cent", async () => {
  await using server = await startServer({ env });
  const [alice, admin] = [await server.token("alice"), await server.token("admin", "admin")];
  const askedOf = watchRefunds(server);
  let earlierRevenue = 0n;

  const property = fc.asyncProperty(history, async ({ rateCents, minutes, tiers, steps }) => {
    // What costs less than half a cent is free.
    fc.pre(rateCents * minutes >= 30);
    server.clock.set(new Date(start).toISOString());
    const room = await newRoom(server, { hourlyRate: rateCents / 100 });
    const workingHours = { start: "09:00", end: "24:00" };
    const [slot] = await newTimeslots(server, room, { date: "2026-03-09", slotDuration: minutes, workingHours });
    assert(slot);
    const checkout = await newCheckout(server, "alice", slot);
    const { booking: { id: bookingId } } = checkout;
    // As if the server had had these tiers.
    const kept = JSON.stringify(tiers.map(({ hours, tenths }) => ({ hours, percent: tenths / 10 })));
    await server.db.updateTable("bookings").set({ cancellation_tiers: sql`${kept}::text::jsonb` })
      .where("id", "=", bookingId).execute();
    const model = new Model(divided(BigInt(rateCents) * BigInt(minutes), 60n), tiers);
    assert.equal(checkout.booking.price, euros(model.price));
    const params = { bookingId };
    const told: (() => Promise<void>)[] = [];
    const deliver = async (event: Parameters<typeof deliverEvent>[1]) => {
      told.push(() => deliverEvent(server, event));
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
        case "refundByHand": {
          const { payment } = model;
          if (payment === null) break;
          // Nobody can give back more than there is. While ours is on its way, it is all or nothing.
          const left = payment.cents - payment.byHand - payment.asked;
          const given = step.share > 75 ? left : payment.pending > 0n ? 0n : divided(left * BigInt(step.share), 100n);
          if (given === 0n) break;
          payment.byHand += given;
          const inAll = Number(payment.byHand + payment.asked);
          const event = { id: newEventId(), checkout: checkout.checkout, payment: payment.reference, currency: "EUR" };
          await deliver({ type: "refunded", ...event, cents: inAll });
          model.look();
          break;
        }
        case "redeliver":
          await told[step.index % Math.max(1, told.length)]?.();
          break;
        case "cancel": {
          const at = Date.parse(slot.startTime) - step.ahead;
          if (model.status === "cancelled") break;
          server.clock.set(new Date(Math.max(at, server.clock.now().getTime())).toISOString());
          const ahead = Date.parse(slot.startTime) - server.clock.now().getTime();
          const expected = model.cancel(step.by, ahead);
          if (step.by === "user") {
            const { refundAmount } = await server.ok("cancelBooking", { token: alice, params });
            assert.equal(refundAmount, euros(expected), "what the cancellation says");
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
          const body = { roomId: room.id, timeslotId: slot.id };
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
    assertAmounts(booking, model, "the end");
    assert.notEqual(booking.paymentStatus, "refund_pending");
    assert.equal(booking.amountRefunded, booking.refundAmount, "all that was decided has been given back");
    for (const payment of [...model.others, ...(model.payment === null ? [] : [model.payment])]) {
      const asked = askedOf(payment.reference);
      assert.equal(asked, payment.asked, "what the provider was asked for");
      assert.equal(await recordedRefunds(server, payment.reference), asked, "what the server knows of that");
      assert(asked + payment.byHand <= payment.cents, "more was given back than was paid");
    }
    for (const { byHand, asked, cents } of model.others) {
      assert.equal(byHand + asked, cents, "what paid nothing goes back");
    }
    const now = await revenue(server);
    assert.equal(now - earlierRevenue, model.paid - model.refunded, "revenue");
    earlierRevenue = now;
  });
  await fc.assert(property, { numRuns: 100, seed: 20_260_310, endOnFailure: true });
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

/** Of a payment of 60.00, in cents: given back by hand before the cancellation, and between it and the job. */
const byHand = [
  { before: 0, between: 0, asked: 6_000n },
  { before: 2_000, between: 0, asked: 4_000n },
  { before: 4_000, between: 0, asked: 2_000n },
  { before: 6_000, between: 0, asked: 0n },
  { before: 0, between: 6_000, asked: 0n },
  { before: 2_000, between: 4_000, asked: 0n },
  // What is asked for is left to the provider and us, but there is no more than this.
  { before: 0, between: 2_000, asked: 4_000n },
  { before: 4_000, between: 500, asked: 1_500n },
];

Deno.test("a cancellation gives back all and no more, whatever the operator gives back by hand before or after it", async (t) => {
  await using server = await startServer({ env });
  const askedOf = watchRefunds(server);
  for (const { before, between, asked } of byHand) {
    await t.step(`of 60, ${before / 100} before the cancellation and ${between / 100} after it`, async () => {
      const { timeslot } = await newRoomWithTimeslot(server);
      const checkout = await newCheckout(server, "alice", timeslot);
      const request = { token: await server.token("alice"), params: { bookingId: checkout.booking.id } };
      await pay(server, checkout);
      if (before > 0) await reportRefund(server, checkout, before);
      const { refundAmount } = await server.ok("cancelBooking", request);
      assert.equal(refundAmount, 60 - before / 100);
      if (between > 0) await reportRefund(server, checkout, before + between);
      await server.work();
      assert.equal(askedOf(`payment_of_${checkout.checkout}`), asked, "cents that the provider was asked for");
      const booking = await server.ok("getBooking", request);
      assert.deepEqual([booking.paymentStatus, booking.amountRefunded, booking.refundAmount], ["refunded", 60, 60]);
    });
  }
});
