/** Money that goes back: decided with the cancellation, asked for by a job until Stripe takes it on, once. */
import assert from "node:assert/strict";
import { sql } from "kysely";
import type { Booking } from "../../generated/contract.ts";
import type { StripeFault } from "../support/stripe_stand_in.ts";
import {
  cancel,
  countJobs,
  deliver,
  eventsOf,
  expireHolds,
  freshCheckout,
  type HeldBooking,
  holdTimeslot,
  inHalfTier,
  moneyOf,
  newHeldBooking,
  newPaidBooking,
  pay,
  read,
  refundedCents,
  refundRequests,
  reset,
  retry,
  start,
  startWorld,
  type World,
} from "./world.ts";

/** One server for all tests here: each has bookings of its own. */
let world: World & AsyncDisposable;
Deno.test.beforeAll(async () => {
  world = await startWorld();
});
Deno.test.afterAll(async () => await world[Symbol.asyncDispose]());
Deno.test.beforeEach(() => reset(world));

const onRefunds = /^POST \/v1\/refunds$/;
/** How often a job is tried. */
const tries = 14;

type Paid = Awaited<ReturnType<typeof newPaidBooking>>;

/** Alice's booking of 60.00 EUR, paid, then cancelled at `now`. Its refund waits. */
async function newCancelled(world: World, now = start): Promise<Paid> {
  reset(world);
  const paid = await newPaidBooking(world);
  world.server.clock.set(now);
  await cancel(world, paid);
  return paid;
}

interface Refund {
  status: string;
  key: string;
  reference: string | null;
}

/** The one refund of a booking, as it is stored. */
async function refundOf({ server }: World, { booking }: HeldBooking): Promise<Refund> {
  const rows = await server.db.selectFrom("refunds").where("booking_id", "=", booking.id)
    .select(["status", "idempotency_key as key", "reference"]).execute();
  const [refund] = rows;
  assert(refund && rows.length === 1, `${rows.length} refunds`);
  return refund;
}

/** The keys with which Stripe was asked for refunds of this payment, in the order of the requests. */
function keysOf(world: World, { payment }: Paid): string[] {
  return refundRequests(world, payment).map(({ headers }) => headers["idempotency-key"] ?? "");
}

/** Every job has had all its tries but `left`. */
async function useUpTries({ server }: World, left = 0): Promise<void> {
  await sql`update graphile_worker._private_jobs set attempts = max_attempts - ${left}::int`.execute(server.db);
}

/** A worker took every job `secondsAgo`, and has not been heard of since. */
async function abandonJobs({ server }: World, secondsAgo: number): Promise<void> {
  await sql`
    update graphile_worker._private_jobs set attempts = greatest(attempts, 1), locked_by = 'worker-that-died',
      locked_at = now() - make_interval(secs => ${secondsAgo}::int)
  `.execute(server.db);
}

async function paymentStatus(world: World, held: HeldBooking): Promise<Booking["paymentStatus"]> {
  return (await read(world, held)).paymentStatus;
}

Deno.test("a cancellation answers what goes back, and Stripe is asked for that by a job, with the refund's own key", async (t) => {
  const { server, stripe } = world;
  for (
    const { now, refund, status } of [
      { now: "2026-03-08T09:00:00.000Z", refund: 60, status: "refunded" },
      { now: "2026-03-08T09:00:00.001Z", refund: 30, status: "partially_refunded" },
      { now: "2026-03-08T21:00:00.001Z", refund: 0, status: "paid" },
    ]
  ) {
    await t.step(`${refund}.00 at ${now}`, async () => {
      server.clock.set(start);
      const paid = await newPaidBooking(world);
      const before = await read(world, paid);
      server.clock.set(now);
      const answer = await cancel(world, paid);
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
      assert.deepEqual(await read(world, paid), pending);
      assert.equal(keysOf(world, paid).length, 0);

      await server.work();
      assert.deepEqual(await read(world, paid), { ...pending, paymentStatus: status, amountRefunded: refund });
      assert.equal(refundedCents(world, paid.payment), refund * 100);
      if (refund === 0) return assert.equal(keysOf(world, paid).length, 0);
      const { key, reference } = await refundOf(world, paid);
      const keys = keysOf(world, paid);
      assert.equal(keys.length, 1);
      assert(keys[0]?.startsWith(key));
      assert.equal(refundRequests(world, paid.payment).at(-1)?.params.amount, String(refund * 100));
      assert.equal(reference, stripe.refunds.at(-1)?.id);
      assert.deepEqual(await eventsOf(world, paid), ["confirmed", "cancelled", "timeslot freed", "refunded"]);
    });
  }
});

