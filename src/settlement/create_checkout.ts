/** Opens another checkout for a booking that waits for its payment. */
import type { Kysely } from "kysely";
import type { Booking } from "../../generated/contract.ts";
import { toBooking } from "../bookings/booking.ts";
import { type BookingRow, findBooking, lockBooking } from "../bookings/queries.ts";
import { assertOwner, bookingNotFound, holdExpired } from "../bookings/refusals.ts";
import type { Caller } from "../contract/caller.ts";
import { Problem } from "../contract/problems.ts";
import type { Database } from "../database/connect.ts";
import { isAfter } from "../database/instants.ts";
import { inTransaction } from "../database/transactions.ts";
import { openCheckout } from "../payments/checkouts.ts";
import type { PaymentProvider } from "../payments/provider.ts";
import { findCheckout } from "../payments/queries.ts";
import { insertCheckout } from "./payment_writes.ts";
import type { SettlementRules } from "./rules.ts";

/**
 * Asks the provider for the checkout's page and stores the provider's reference. Never called inside a transaction.
 *
 * @throws {Problem} `booking_not_payable` or `payment_provider_unavailable`.
 */
type OpenNewCheckout = (db: Kysely<Database>) => Promise<{ booking: Booking; checkoutUrl: string }>;

/**
 * Writes a new checkout for the caller's own booking while it waits for its payment, and closes the earlier ones.
 *
 * @throws {Problem} `booking_not_found`, `not_booking_owner` or `booking_not_payable`.
 */
export async function createCheckout(
  rules: SettlementRules,
  caller: Caller,
  bookingId: number,
): Promise<OpenNewCheckout> {
  const { db, clock, payments } = rules;
  const now = clock.now();
  const id = crypto.randomUUID();
  const row = payments === undefined ? undefined : await inTransaction(db, async (trx) => {
    await lockBooking(trx, bookingId);
    return await insertCheckout(trx, { id, bookingId, userId: caller.userId, provider: payments.name, now });
  });
  if (payments === undefined || row === undefined) throw await paymentRefusal(rules, caller, bookingId);
  const booking = toBooking(row);
  return async (db) => {
    const opened = await openCheckout({ ...rules, db }, payments, { id, booking });
    if (opened.url !== null) return { booking, checkoutUrl: opened.url };
    if (opened.because === "refused") {
      const detail = "The payment provider does not take this payment. Ask the operator to confirm the booking.";
      throw new Problem("booking_not_payable", detail);
    }
    const detail = "The payment provider cannot be reached right now. Try again in a moment.";
    throw new Problem("payment_provider_unavailable", detail);
  };
}

async function paymentRefusal(
  { db, clock, payments }: SettlementRules,
  caller: Caller,
  bookingId: number,
): Promise<Problem> {
  const row = await findBooking(db, bookingId);
  if (row === undefined) return bookingNotFound(bookingId);
  assertOwner(row, caller);
  return new Problem("booking_not_payable", whyNotPayable(row, { now: clock.now(), payments }));
}

function whyNotPayable(
  { status, price, starts_at: startsAt }: BookingRow,
  { now, payments }: { now: Date; payments: PaymentProvider | undefined },
): string {
  if (status !== "pending") return `The booking is ${status}, so no payment is due.`;
  if (Number(price) === 0) return "The booking costs nothing.";
  if (payments === undefined) return "Payments happen elsewhere. An admin confirms the booking when it is paid.";
  if (!isAfter(startsAt, now)) return "The timeslot has started, so the booking can no longer be paid.";
  return holdExpired;
}

/** A checkout with its booking, for the pages about it. */
export async function findCheckoutPage(
  { db, payments }: SettlementRules,
  id: string,
): Promise<{ booking: Booking; isClosed: boolean } | undefined> {
  const checkout = await findCheckout(db, id);
  if (checkout === undefined || checkout.provider !== payments?.name) return undefined;
  const row = await findBooking(db, checkout.bookingId);
  return row === undefined ? undefined : { booking: toBooking(row), isClosed: checkout.isClosed };
}
