/** Creates a booking: one statement takes the timeslot, a second one finds the reason after a refusal. */
import type { Kysely } from "kysely";
import type { Booking, CreateBooking } from "../../generated/contract.ts";
import type { Caller } from "../contract/caller.ts";
import type { Database } from "../database/connect.ts";
import { Conflict } from "../database/failures.ts";
import { retryConflicts } from "../database/transactions.ts";
import { openCheckout, type OpenedCheckout } from "../payments/checkouts.ts";
import { type BookingRules, holdEnd, onTimeslotLost, toBooking } from "./booking.ts";
import type { BookingRow } from "./queries.ts";
import { pendingLimitRefusal, timeslotRefusal, timeslotUnavailable } from "./refusals.ts";
import { insertBooking, type NewBooking } from "./writes.ts";

/** Asks the payment provider for a checkout. Never called inside a transaction. */
type OpenFirstCheckout = (db: Kysely<Database>) => Promise<OpenedCheckout>;

/**
 * Books a timeslot for `caller`. `openCheckout` is present when there is something to pay online. The booking remains
 * even if the payment provider fails.
 *
 * @throws {Problem} `unknown_timeslot`, `timeslot_not_in_room`, `timeslot_unavailable`, `room_inactive` or
 * `too_many_pending_bookings`.
 */
export async function createBooking(
  rules: BookingRules,
  caller: Caller,
  request: CreateBooking,
): Promise<{ booking: Booking; openCheckout: OpenFirstCheckout | undefined }> {
  const { db, clock, config, payments } = rules;
  const { userId } = caller;
  const now = clock.now();
  const { cancellationTiers, maxPendingBookings } = config;
  const checkout = payments === undefined
    ? null
    : { id: crypto.randomUUID(), provider: payments.name, holdExpiresAt: holdEnd(now, config) };
  const row = await bookTimeslot(db, { ...request, userId, cancellationTiers, maxPendingBookings, checkout, now });
  rules.announce();
  const booking = toBooking(row);
  if (payments === undefined || checkout === null || booking.price === 0) {
    return { booking, openCheckout: undefined };
  }
  return { booking, openCheckout: (db) => openCheckout({ ...rules, db }, payments, { id: checkout.id, booking }) };
}

/** @throws {Problem} See {@link createBooking}. */
async function bookTimeslot(db: Kysely<Database>, booking: NewBooking): Promise<BookingRow> {
  return await retryConflicts(db, async () => {
    const row = await insertBooking(db, booking).catch((failure: unknown) => onTimeslotLost(db, failure));
    if (row !== undefined) return row;
    const problem = await timeslotRefusal(db, booking) ?? await pendingLimitRefusal(db, booking);
    if (problem !== undefined) throw problem;
    // The answer after the last attempt. The timeslot may be free, so no alternative is better.
    const cause = timeslotUnavailable(`Timeslot ${booking.timeslotId} is taken. Choose another one.`, []);
    throw new Conflict(`timeslot ${booking.timeslotId} became free in between`, { cause });
  });
}