Deno.test("an admin's cancellation gives everything back, also after the start", async () => {
  const { server } = world;
  const paid = await newPaidBooking(world);
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
  assert.deepEqual(await moneyOf(world, paid), money);
  assert.equal(refundedCents(world, paid.payment), 6_000);
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
      const paid = await newCancelled(world, inHalfTier);
      world.stripe.fault = { ...trouble, on: onRefunds };
      await world.server.work();
      world.stripe.fault = undefined;
      assert.equal(await paymentStatus(world, paid), "refund_pending");
      assert.equal((await read(world, paid)).amountRefunded, 0);
      await world.server.work();
      assert.equal(refundedCents(world, paid.payment), 3_000);
      const { status, key, reference } = await refundOf(world, paid);
      assert.deepEqual([status, reference], ["succeeded", world.stripe.refunds.at(-1)?.id]);
      const keys = new Set(keysOf(world, paid));
      assert.equal(keys.size, 1);
      assert([...keys][0]?.startsWith(key));
      assert.equal(await paymentStatus(world, paid), "partially_refunded");
      assert.deepEqual(await eventsOf(world, paid), ["confirmed", "cancelled", "timeslot freed", "refunded"]);
      assert.equal(await countJobs(world), 0);
    });
  }
});

Deno.test("a refund that fails several times is made once in the end", async () => {
  const paid = await newCancelled(world);
  world.stripe.fault = { kind: "garbage", on: onRefunds };
  for (let times = 1; times <= 5; times++) {
    await world.server.work();
    assert.equal(keysOf(world, paid).length, times);
    assert.equal(await paymentStatus(world, paid), "refund_pending");
  }
  world.stripe.fault = undefined;
  await world.server.work();
  assert.equal(await paymentStatus(world, paid), "refunded");
  assert.equal(refundedCents(world, paid.payment), 6_000);
});

Deno.test("after its last try a refund has failed, where an admin sees it, and can be tried again", async () => {
  const { server, stripe } = world;
  const token = await server.token("admin", "admin");
  const paid = await newCancelled(world);
  const params = { bookingId: paid.booking.id };
  await server.refused("no_failed_refund", "retryRefund", { token, params });
  const logged = server.logged.length;
  // As Stripe does it, this failure is kept for the key.
  stripe.fault = { kind: 500, on: onRefunds };
  for (let times = 1; times <= tries; times++) {
    await server.sweep();
    assert.equal(await paymentStatus(world, paid), "refund_pending");
    await server.work();
    assert.equal(keysOf(world, paid).length, times);
  }
  assert.equal(await countJobs(world), 1);
  const failedAt = "2026-03-03T15:00:00.000Z";
  server.clock.set(failedAt);
  await server.sweep();
  await server.work();
  assert.equal(keysOf(world, paid).length, tries);
  assert.equal(await countJobs(world), 0);

  const failed = await read(world, paid);
  const money = { paymentStatus: "refund_failed", amountPaid: 60, refundAmount: 60, amountRefunded: 0 };
  assert.deepEqual(await moneyOf(world, paid), { status: "cancelled", ...money });
  assert.equal(failed.updatedAt, failedAt);
  const query = { roomId: paid.room.id };
  assert.deepEqual((await server.ok("listAllBookings", { token, query })).items, [failed]);
  assert.deepEqual(await server.ok("getBooking", { token: await server.token("alice"), params }), failed);
  const failures = server.logged.slice(logged).filter((line) => line.includes("refund failed"));
  assert.equal(failures.length, 1);

  stripe.fault = undefined;
  const answer = await retry(world, paid);
  assert.equal(answer.refundAmount, 60);
  assert.deepEqual(answer.booking, { ...failed, paymentStatus: "refund_pending" });
  await server.refused("no_failed_refund", "retryRefund", { token, params });
  await server.work();
  assert.equal(await paymentStatus(world, paid), "refunded");
  assert.equal(refundedCents(world, paid.payment), 6_000);
  assert.equal(new Set(keysOf(world, paid)).size, 2);
  assert.deepEqual(await eventsOf(world, paid), ["confirmed", "cancelled", "timeslot freed", "refunded"]);
  await server.refused("no_failed_refund", "retryRefund", { token, params });
});

Deno.test("a refund that Stripe refuses has failed at once", async (t) => {
  const { server, stripe } = world;
  for (const kind of [400, 402] as const) {
    await t.step(String(kind), async () => {
      const paid = await newCancelled(world);
      stripe.fault = { kind, on: onRefunds };
      await server.work();
      assert.equal(await paymentStatus(world, paid), "refund_failed");
      assert.equal(await countJobs(world), 0);
      await server.sweep();
      await server.work();
      assert.equal(keysOf(world, paid).length, 1);
      stripe.fault = undefined;
      await retry(world, paid);
      await server.work();
      assert.equal(await paymentStatus(world, paid), "refunded");
      assert.equal(refundedCents(world, paid.payment), 6_000);
      assert.equal(new Set(keysOf(world, paid)).size, 2);
    });
  }
});

