/** A server that is paid through the stand-in for Stripe, and what guests, Stripe and the operator do with both. */
import assert from "node:assert/strict";
import { sql } from "kysely";
import type { Booking, Operations, Room, Timeslot } from "../../generated/contract.ts";
import type { Webhook } from "../../src/payments/provider.ts";
import { newRoomWithTimeslot } from "../support/builders.ts";
import { type Answer, startServer, type TestServer, type TestServerOptions } from "../support/server.ts";
import { startStripe, type StripePayment, type StripeRequest, type StripeStandIn } from "../support/stripe_stand_in.ts";

/** When the clock of a till starts. */
export const start = "2026-03-02T10:00:00.000Z";
/** After the hold of a booking that was made at the start. */
export const afterHold = "2026-03-02T10:16:00.000Z";
/** Fifteen hours before the timeslot of `newRoomWithTimeslot`: a cancellation refunds half. */
export const inHalfTier = "2026-03-08T18:00:00.000Z";

export interface Till extends AsyncDisposable {
  server: TestServer;
  stripe: StripeStandIn;
}

/** A server and an account at Stripe, both of their own. */
export async function openTill({ env, ...options }: TestServerOptions = {}): Promise<Till> {
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

/** Takes the clock back and ends what befalls Stripe, for a step with bookings of its own. */
export function restart({ server, stripe }: Till): void {
  server.clock.set(start);
  stripe.fault = undefined;
}

/** A booking that waits for its payment. */
export interface Held {
  booking: Booking;
  timeslot: Timeslot;
  /** The id of the session where it can be paid. */
  session: string;
}

function sessionOf(checkoutUrl: string | null): string {
  const id = checkoutUrl?.split("/").at(-1);
  assert(id, `no session at ${checkoutUrl}`);
  return id;
}

/** A booking of `subject` in this timeslot, with its checkout. */
export async function hold({ server }: Till, timeslot: Timeslot, subject = "alice"): Promise<Held> {
  const { id: timeslotId, roomId } = timeslot;
  const request = { token: await server.token(subject), body: { roomId, timeslotId } };
  const { booking, checkoutUrl } = await server.ok("createBooking", request);
  return { booking, timeslot, session: sessionOf(checkoutUrl) };
}

/** A room with one timeslot at 60.00 EUR, a week ahead, and alice's booking of it. */
export async function newHeld(till: Till): Promise<Held & { room: Room }> {
  const { room, timeslot } = await newRoomWithTimeslot(till.server);
  return { room, ...await hold(till, timeslot) };
}

/** Asks for a fresh checkout of alice's booking; its session. */
export async function freshCheckout({ server }: Till, { booking }: { booking: Booking }): Promise<string> {
  const request = { token: await server.token("alice"), params: { bookingId: booking.id } };
  return sessionOf((await server.ok("createCheckout", request)).checkoutUrl);
}

export interface Delivery {
  provider?: string;
  headers?: Record<string, string>;
}

/** Sends a message of the provider to the webhook. */
export function send(
  server: TestServer,
  { body, headers }: Webhook,
  { provider = "stripe", headers: more = {} }: Delivery = {},
): Promise<Answer> {
  const { "content-type": _type, ...signature } = Object.fromEntries(headers);
  return server.call("receivePaymentEvent", { params: { provider }, body, headers: { ...signature, ...more } });
}

/** The same, for a message that has to be taken. */
export async function deliver({ server }: Pick<Till, "server">, webhook: Webhook): Promise<void> {
  const answer = await send(server, webhook);
  assert.deepEqual([answer.status, answer.body], [200, { message: "Event received" }]);
}

/** A guest pays the session, and Stripe tells it. */
export async function pay(
  till: Till,
  session: string,
  options: { amount?: number; currency?: string } = {},
): Promise<StripePayment> {
  const payment = till.stripe.pay(session, options);
  await deliver(till, await till.stripe.completed(session));
  return payment;
}

/** Alice's booking of a week ahead, paid and confirmed. */
export async function newPaid(till: Till): Promise<Held & { room: Room; payment: StripePayment }> {
  const held = await newHeld(till);
  const payment = await pay(till, held.session);
  assert.equal((await read(till, held)).status, "confirmed");
  return { ...held, payment };
}

/** The operator gives money back by hand, and Stripe tells it. */
export async function refundByHand(till: Till, { id }: StripePayment, cents: number): Promise<void> {
  till.stripe.refundInDashboard(id, cents);
  await deliver(till, await till.stripe.refunded(id));
}

type Cancelled = Operations["cancelBooking"]["answer"]["body"];

/** Alice cancels. */
export async function cancel({ server }: Till, { booking }: { booking: Booking }): Promise<Cancelled> {
  return await server.ok("cancelBooking", { token: await server.token("alice"), params: { bookingId: booking.id } });
}

/** An admin has the failed refunds of the booking tried again. */
export async function retry({ server }: Till, { booking }: { booking: Booking }): Promise<Cancelled> {
  const token = await server.token("admin", "admin");
  return await server.ok("retryRefund", { token, params: { bookingId: booking.id } });
}

/** The booking as an admin sees it. */
export async function read({ server }: Pick<Till, "server">, { booking }: { booking: Booking }): Promise<Booking> {
  const token = await server.token("admin", "admin");
  return await server.ok("getBooking", { token, params: { bookingId: booking.id } });
}

/** What the booking says about money. */
export async function moneyOf(till: Till, held: { booking: Booking }): Promise<Partial<Booking>> {
  const { status, paymentStatus, amountPaid, refundAmount, amountRefunded } = await read(till, held);
  return { status, paymentStatus, amountPaid, refundAmount, amountRefunded };
}

/** What a booking of 60.00 EUR says that is paid. */
export const paidInFull = {
  status: "confirmed",
  paymentStatus: "paid",
  amountPaid: 60,
  refundAmount: 0,
  amountRefunded: 0,
};
/** What it says when it is cancelled and all has been given back. */
export const givenBackInFull = {
  status: "cancelled",
  paymentStatus: "refunded",
  amountPaid: 60,
  refundAmount: 60,
  amountRefunded: 60,
};

/** Lets the hold of everything that is not paid expire. */
export async function expireHolds({ server }: Till): Promise<void> {
  server.clock.set(afterHold);
  await server.sweep();
}

/** What happened to this booking and to the timeslots of its room, in the order of the feed, without what began it. */
export async function eventsOf(
  { server }: Pick<Till, "server">,
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

/** Cents that Stripe has given back of this payment. */
export function givenBack({ stripe }: Till, { id }: StripePayment): number {
  const refunds = stripe.refunds.filter(({ status, payment_intent: of }) => status === "succeeded" && of === id);
  return refunds.reduce((sum, { amount }) => sum + amount, 0);
}

/** Every request for a refund of this payment that reached Stripe, also those that it answered wrongly. */
export function askedRefunds({ stripe }: Till, { id }: StripePayment): StripeRequest[] {
  return stripe.requests.filter(({ method, path, params }) =>
    method === "POST" && path === "/v1/refunds" && params.payment_intent === id
  );
}

/** Jobs that are left to do. */
export async function countJobs({ server }: Till): Promise<number> {
  const { rows } = await sql<{ count: number }>`select count(*)::int as count from graphile_worker.jobs`.execute(
    server.db,
  );
  return rows[0]?.count ?? 0;
}
