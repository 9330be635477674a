/** The sandbox's payment provider, used by tests: the guest's steps on its page, and its events to the server. */
import assert from "node:assert/strict";
import type { Booking, Timeslot } from "../../generated/contract.ts";
import { isSandboxPayments, type SandboxEvent } from "../../src/payments/sandbox.ts";
import type { TestServer } from "./server.ts";

export interface NewCheckout {
  booking: Booking;
  checkoutUrl: string;
  /** Its id at the provider. */
  checkout: string;
}

/** A pending booking of `subject`, and the page of its payment. */
export async function newCheckout(
  server: TestServer,
  subject: string,
  { id: timeslotId, roomId }: Timeslot,
): Promise<NewCheckout> {
  const token = await server.token(subject);
  const { booking, checkoutUrl } = await server.ok("createBooking", { token, body: { roomId, timeslotId } });
  assert(checkoutUrl !== null);
  return { booking, checkoutUrl, checkout: checkoutIn(checkoutUrl) };
}

/** The provider's id of the checkout at this address. */
export function checkoutIn(checkoutUrl: string): string {
  return new URL(checkoutUrl).pathname.split("/").at(-1) ?? "";
}

/** Delivers a signed event, as the provider does. */
export async function deliverEvent(server: TestServer, event: SandboxEvent): Promise<void> {
  assert(isSandboxPayments(server.payments), "the server has PAYMENT_PROVIDER=sandbox");
  const { body, headers } = await server.payments.sign(event);
  const signature = { "Sandbox-Signature": headers.get("Sandbox-Signature") ?? "" };
  await server.ok("receivePaymentEvent", { params: { provider: "sandbox" }, body, headers: signature });
}

let events = 0;
/** An id that no event of this shard has had. */
export function newEventId(): string {
  return `event_${++events}`;
}

/** Pays a booking in full. */
export async function pay(server: TestServer, { checkout, booking: { price, currency } }: NewCheckout): Promise<void> {
  const payment = { payment: `payment_of_${checkout}`, cents: Math.round(price * 100), currency };
  await deliverEvent(server, { id: newEventId(), type: "paid", checkout, ...payment });
}

/** Reports that `cents` of the payment by {@link pay} have been refunded in all. */
export async function reportRefund(
  server: TestServer,
  { checkout, booking: { currency } }: NewCheckout,
  cents: number,
): Promise<void> {
  const payment = { payment: `payment_of_${checkout}`, cents, currency };
  await deliverEvent(server, { id: newEventId(), type: "refunded", checkout, ...payment });
}

/** Types of the events of a booking, in their order. */
export async function eventTypes(server: TestServer, { id, userId }: Booking): Promise<string[]> {
  await server.settled();
  const token = await server.token("admin", "admin");
  const { items } = await server.ok("listEvents", { token, query: { limit: 1000, userId } });
  return items.flatMap((event) =>
    event.event === "booking_update" && event.data.booking.id === id ? [event.data.type] : []
  );
}

/** Numbers of payments and refunds of a booking, and the amount paid. */
export async function paymentsOf({ db }: TestServer, { id }: Booking): Promise<Record<string, number>> {
  const count = async (table: "payments" | "refunds") =>
    (await db.selectFrom(table).select("id").where("booking_id", "=", id).execute()).length;
  const { amount_paid } = await db.selectFrom("bookings").select("amount_paid").where("id", "=", id)
    .executeTakeFirstOrThrow();
  return { payments: await count("payments"), refunds: await count("refunds"), amountPaid: Number(amount_paid) };
}

/** Records the refunds that the provider is asked for, until disposed. */
export interface WatchedRefunds extends Disposable {
  /** Cents requested so far for a payment. */
  centsOf(payment: string): bigint;
}

export function watchRefunds({ payments }: TestServer): WatchedRefunds {
  assert(payments !== undefined);
  const { refund } = payments;
  // A refund keeps its id when it is requested again.
  const requests = new Map<string, { payment: string; cents: number }>();
  payments.refund = (request) => {
    requests.set(request.id, request);
    return refund(request);
  };
  return {
    centsOf: (payment) =>
      [...requests.values()].reduce((sum, of) => of.payment === payment ? sum + BigInt(of.cents) : sum, 0n),
    [Symbol.dispose]: () => void (payments.refund = refund),
  };
}