Deno.test("a refund that failed, but in truth was taken on, is not made again when it is tried again", async (t) => {
  const { server, stripe } = world;
  await t.step("the last answers were lost", async () => {
    const paid = await newCancelled(world, inHalfTier);
    await useUpTries(world, 1);
    stripe.fault = { kind: "garbage", on: onRefunds, takesEffect: true };
    await server.work();
    await server.sweep();
    assert.equal(await paymentStatus(world, paid), "refund_failed");
    stripe.fault = undefined;
    await retry(world, paid);
    await server.work();
    assert.equal(refundedCents(world, paid.payment), 3_000);
    assert.equal(await paymentStatus(world, paid), "partially_refunded");
    assert.equal((await read(world, paid)).amountRefunded, 30);
  });

  await t.step("and Stripe tells of it before it is tried again", async () => {
    const paid = await newCancelled(world, inHalfTier);
    await useUpTries(world, 1);
    stripe.fault = { kind: "garbage", on: onRefunds, takesEffect: true };
    await server.work();
    await server.sweep();
    stripe.fault = undefined;
    await deliver(world, await stripe.refunded(paid.payment.id));
    assert.equal((await read(world, paid)).amountRefunded, 30);
    if (await paymentStatus(world, paid) === "refund_failed") await retry(world, paid);
    await server.work();
    assert.equal(refundedCents(world, paid.payment), 3_000);
    assert.equal(await paymentStatus(world, paid), "partially_refunded");
    assert.deepEqual(await eventsOf(world, paid), ["confirmed", "cancelled", "timeslot freed", "refunded"]);
  });

  await t.step("two admins have it tried again at the same moment", async () => {
    const paid = await newCancelled(world, inHalfTier);
    stripe.fault = { kind: 402, on: onRefunds };
    await server.work();
    stripe.fault = undefined;
    const request = { token: await server.token("admin", "admin"), params: { bookingId: paid.booking.id } };
    const answers = await Promise.all([server.call("retryRefund", request), server.call("retryRefund", request)]);
    assert.deepEqual(answers.map(({ status }) => status).sort(), [200, 400]);
    await server.work();
    assert.equal(refundedCents(world, paid.payment), 3_000);
  });
});

Deno.test("a job whose worker died is done after a sweep, and nobody takes it from one that lives", async (t) => {
  const { server } = world;
  await t.step("the worker died", async () => {
    const paid = await newCancelled(world);
    await abandonJobs(world, 120);
    await server.work();
    assert.equal(await paymentStatus(world, paid), "refund_pending");
    await server.sweep();
    await server.work();
    assert.equal(await paymentStatus(world, paid), "refunded");
    assert.equal(refundedCents(world, paid.payment), 6_000);
  });

  await t.step("the worker died after Stripe had taken the refund on", async () => {
    const paid = await newCancelled(world, inHalfTier);
    world.stripe.fault = { kind: "garbage", on: onRefunds, takesEffect: true };
    await server.work();
    world.stripe.fault = undefined;
    await abandonJobs(world, 120);
    await server.sweep();
    await server.work();
    assert.equal(await paymentStatus(world, paid), "partially_refunded");
    assert.equal(refundedCents(world, paid.payment), 3_000);
  });

  await t.step("the worker died at the last try: the refund has failed", async () => {
    const paid = await newCancelled(world);
    await useUpTries(world);
    await abandonJobs(world, 120);
    await server.sweep();
    assert.equal(await paymentStatus(world, paid), "refund_failed");
    assert.equal(await countJobs(world), 0);
    await retry(world, paid);
    await server.work();
    assert.equal(refundedCents(world, paid.payment), 6_000);
  });

  await t.step("the worker lives", async () => {
    const paid = await newCancelled(world);
    await abandonJobs(world, 20);
    await server.sweep();
    await server.work();
    assert.equal(await paymentStatus(world, paid), "refund_pending");
    assert.equal(keysOf(world, paid).length, 0);
    await abandonJobs(world, 120);
    await server.sweep();
    await server.work();
    assert.equal(await countJobs(world), 0);
  });
});

Deno.test("revenue is what was paid minus what was given back, at each stage", async () => {
  await using world = await startWorld();
  const { server, stripe } = world;
  const expectRevenue = async (revenue: number, stage: string) => {
    const stats = await server.ok("getBookingStats", { token: await server.token("admin", "admin") });
    assert.deepEqual([stats.revenue, stats.revenueByCurrency], [revenue, { EUR: revenue }], stage);
  };
  const held = await newHeldBooking(world);
  await expectRevenue(0, "unpaid");
  await pay(world, held.session, { amount: 5_000 });
  await expectRevenue(0, "another amount was paid");
  await server.work();
  await expectRevenue(0, "and went back");
  await pay(world, await freshCheckout(world, held));
  await expectRevenue(60, "paid");
  server.clock.set(inHalfTier);
  await cancel(world, held);
  await expectRevenue(60, "half of it is to go back");
  stripe.fault = { kind: 402, on: onRefunds };
  await server.work();
  assert.equal(await paymentStatus(world, held), "refund_failed");
  await expectRevenue(60, "it could not go back");
  stripe.fault = undefined;
  await retry(world, held);
  await expectRevenue(60, "it is tried again");
  await server.work();
  await expectRevenue(30, "half of it went back");

  server.clock.set(start);
  const late = await newHeldBooking(world);
  stripe.pay(late.session);
  await expireHolds(world);
  await holdTimeslot(world, late.timeslot, "bob");
  await deliver(world, await stripe.completed(late.session));
  server.clock.set(inHalfTier);
  await expectRevenue(90, "a payment that came too late is on its way back");
  await server.work();
  await expectRevenue(30, "and is back");
});
