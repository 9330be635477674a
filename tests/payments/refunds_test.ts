/** Money that goes back: decided with the cancellation, asked for by a job until Stripe takes it on, once. */
import assert from "node:assert/strict";
import { sql } from "kysely";
import type { Booking } from "../../generated/contract.ts";
import type { StripeFault } from "../support/stripe_stand_in.ts";
import {
  askedRefunds,
  cancel,
  countJobs,
  deliver,
  eventsOf,
  expireHolds,
  freshCheckout,
  givenBack,
  type Held,
  hold,
  inHalfTier,
  moneyOf,
  newHeld,
  newPaid,
  openTill,
  pay,
  read,
  restart,
  retry,
  start,
  type Till,
} from "./paying.ts";

/** One server for all tests here: each has bookings of its own. */
let till: Till;
Deno.test.beforeAll(async () => {
  till = await openTill();
});
Deno.test.afterAll(async () => await till[Symbol.asyncDispose]());
Deno.test.beforeEach(() => restart(till));

const onRefunds = /^POST \/v1\/refunds$/;
/** How often a job is tried. */
const tries = 14;

type Paid = Awaited<ReturnType<typeof newPaid>>;

/** Alice's booking of 60.00 EUR, paid, then cancelled at `now`. Its refund waits. */
async function newCancelled(till: Till, now = start): Promise<Paid> {
  restart(till);
  const paid = await newPaid(till);
  till.server.clock.set(now);
  await cancel(till, paid);
  return paid;
}

interface Refund {
  status: string;
  key: string;
  reference: string | null;
}

/** The one refund of a booking, as it is stored. */
async function refundOf({ server }: Till, { booking }: Held): Promise<Refund> {
  const rows = await server.db.selectFrom("refunds").where("booking_id", "=", booking.id)
    .select(["status", "idempotency_key as key", "reference"]).execute();
  const [refund] = rows;
  assert(refund && rows.length === 1, `${rows.length} refunds`);
  return refund;
}

/** The keys with which Stripe was asked for refunds of this payment, in the order of the requests. */
function keysOf(till: Till, { payment }: Paid): string[] {
  return askedRefunds(till, payment).map(({ headers }) => headers["idempotency-key"] ?? "");
}

/** Every job has had all its tries but `left`. */
async function useUpTries({ server }: Till, left = 0): Promise<void> {
  await sql`update graphile_worker._private_jobs set attempts = max_attempts - ${left}::int`.execute(server.db);
}

/** A worker took every job `secondsAgo`, and has not been heard of since. */
async function abandonJobs({ server }: Till, secondsAgo: number): Promise<void> {
  await sql`
    update graphile_worker._private_jobs set attempts = greatest(attempts, 1), locked_by = 'worker-that-died',
      locked_at = now() - make_interval(secs => ${secondsAgo}::int)
  `.execute(server.db);
}

async function paymentStatus(till: Till, held: Held): Promise<Booking["paymentStatus"]> {
  return (await read(till, held)).paymentStatus;
}

Deno.test("a cancellation answers what goes back, and Stripe is asked for that by a job, with the refund's own key", async (t) => {
  const { server, stripe } = till;
  for (
    const { now, refund, status } of [
      { now: "2026-03-08T09:00:00.000Z", refund: 60, status: "refunded" },
      { now: "2026-03-08T09:00:00.001Z", refund: 30, status: "partially_refunded" },
      { now: "2026-03-08T21:00:00.001Z", refund: 0, status: "paid" },
    ]
  ) {
    await t.step(`${refund}.00 at ${now}`, async () => {
      server.clock.set(start);
      const paid = await newPaid(till);
      const before = await read(till, paid);
      server.clock.set(now);
      const answer = await cancel(till, paid);
      assert.equal(answer.refundAmount, refund);
      const pending: Booking = {
        ...before,
        status: "cancelled",
        paymentStatus: refund === 0 ? "paid" : "refund_pending",
        amountRefunded: 0,
        refundAmount: refund,
        cancellationReason: "user_request",
        cancelledAt: now,
        updatedAt: now,
      };
      assert.deepEqual(answer.booking, pending);
      assert.deepEqual(await read(till, paid), pending);
      assert.equal(keysOf(till, paid).length, 0);

      await server.work();
      assert.deepEqual(await read(till, paid), { ...pending, paymentStatus: status, amountRefunded: refund });
      assert.equal(givenBack(till, paid.payment), refund * 100);
      if (refund === 0) return assert.equal(keysOf(till, paid).length, 0);
      const { key, reference } = await refundOf(till, paid);
      const keys = keysOf(till, paid);
      assert.equal(keys.length, 1);
      assert(keys[0]?.startsWith(key));
      assert.equal(askedRefunds(till, paid.payment).at(-1)?.params.amount, String(refund * 100));
      assert.equal(reference, stripe.refunds.at(-1)?.id);
      assert.deepEqual(await eventsOf(till, paid), ["confirmed", "cancelled", "timeslot freed", "refunded"]);
    });
  }
});

