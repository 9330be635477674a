/** Users and jobs meet a payment provider that fails in each of its ways. Limits of its answers end by a fake time. */
import assert from "node:assert/strict";
import { sql } from "kysely";
import type { Booking } from "../../generated/contract.ts";
import { providerLimitMs } from "../../src/payments/ask.ts";
import { attemptLimitMs } from "../../src/payments/stripe.ts";
import { newBooking, newRoom, newRoomWithTimeslot, newTimeslots } from "../support/builders.ts";
import { eventually } from "../support/process.ts";
import { stopProviderTime } from "../support/provider_time.ts";
import type { TestServer } from "../support/server.ts";
import type { StripeFault } from "../support/stripe_stand_in.ts";
import {
  holdTimeslot,
  pay,
  read,
  reset,
  retry,
  sessionsOf,
  sharedWorld,
  startWorld,
  useUpAttempts,
  type World,
} from "./world.ts";

/** Other tests cover faults while a checkout is closed. */
const faults: StripeFault[] = (["slow", "drip", "close", 500, "garbage"] as const).flatMap((kind) => [
  { kind, on: /(refunds|sessions)$/ },
  { kind, on: /^POST .*(refunds|sessions)$/, takesEffect: true },
]);

async function hasOpenTransactions({ db }: TestServer): Promise<boolean> {
  const { rows } = await sql`
    select from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()
      and backend_type = 'client backend' and xact_start is not null
  `.execute(db);
  return rows.length > 0;
}

/**
 * Works until the booking is refunded. Stripe repeats a 500 for its key for a day. That refund fails after its last attempt,
 * and an admin retries it.
 */
async function finishRefund(world: World, booking: Booking): Promise<void> {
  const { server } = world;
  await server.work();
  if ((await read(world, { booking })).paymentStatus === "refund_pending") {
    await useUpAttempts(world);
    await server.sweep();
    await retry(world, { booking });
    await server.work();
  }
}

/** Users book, create checkouts and await a refund while the provider fails, and again when it works. */
async function meet(world: World, fault: StripeFault): Promise<void> {
  reset(world);
  const { server, stripe } = world;
  const slots = await newTimeslots(server, await newRoom(server), { date: "2026-03-09" });
  const [paidSlot, heldSlot, otherSlot, ...freeSlots] = slots;
  assert(paidSlot && heldSlot && otherSlot);
  const token = await server.token("alice");
  const { booking: paid, session } = await holdTimeslot(world, paidSlot);
  const payment = await pay(world, session);
  const held = await newBooking(server, "alice", heldSlot);
  const other = await newBooking(server, "alice", otherSlot);

  stripe.fault = fault;
  using time = stopProviderTime(stripe);
  const cancelled = await server.ok("cancelBooking", { token, params: { bookingId: paid.id } });
  assert.equal(cancelled.refundAmount, 60);
  let isWaiting = true;
  const failing = Promise.all([
    Promise.all(
      freeSlots.slice(0, 3).map(({ roomId, id: timeslotId }) =>
        server.ok("createBooking", { token, body: { roomId, timeslotId } })
      ),
    ),
    server.refused("payment_provider_unavailable", "createCheckout", { token, params: { bookingId: held.id } }),
    server.work(),
  ]).finally(() => isWaiting = false);
  const check = async () => {
    // A transaction that waits for the provider would stay open.
    await eventually(async () => !await hasOpenTransactions(server));
    await server.ok("listBookings", { token });
    await server.ok("cancelBooking", { token, params: { bookingId: other.id } });
    if (fault.kind === "slow" || fault.kind === "drip") assert(isWaiting);
  };
  const [[created]] = await Promise.all([failing, time.endAttempts(fault, { count: 5, check })]);

  for (const { booking, checkoutUrl, message } of created) {
    assert.equal(checkoutUrl, null);
    assert(message.includes(`POST /api/v1/bookings/${booking.id}/checkout`), message);
    assert.deepEqual([booking.status, booking.paymentStatus], ["pending", "unpaid"]);
  }
  assert.equal((await read(world, { booking: paid })).paymentStatus, "refund_pending");

  stripe.fault = undefined;
  for (const booking of [held, ...created.map(({ booking }) => booking)]) {
    const call = { token, params: { bookingId: booking.id } };
    const { checkoutUrl } = await server.ok("createCheckout", call);
    assert(sessionsOf(world, booking.id).some(({ url, status }) => url === checkoutUrl && status === "open"));
  }
  await finishRefund(world, paid);
  const refunded = await read(world, { booking: paid });
  assert.deepEqual([refunded.paymentStatus, refunded.amountRefunded], ["refunded", 60]);
  const refunds = stripe.refunds.filter(({ payment_intent }) => payment_intent === payment.id);
  assert.deepEqual(refunds.map(({ amount }) => amount), [6_000]);
  const events = await server.db.selectFrom("booking_events").select("type").where("booking_id", "=", paid.id)
    .where("type", "=", "refunded").execute();
  assert.equal(events.length, 1);
}

Deno.test("payment provider: any fault -> requests answered, no open transaction, one refund later", async (t) => {
  assert(2 * attemptLimitMs < providerLimitMs, "a second attempt cannot end in time");
  // Fewer database connections than requests that wait for the provider.
  await using world = await startWorld({ pool: 2 });
  for (const fault of faults) {
    const effect = fault.takesEffect ? "the request takes effect" : "the request has no effect";
    await t.step(`${fault.kind}, ${effect}`, () => meet(world, fault));
  }
});

Deno.test("createBooking: provider silent until the limit of all attempts -> 201 without checkoutUrl", async () => {
  const { server, stripe } = await sharedWorld();
  const { timeslot: { id: timeslotId, roomId } } = await newRoomWithTimeslot(server);
  stripe.fault = { kind: "slow", on: /sessions$/ };
  using time = stopProviderTime(stripe);
  const asked = stripe.nextRequest(/sessions$/);
  const answer = server.ok("createBooking", { token: await server.token("alice"), body: { roomId, timeslotId } });
  await asked;
  // Both limits end at once, so nobody waits for the retry of the first attempt.
  const retried = stripe.nextRequest(/sessions$/);
  time.pass(providerLimitMs);
  assert.equal((await answer).checkoutUrl, null);
  await retried;
  stripe.release();
});
