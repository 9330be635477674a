/** A server that takes payments through the stand-in for Stripe, and the steps of guests, Stripe and the operator. */
import assert from "node:assert/strict";
import { sql } from "kysely";
import type { Booking, Operations, Room, Timeslot } from "../../generated/contract.ts";
import type { Webhook } from "../../src/payments/provider.ts";
import { newRoomWithTimeslot } from "../support/builders.ts";
import {
  type Answer,
  type SharedServer,
  sharedServer,
  startServer,
  type TestServer,
  type TestServerOptions,
} from "../support/server.ts";
import {
  startStripe,
  type StripePayment,
  type StripeRequest,
  type StripeSession,
  type StripeStandIn,
} from "../support/stripe_stand_in.ts";

/** The start of a world's clock. */
export const start = "2026-03-02T10:00:00.000Z";
/** After the hold of a booking that was created at the start. */
export const afterHold = "2026-03-02T10:16:00.000Z";
/** Fifteen hours before the timeslot of `newRoomWithTimeslot`: a cancellation refunds half. */
export const inHalfTier = "2026-03-08T18:00:00.000Z";
/** Requests for a refund. */
export const onRefunds = /^POST \/v1\/refunds$/;

export interface World {
  server: TestServer;
  stripe: StripeStandIn;
}

/** A server and an account at Stripe, both of their own. */
export async function startWorld({ env, ...options }: TestServerOptions = {}): Promise<World & AsyncDisposable> {
  const stripe = await startStripe();
  const server = await startServer({ ...options, env: { ...stripe.env, ...env } });
  return {
    server,
    stripe,
    async [Symbol.asyncDispose]() {
      await server[Symbol.asyncDispose]();
      await stripe[Symbol.asyncDispose]();
    },
  };
}

let sharedStripe: ReturnType<typeof startStripe> | undefined;
Deno.test.afterAll(async () => {
  await (await sharedStripe)?.[Symbol.asyncDispose]();
  sharedStripe = undefined;
});

/**
 * The world that the tests of a shard share, prepared for one test as `sharedServer` is. Sessions, payments and refunds of
 * earlier tests are still there.
 */
export async function sharedWorld(): Promise<World & { server: SharedServer }> {
  const stripe = await (sharedStripe ??= startStripe());
  stripe.fault = undefined;
  return { server: await sharedServer({ env: stripe.env }), stripe };
}

/** Sets the clock back to the start and ends Stripe's fault, for a step with its own bookings. */
export function reset({ server, stripe }: World): void {
  server.clock.set(start);
  stripe.fault = undefined;
}

/** An unpaid booking with its checkout. */
export interface HeldBooking {
  booking: Booking;
  timeslot: Timeslot;
  /** The id of the checkout's session at Stripe. */
  session: string;
}

function sessionOf(checkoutUrl: string | null): string {
  const id = checkoutUrl?.split("/").at(-1);
  assert(id, `no session at ${checkoutUrl}`);
  return id;
}

/** Sessions of a booking at Stripe. */
export function sessionsOf({ stripe }: World, bookingId: number): StripeSession[] {
  return [...stripe.sessions.values()].filter((session) => session.client_reference_id === String(bookingId));
}

/** Creates a booking of `subject` in this timeslot. */
export async function holdTimeslot({ server }: World, timeslot: Timeslot, subject = "alice"): Promise<HeldBooking> {
  const { id: timeslotId, roomId } = timeslot;
  const request = { token: await server.token(subject), body: { roomId, timeslotId } };
  const { booking, checkoutUrl } = await server.ok("createBooking", request);
  return { booking, timeslot, session: sessionOf(checkoutUrl) };
}

/** A room with one timeslot at 60.00 EUR, a week ahead, and alice's booking of it. */
export async function newHeldBooking(world: World): Promise<HeldBooking & { room: Room }> {
  const { room, timeslot } = await newRoomWithTimeslot(world.server);
  return { room, ...await holdTimeslot(world, timeslot) };
}

/** Creates another checkout of alice's booking and returns its session. */
export async function freshCheckout({ server }: World, { booking }: { booking: Booking }): Promise<string> {
  const request = { token: await server.token("alice"), params: { bookingId: booking.id } };
  return sessionOf((await server.ok("createCheckout", request)).checkoutUrl);
}

export interface Delivery {
  provider?: string;
  headers?: Record<string, string>;
}

/** Sends an event of the provider to the webhook. */
export function send(
  server: TestServer,
  { body, headers }: Webhook,
  { provider = "stripe", headers: more = {} }: Delivery = {},
): Promise<Answer> {
  const { "content-type": _type, ...signature } = Object.fromEntries(headers);
  return server.call("receivePaymentEvent", { params: { provider }, body, headers: { ...signature, ...more } });
}

/** Sends an event that the webhook must accept. */
export async function deliver({ server }: Pick<World, "server">, webhook: Webhook): Promise<void> {
  const answer = await send(server, webhook);
  assert.deepEqual([answer.status, answer.body], [200, { message: "Event received" }]);
}