Deno.test("an admin's cancellation gives everything back, also after the start", async () => {
  const { server } = till;
  const paid = await newPaid(till);
  server.clock.set("2026-03-09T09:30:00.000Z");
  const params = { bookingId: paid.booking.id };
  const request = { token: await server.token("admin", "admin"), params, body: { status: "cancelled" } };
  const { paymentStatus, refundAmount, amountRefunded } = await server.ok("updateBookingStatus", request);
  assert.deepEqual([paymentStatus, refundAmount, amountRefunded], ["refund_pending", 60, 0]);
  await server.work();
  const money = {
    status: "cancelled",
    paymentStatus: "refunded",
    amountPaid: 60,
    refundAmount: 60,
    amountRefunded: 60,
  };
  assert.deepEqual(await moneyOf(till, paid), money);
  assert.equal(givenBack(till, paid.payment), 6_000);
});

const troubles: StripeFault[] = [
  { kind: 503 },
  { kind: "close" },
  { kind: "garbage" },
  { kind: 400, code: "balance_insufficient" },
  ...([500, 503, "close", "garbage"] as const).map((kind) => ({ kind, takesEffect: true })),
];

Deno.test("a refund that Stripe answers wrongly is asked for again with the same key, and made once", async (t) => {
  for (const trouble of troubles) {
    const what = trouble.takesEffect ? "takes on, but its answer is lost" : "fails";
    await t.step(`Stripe ${what}: ${trouble.code ?? trouble.kind}`, async () => {
      const paid = await newCancelled(till, inHalfTier);
      till.stripe.fault = { ...trouble, on: onRefunds };
      await till.server.work();
      till.stripe.fault = undefined;
      assert.equal(await paymentStatus(till, paid), "refund_pending");
      assert.equal((await read(till, paid)).amountRefunded, 0);
      await till.server.work();
      assert.equal(givenBack(till, paid.payment), 3_000);
      const { status, key, reference } = await refundOf(till, paid);
      assert.deepEqual([status, reference], ["succeeded", till.stripe.refunds.at(-1)?.id]);
      const keys = new Set(keysOf(till, paid));
      assert.equal(keys.size, 1);
      assert([...keys][0]?.startsWith(key));
      assert.equal(await paymentStatus(till, paid), "partially_refunded");
      assert.deepEqual(await eventsOf(till, paid), ["confirmed", "cancelled", "timeslot freed", "refunded"]);
      assert.equal(await countJobs(till), 0);
    });
  }
});

Deno.test("a refund that fails several times is made once in the end", async () => {
  const paid = await newCancelled(till);
  till.stripe.fault = { kind: "garbage", on: onRefunds };
  for (let times = 1; times <= 5; times++) {
    await till.server.work();
    assert.equal(keysOf(till, paid).length, times);
    assert.equal(await paymentStatus(till, paid), "refund_pending");
  }
  till.stripe.fault = undefined;
  await till.server.work();
  assert.equal(await paymentStatus(till, paid), "refunded");
  assert.equal(givenBack(till, paid.payment), 6_000);
});

