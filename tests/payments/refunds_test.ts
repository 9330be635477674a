/** Refunds: decided by a cancellation, and requested by a job until Stripe has made them once. */
import assert from "node:assert/strict";
import { sql } from "kysely";
import type { Booking } from "../../generated/contract.ts";
import type { StripeFault } from "../support/stripe_stand_in.ts";
import {
  cancel,
  countJobs,
  deliver,
  eventsOf,
  type HeldBooking,
  inHalfTier,
  moneyOf,
  newCancelledBooking,
  newPaidBooking,
  onRefunds,
  type PaidBooking,
  read,
  refundedCents,
  refundRequests,
  retry,
  sharedWorld,
  start,
  useUpAttempts,
  type World,
} from "./world.ts";

/** Attempts of a job. */
const maxAttempts = 14;

interface Refund {
  status: string;
  key: string;
  reference: string | null;
}

/** The only refund of a booking in the database. */
async function refundOf({ server }: World, { booking }: HeldBooking): Promise<Refund> {
  const rows = await server.db.selectFrom("refunds").where("booking_id", "=", booking.id)
    .select(["status", "idempotency_key as key", "reference"]).execute();
  const [refund] = rows;
  assert(refund && rows.length === 1, `${rows.length} refunds`);
  return refund;
}

/** The idempotency keys of refund requests for this payment, oldest first. */
function keysOf(world: World, { payment }: PaidBooking): string[] {
  return refundRequests(world, payment).map(({ headers }) => headers["idempotency-key"] ?? "");
}

/** Locks every job as a worker that took it `secondsAgo` and crashed. */
async function abandonJobs({ server }: World, secondsAgo: number): Promise<void> {
  await sql`
    update graphile_worker._private_jobs set attempts = greatest(attempts, 1), locked_by = 'crashed-worker',
      locked_at = now() - make_interval(secs => ${secondsAgo}::int)
  `.execute(server.db);
}

async function paymentStatus(world: World, held: HeldBooking): Promise<Booking["paymentStatus"]> {
  return (await read(world, held)).paymentStatus;
}

Deno.test("cancelBooking: paid booking -> answers the refund, a job requests it with its own key", async (t) => {
  const world = await sharedWorld();
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

Deno.test("updateBookingStatus: admin cancels after the start -> refunded in full", async () => {
  const world = await sharedWorld();
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

const faults: StripeFault[] = [
  { kind: 503 },
  { kind: "close" },
  { kind: "garbage" },
  { kind: 400, code: "balance_insufficient" },
  ...([500, 503, "close", "garbage"] as const).map((kind) => ({ kind, takesEffect: true })),
];

Deno.test("refund: Stripe answers wrongly -> retried with the same key, made once", async (t) => {
  const world = await sharedWorld();
  for (const fault of faults) {
    const effect = fault.takesEffect ? "makes it, and the answer is lost" : "fails";
    await t.step(`Stripe ${effect}: ${fault.code ?? fault.kind}`, async () => {
      const paid = await newCancelledBooking(world, inHalfTier);
      world.stripe.fault = { ...fault, on: onRefunds };
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

Deno.test("refund: fails 5 times, then works -> made once", async () => {
  const world = await sharedWorld();
  const paid = await newCancelledBooking(world);
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

Deno.test("retryRefund: refund failed after its last attempt -> refund_failed, then retried and made", async () => {
  const world = await sharedWorld();
  const { server, stripe } = world;
  const token = await server.token("admin", "admin");
  const paid = await newCancelledBooking(world);
  const params = { bookingId: paid.booking.id };
  await server.refused("no_failed_refund", "retryRefund", { token, params });
  const logged = server.logged.length;
  // Stripe repeats a 500 for its key.
  stripe.fault = { kind: 500, on: onRefunds };
  for (let times = 1; times <= maxAttempts; times++) {
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
  assert.equal(keysOf(world, paid).length, maxAttempts);
  assert.equal(await countJobs(world), 0);

  const failed = await read(world, paid);
  const money = { paymentStatus: "refund_failed", amountPaid: 60, refundAmount: 60, amountRefunded: 0 };
  assert.deepEqual(await moneyOf(world, paid), { status: "cancelled", ...money });
  assert.equal(failed.updatedAt, failedAt);
  const query = { roomId: paid.room.id };
  assert.deepEqual((await server.ok("listAllBookings", { token, query })).items, [failed]);
  assert.deepEqual(await server.ok("getBooking", { token: await server.token("alice"), params }), failed);
  const failures = server.logged.slice(logged).filter((entry) => entry.includes("refund failed"));
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

Deno.test("refund: Stripe refuses -> refund_failed at once, retryRefund uses another key", async (t) => {
  const world = await sharedWorld();
  const { server, stripe } = world;
  for (const kind of [400, 402] as const) {
    await t.step(String(kind), async () => {
      const paid = await newCancelledBooking(world);
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

Deno.test("retryRefund: Stripe has made the failed refund -> not made again", async (t) => {
  const world = await sharedWorld();
  const { server, stripe } = world;
  await t.step("the last answers were lost", async () => {
    const paid = await newCancelledBooking(world, inHalfTier);
    await useUpAttempts(world, 1);
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

  await t.step("Stripe reports it before the retry", async () => {
    const paid = await newCancelledBooking(world, inHalfTier);
    await useUpAttempts(world, 1);
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

  await t.step("two admins retry at once", async () => {
    const paid = await newCancelledBooking(world, inHalfTier);
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

Deno.test("refund job: its worker crashed -> done after a sweep, left alone while the worker runs", async (t) => {
  const world = await sharedWorld();
  const { server } = world;
  await t.step("the worker crashed", async () => {
    const paid = await newCancelledBooking(world);
    await abandonJobs(world, 120);
    await server.work();
    assert.equal(await paymentStatus(world, paid), "refund_pending");
    await server.sweep();
    await server.work();
    assert.equal(await paymentStatus(world, paid), "refunded");
    assert.equal(refundedCents(world, paid.payment), 6_000);
  });

  await t.step("the worker crashed after Stripe made the refund", async () => {
    const paid = await newCancelledBooking(world, inHalfTier);
    world.stripe.fault = { kind: "garbage", on: onRefunds, takesEffect: true };
    await server.work();
    world.stripe.fault = undefined;
    await abandonJobs(world, 120);
    await server.sweep();
    await server.work();
    assert.equal(await paymentStatus(world, paid), "partially_refunded");
    assert.equal(refundedCents(world, paid.payment), 3_000);
  });

  await t.step("the worker crashed in the last attempt: refund_failed", async () => {
    const paid = await newCancelledBooking(world);
    await useUpAttempts(world);
    await abandonJobs(world, 120);
    await server.sweep();
    assert.equal(await paymentStatus(world, paid), "refund_failed");
    assert.equal(await countJobs(world), 0);
    await retry(world, paid);
    await server.work();
    assert.equal(refundedCents(world, paid.payment), 6_000);
  });

  await t.step("the worker lives", async () => {
    const paid = await newCancelledBooking(world);
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
