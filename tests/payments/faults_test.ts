/**
 * A provider that fails in each of its ways, while it is asked for checkouts and refunds. Attempts end by a limit of 8 seconds,
 * so all faults are met at the same time and the file takes about 10 seconds.
 */
import assert from "node:assert/strict";
import { sql } from "kysely";
import type { Booking, Timeslot } from "../../generated/contract.ts";
import { newBooking, newRoom, newTimeslots } from "../support/builders.ts";
import { eventually } from "../support/process.ts";
import { startServer, type TestServer } from "../support/server.ts";
import { startStripe, type StripeFault, type StripeSession, type StripeStandIn } from "../support/stripe_stand_in.ts";

/** No request takes longer: to ask the provider a second time, say. What is beyond its 8 seconds is for a busy machine. */
const limitMs = 15_000;

/** Closing a checkout is not what this is about. */
const faults: StripeFault[] = (["slow", "drip", "close", 500, "garbage"] as const).flatMap((kind) => [
  { kind, on: /(refunds|sessions)$/ },
  { kind, on: /^POST .*(refunds|sessions)$/, takesEffect: true },
]);

interface World extends AsyncDisposable {
  server: TestServer;
  stripe: StripeStandIn;
  /** At 60.00 EUR. */
  slots: Timeslot[];
}

/** A server with fewer connections for statements than there will be requests that wait for the provider. */
async function newWorld(): Promise<World> {
  await using stack = new AsyncDisposableStack();
  const stripe = stack.use(await startStripe());
  const server = stack.use(await startServer({ env: stripe.env, pool: 2 }));
  const slots = await newTimeslots(server, await newRoom(server), { date: "2026-03-09" });
  const whole = stack.move();
  return { server, stripe, slots, [Symbol.asyncDispose]: () => whole.disposeAsync() };
}

async function newPaidBooking({ server, stripe }: World, subject: string, slot: Timeslot): Promise<Booking> {
  const booking = await newBooking(server, subject, slot);
  const [session] = sessionsOf(stripe, booking);
  assert(session);
  stripe.pay(session.id);
  const { body, headers } = await stripe.completed(session.id);
  const call = { params: { provider: "stripe" }, body, headers: Object.fromEntries(headers) };
  await server.ok("receivePaymentEvent", call);
  return booking;
}

function sessionsOf({ sessions }: StripeStandIn, { id }: Booking): StripeSession[] {
  return [...sessions.values()].filter((session) => session.client_reference_id === String(id));
}

/** Fails when the answer takes longer than any request may. */
async function inTime<Result>(answer: Promise<Result>): Promise<Result> {
  const start = performance.now();
  const result = await answer;
  const ms = Math.round(performance.now() - start);
  assert(ms < limitMs, `a request took ${ms} ms`);
  return result;
}

async function hasOpenTransactions({ db }: TestServer): Promise<boolean> {
  const { rows } = await sql`
    select from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()
      and backend_type = 'client backend' and xact_start is not null
  `.execute(db);
  return rows.length > 0;
}

/**
 * Works until the refund of a booking has arrived. Stripe answers a key that it failed for with 500 the same for a day: that
 * refund has failed in the end, and an admin has it tried again.
 */
async function finishRefund(server: TestServer, bookingId: number): Promise<void> {
  const admin = { token: await server.token("admin", "admin"), params: { bookingId } };
  await eventually(async () => {
    await server.work();
    await server.sweep();
    const { paymentStatus } = await server.ok("getBooking", admin);
    if (paymentStatus === "refund_failed") await server.ok("retryRefund", admin);
    return paymentStatus === "refunded";
  });
}

/** Users book, get checkouts and have a refund coming while the provider fails, and again when it is well. */
async function meet(fault: StripeFault): Promise<void> {
  await using world = await newWorld();
  const { server, stripe, slots: [paidSlot, heldSlot, otherSlot, ...freeSlots] } = world;
  assert(paidSlot && heldSlot && otherSlot);
  const token = await server.token("alice");
  const { id: paidId } = await newPaidBooking(world, "alice", paidSlot);
  const held = await newBooking(server, "alice", heldSlot);
  const other = await newBooking(server, "alice", otherSlot);

  stripe.fault = fault;
  const asked = [/\/checkout\/sessions$/, /\/refunds$/].map((on) => stripe.nextRequest(on));
  const cancelled = await inTime(server.ok("cancelBooking", { token, params: { bookingId: paidId } }));
  assert.equal(cancelled.refundAmount, 60);
  let hangs = true;
  const failing = Promise.all([
    Promise.all(
      freeSlots.slice(0, 3).map(({ roomId, id: timeslotId }) =>
        inTime(server.ok("createBooking", { token, body: { roomId, timeslotId } }))
      ),
    ),
    inTime(server.refused("payment_provider_unavailable", "createCheckout", { token, params: { bookingId: held.id } })),
    server.work(),
  ]).finally(() => hangs = false);
  await Promise.race([Promise.all(asked), failing]);

  // An open transaction would be seen for as long as the provider hangs.
  await eventually(async () => !await hasOpenTransactions(server));
  await server.ok("listBookings", { token });
  await server.ok("cancelBooking", { token, params: { bookingId: other.id } });
  if (fault.kind === "slow" || fault.kind === "drip") assert(hangs);

  const [created] = await failing;
  for (const { booking, checkoutUrl, message } of created) {
    assert.equal(checkoutUrl, null);
    assert(message.includes(`POST /api/v1/bookings/${booking.id}/checkout`), message);
    assert.deepEqual([booking.status, booking.paymentStatus], ["pending", "unpaid"]);
  }
  const { paymentStatus } = await server.ok("getBooking", { token, params: { bookingId: paidId } });
  assert.equal(paymentStatus, "refund_pending");

  stripe.fault = undefined;
  for (const booking of [held, ...created.map(({ booking }) => booking)]) {
    const call = { token, params: { bookingId: booking.id } };
    const { checkoutUrl } = await inTime(server.ok("createCheckout", call));
    assert(sessionsOf(stripe, booking).some(({ url, status }) => url === checkoutUrl && status === "open"));
  }
  await finishRefund(server, paidId);
  const refunded = await server.ok("getBooking", { token, params: { bookingId: paidId } });
  assert.deepEqual([refunded.paymentStatus, refunded.amountRefunded], ["refunded", 60]);
  assert.deepEqual(stripe.refunds.map(({ amount }) => amount), [6_000]);
  const events = await server.db.selectFrom("booking_events").select("type").where("booking_id", "=", paidId)
    .where("type", "=", "refunded").execute();
  assert.equal(events.length, 1);
}

Deno.test("whatever goes wrong at the provider, requests are answered in time and nothing is lost or open meanwhile", async () => {
  await Promise.all(faults.map(async (fault) => {
    try {
      await meet(fault);
    } catch (cause) {
      const done = fault.takesEffect ? "what it was asked for was done" : "nothing was done";
      throw new Error(`the provider's fault was ${fault.kind}, and ${done}`, { cause });
    }
  }));
});