Deno.test("after its last try a refund has failed, where an admin sees it, and can be tried again", async () => {
  const { server, stripe } = till;
  const token = await server.token("admin", "admin");
  const paid = await newCancelled(till);
  const params = { bookingId: paid.booking.id };
  await server.refused("no_failed_refund", "retryRefund", { token, params });
  const logged = server.logged.length;
  // As Stripe does it, this failure is kept for the key.
  stripe.fault = { kind: 500, on: onRefunds };
  for (let times = 1; times <= tries; times++) {
    await server.sweep();
    assert.equal(await paymentStatus(till, paid), "refund_pending");
    await server.work();
    assert.equal(keysOf(till, paid).length, times);
  }
  assert.equal(await countJobs(till), 1);
  const failedAt = "2026-03-03T15:00:00.000Z";
  server.clock.set(failedAt);
  await server.sweep();
  await server.work();
  assert.equal(keysOf(till, paid).length, tries);
  assert.equal(await countJobs(till), 0);

  const failed = await read(till, paid);
  const money = { paymentStatus: "refund_failed", amountPaid: 60, refundAmount: 60, amountRefunded: 0 };
  assert.deepEqual(await moneyOf(till, paid), { status: "cancelled", ...money });
  assert.equal(failed.updatedAt, failedAt);
  const query = { roomId: paid.room.id };
  assert.deepEqual((await server.ok("listAllBookings", { token, query })).items, [failed]);
  assert.deepEqual(await server.ok("getBooking", { token: await server.token("alice"), params }), failed);
  const failures = server.logged.slice(logged).filter((line) => line.includes("refund failed"));
  assert.equal(failures.length, 1);

  stripe.fault = undefined;
  const answer = await retry(till, paid);
  assert.equal(answer.refundAmount, 60);
  assert.deepEqual(answer.booking, { ...failed, paymentStatus: "refund_pending" });
  await server.refused("no_failed_refund", "retryRefund", { token, params });
  await server.work();
  assert.equal(await paymentStatus(till, paid), "refunded");
  assert.equal(givenBack(till, paid.payment), 6_000);
  assert.equal(new Set(keysOf(till, paid)).size, 2);
  assert.deepEqual(await eventsOf(till, paid), ["confirmed", "cancelled", "timeslot freed", "refunded"]);
  await server.refused("no_failed_refund", "retryRefund", { token, params });
});

Deno.test("a refund that Stripe refuses has failed at once", async (t) => {
  const { server, stripe } = till;
  for (const kind of [400, 402] as const) {
    await t.step(String(kind), async () => {
      const paid = await newCancelled(till);
      stripe.fault = { kind, on: onRefunds };
      await server.work();
      assert.equal(await paymentStatus(till, paid), "refund_failed");
      assert.equal(await countJobs(till), 0);
      await server.sweep();
      await server.work();
      assert.equal(keysOf(till, paid).length, 1);
      stripe.fault = undefined;
      await retry(till, paid);
      await server.work();
      assert.equal(await paymentStatus(till, paid), "refunded");
      assert.equal(givenBack(till, paid.payment), 6_000);
      assert.equal(new Set(keysOf(till, paid)).size, 2);
    });
  }
});

Deno.test("a refund that failed, but in truth was taken on, is not made again when it is tried again", async (t) => {
  const { server, stripe } = till;
  await t.step("the last answers were lost", async () => {
    const paid = await newCancelled(till, inHalfTier);
    await useUpTries(till, 1);
    stripe.fault = { kind: "garbage", on: onRefunds, takesEffect: true };
    await server.work();
    await server.sweep();
    assert.equal(await paymentStatus(till, paid), "refund_failed");
    stripe.fault = undefined;
    await retry(till, paid);
    await server.work();
    assert.equal(givenBack(till, paid.payment), 3_000);
    assert.equal(await paymentStatus(till, paid), "partially_refunded");
    assert.equal((await read(till, paid)).amountRefunded, 30);
  });

  await t.step("and Stripe tells of it before it is tried again", async () => {
    const paid = await newCancelled(till, inHalfTier);
    await useUpTries(till, 1);
    stripe.fault = { kind: "garbage", on: onRefunds, takesEffect: true };
    await server.work();
    await server.sweep();
    stripe.fault = undefined;
    await deliver(till, await stripe.refunded(paid.payment.id));
    assert.equal((await read(till, paid)).amountRefunded, 30);
    if (await paymentStatus(till, paid) === "refund_failed") await retry(till, paid);
    await server.work();
    assert.equal(givenBack(till, paid.payment), 3_000);
    assert.equal(await paymentStatus(till, paid), "partially_refunded");
    assert.deepEqual(await eventsOf(till, paid), ["confirmed", "cancelled", "timeslot freed", "refunded"]);
  });

  await t.step("two admins have it tried again at the same moment", async () => {
    const paid = await newCancelled(till, inHalfTier);
    stripe.fault = { kind: 402, on: onRefunds };
    await server.work();
    stripe.fault = undefined;
    const request = { token: await server.token("admin", "admin"), params: { bookingId: paid.booking.id } };
    const answers = await Promise.all([server.call("retryRefund", request), server.call("retryRefund", request)]);
    assert.deepEqual(answers.map(({ status }) => status).sort(), [200, 400]);
    await server.work();
    assert.equal(givenBack(till, paid.payment), 3_000);
  });
});