/** A guest pays the session, and Stripe reports it. */
export async function pay(
  world: World,
  session: string,
  options: { amount?: number; currency?: string } = {},
): Promise<StripePayment> {
  const payment = world.stripe.pay(session, options);
  await deliver(world, await world.stripe.completed(session));
  return payment;
}

export interface PaidBooking extends HeldBooking {
  room: Room;
  payment: StripePayment;
}

/** Alice's booking of a week ahead, paid and confirmed. */
export async function newPaidBooking(world: World): Promise<PaidBooking> {
  const held = await newHeldBooking(world);
  const payment = await pay(world, held.session);
  assert.equal((await read(world, held)).status, "confirmed");
  return { ...held, payment };
}

/** The operator refunds manually, and Stripe reports it. */
export async function refundManually(world: World, { id }: StripePayment, cents: number): Promise<void> {
  world.stripe.refundInDashboard(id, cents);
  await deliver(world, await world.stripe.refunded(id));
}

type Cancelled = Operations["cancelBooking"]["answer"]["body"];

/** Alice cancels. */
export async function cancel({ server }: World, { booking }: { booking: Booking }): Promise<Cancelled> {
  return await server.ok("cancelBooking", { token: await server.token("alice"), params: { bookingId: booking.id } });
}

/** Alice's booking, paid, then cancelled at `now`. Its refund is pending. */
export async function newCancelledBooking(world: World, now = start): Promise<PaidBooking> {
  reset(world);
  const paid = await newPaidBooking(world);
  world.server.clock.set(now);
  await cancel(world, paid);
  return paid;
}

/** An admin retries the failed refunds of the booking. */
export async function retry({ server }: World, { booking }: { booking: Booking }): Promise<Cancelled> {
  const token = await server.token("admin", "admin");
  return await server.ok("retryRefund", { token, params: { bookingId: booking.id } });
}

/** The booking as an admin sees it. */
export async function read({ server }: Pick<World, "server">, { booking }: { booking: Booking }): Promise<Booking> {
  const token = await server.token("admin", "admin");
  return await server.ok("getBooking", { token, params: { bookingId: booking.id } });
}

/** The money fields of the booking. */
export async function moneyOf(world: World, held: { booking: Booking }): Promise<Partial<Booking>> {
  const { status, paymentStatus, amountPaid, refundAmount, amountRefunded } = await read(world, held);
  return { status, paymentStatus, amountPaid, refundAmount, amountRefunded };
}

/** The money fields of a paid booking of 60.00 EUR. */
export const paidInFull = {
  status: "confirmed",
  paymentStatus: "paid",
  amountPaid: 60,
  refundAmount: 0,
  amountRefunded: 0,
};
/** The money fields after it was cancelled and refunded in full. */
export const refundedInFull = {
  status: "cancelled",
  paymentStatus: "refunded",
  amountPaid: 60,
  refundAmount: 60,
  amountRefunded: 60,
};

/** Expires the hold of every unpaid booking. */
export async function expireHolds({ server }: World): Promise<void> {
  server.clock.set(afterHold);
  await server.sweep();
}

/** Events of this booking and of its room's timeslots in the order of the feed, without those of its creation. */
export async function eventsOf(
  { server }: Pick<World, "server">,
  { booking }: { booking: Booking },
): Promise<string[]> {
  await server.settled();
  const request = { token: await server.token("admin", "admin"), query: { roomId: booking.roomId } };
  const { items } = await server.ok("listEvents", request);
  const events = items.flatMap(({ data }) => {
    if ("type" in data) return data.booking.id === booking.id ? [data.type] : [];
    return "change" in data ? [`timeslot ${data.change}`] : [];
  });
  const begin = events.indexOf("created");
  assert.deepEqual(events.slice(begin, begin + 2), ["created", "timeslot taken"]);
  return events.slice(begin + 2);
}

/** Cents of this payment that Stripe has refunded. */
export function refundedCents({ stripe }: World, { id }: StripePayment): number {
  const refunds = stripe.refunds.filter(({ status, payment_intent: of }) => status === "succeeded" && of === id);
  return refunds.reduce((sum, { amount }) => sum + amount, 0);
}

/** Every refund request for this payment that reached Stripe, failed ones included. */
export function refundRequests({ stripe }: World, { id }: StripePayment): StripeRequest[] {
  return stripe.requests.filter(({ method, path, params }) =>
    method === "POST" && path === "/v1/refunds" && params.payment_intent === id
  );
}

/** Sets every job to `left` attempts before its last. */
export async function useUpAttempts({ server }: World, left = 0): Promise<void> {
  await sql`update graphile_worker._private_jobs set attempts = max_attempts - ${left}::int`.execute(server.db);
}

/** The number of jobs in the queue. */
export async function countJobs({ server }: World): Promise<number> {
  const { rows } = await sql<{ count: number }>`select count(*)::int as count from graphile_worker.jobs`.execute(
    server.db,
  );
  return rows[0]?.count ?? 0;
}