Deno.test("a job whose worker died is done after a sweep, and nobody takes it from one that lives", async (t) => {
  const { server } = till;
  await t.step("the worker died", async () => {
    const paid = await newCancelled(till);
    await abandonJobs(till, 120);
    await server.work();
    assert.equal(await paymentStatus(till, paid), "refund_pending");
    await server.sweep();
    await server.work();
    assert.equal(await paymentStatus(till, paid), "refunded");
    assert.equal(givenBack(till, paid.payment), 6_000);
  });

  await t.step("the worker died after Stripe had taken the refund on", async () => {
    const paid = await newCancelled(till, inHalfTier);
    till.stripe.fault = { kind: "garbage", on: onRefunds, takesEffect: true };
    await server.work();
    till.stripe.fault = undefined;
    await abandonJobs(till, 120);
    await server.sweep();
    await server.work();
    assert.equal(await paymentStatus(till, paid), "partially_refunded");
    assert.equal(givenBack(till, paid.payment), 3_000);
  });

  await t.step("the worker died at the last try: the refund has failed", async () => {
    const paid = await newCancelled(till);
    await useUpTries(till);
    await abandonJobs(till, 120);
    await server.sweep();
    assert.equal(await paymentStatus(till, paid), "refund_failed");
    assert.equal(await countJobs(till), 0);
    await retry(till, paid);
    await server.work();
    assert.equal(givenBack(till, paid.payment), 6_000);
  });

  await t.step("the worker lives", async () => {
    const paid = await newCancelled(till);
    await abandonJobs(till, 20);
    await server.sweep();
    await server.work();
    assert.equal(await paymentStatus(till, paid), "refund_pending");
    assert.equal(keysOf(till, paid).length, 0);
    await abandonJobs(till, 120);
    await server.sweep();
    await server.work();
    assert.equal(await countJobs(till), 0);
  });
});

Deno.test("revenue is what was paid minus what was given back, at each stage", async () => {
  await using till = await openTill();
  const { server, stripe } = till;
  const expectRevenue = async (revenue: number, stage: string) => {
    const stats = await server.ok("getBookingStats", { token: await server.token("admin", "admin") });
    assert.deepEqual([stats.revenue, stats.revenueByCurrency], [revenue, { EUR: revenue }], stage);
  };
  const held = await newHeld(till);
  await expectRevenue(0, "unpaid");
  await pay(till, held.session, { amount: 5_000 });
  await expectRevenue(0, "another amount was paid");
  await server.work();
  await expectRevenue(0, "and went back");
  await pay(till, await freshCheckout(till, held));
  await expectRevenue(60, "paid");
  server.clock.set(inHalfTier);
  await cancel(till, held);
  await expectRevenue(60, "half of it is to go back");
  stripe.fault = { kind: 402, on: onRefunds };
  await server.work();
  assert.equal(await paymentStatus(till, held), "refund_failed");
  await expectRevenue(60, "it could not go back");
  stripe.fault = undefined;
  await retry(till, held);
  await expectRevenue(60, "it is tried again");
  await server.work();
  await expectRevenue(30, "half of it went back");

  server.clock.set(start);
  const late = await newHeld(till);
  stripe.pay(late.session);
  await expireHolds(till);
  await hold(till, late.timeslot, "bob");
  await deliver(till, await stripe.completed(late.session));
  server.clock.set(inHalfTier);
  await expectRevenue(90, "a payment that came too late is on its way back");
  await server.work();
  await expectRevenue(30, "and is back");
});
