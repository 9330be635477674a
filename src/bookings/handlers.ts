import type { Booking, BookingCreated } from "../../generated/contract.ts";
import type { Audit } from "../audit/audit.ts";
import type { Handlers } from "../contract/handlers.ts";
import type { OpenedCheckout } from "../payments/checkouts.ts";
import { hasWallTimes, parseRange, rangeByZone, rangeIn } from "../time/ranges.ts";
import type { InTurn } from "../turns.ts";
import {
  book,
  type BookingRules,
  cancelOwn,
  decide,
  getBooking,
  quoteCancellation,
  reschedule,
  toBooking,
} from "./bookings.ts";
import { listBookings, listTimeZones } from "./queries.ts";
import { bookingStats } from "./stats.ts";

type BookingOperations =
  | "createBooking"
  | "listBookings"
  | "getBooking"
  | "getCancellation"
  | "cancelBooking"
  | "rescheduleBooking"
  | "listAllBookings"
  | "updateBookingStatus"
  | "getBookingStats";

/** Counting years takes seconds, and leaves the database to all other requests. */
export const counts = { atOnce: 1, mostWaiting: 20 };

const always = { from: undefined, to: undefined };

export function bookingHandlers(
  rules: BookingRules & { audit: Audit; inCountTurn: InTurn },
): Pick<Handlers, BookingOperations> {
  const { db, config } = rules;
  return {
    async createBooking({ caller, body }) {
      const { booking, openCheckout } = await book(rules, caller, body);
      if (openCheckout === undefined) return created(booking, undefined);
      return {
        soFar: created(booking, { url: null, because: "unavailable" }),
        finish: async (db) => created(booking, await openCheckout(db)),
      };
    },

    async listBookings({ caller, query: { status, from_date, to_date, page, limit } }) {
      const range = parseRange({ path: "from_date", text: from_date }, { path: "to_date", text: to_date });
      const startRange = rangeByZone(hasWallTimes(range) ? await listTimeZones(db) : [], range);
      const filter = { status, userId: caller.userId, roomId: undefined, startRange, createdRange: always };
      const { rows, total } = await listBookings(db, { ...filter, limit, offset: (page - 1) * limit });
      return { status: 200, body: { items: rows.map(toBooking), total, page, limit } };
    },

    async getBooking({ caller, params: { bookingId } }) {
      return { status: 200, body: await getBooking(rules, caller, bookingId) };
    },

    async getCancellation({ caller, params: { bookingId } }) {
      return { status: 200, body: await quoteCancellation(rules, caller, bookingId) };
    },

    async cancelBooking({ caller, params: { bookingId: id }, headers: { "if-match": ifMatch } }) {
      const cancelled = await cancelOwn(rules, caller, { id, ifMatch });
      return { status: 200, body: { ...cancelled, message: "Booking cancelled successfully" } };
    },

    async rescheduleBooking({ caller, params, headers: { "if-match": ifMatch }, body: { newTimeslotId } }) {
      const booking = await reschedule(rules, caller, { id: params.bookingId, newTimeslotId, ifMatch });
      return { status: 200, body: { booking, message: "Booking rescheduled successfully" } };
    },

    async listAllBookings({ query: { status, roomId, userId, fromDate, toDate, page, limit } }) {
      const range = parseRange({ path: "fromDate", text: fromDate }, { path: "toDate", text: toDate });
      const createdRange = rangeIn(config.defaultTimeZone, range);
      const filter = { status, roomId, userId, startRange: always, createdRange };
      const { rows, total } = await listBookings(db, { ...filter, limit, offset: (page - 1) * limit });
      return { status: 200, body: { items: rows.map(toBooking), total, page, limit } };
    },

    async updateBookingStatus({ params: { bookingId: id }, headers: { "if-match": ifMatch }, body: { status } }) {
      return { status: 200, body: await decide(rules, { id, status, ifMatch }) };
    },

    async getBookingStats({ query: { fromDate, toDate, roomId } }) {
      const range = parseRange({ path: "fromDate", text: fromDate }, { path: "toDate", text: toDate });
      return { status: 200, body: await rules.inCountTurn(() => bookingStats(rules, { range, roomId })) };
    },
  };
}

function created(booking: Booking, checkout: OpenedCheckout | undefined): { status: 201; body: BookingCreated } {
  return {
    status: 201,
    body: { booking, checkoutUrl: checkout?.url ?? null, message: nextStep(booking, checkout) },
  };
}

function nextStep({ id, status, paymentStatus }: Booking, checkout: OpenedCheckout | undefined): string {
  if (checkout?.url === null) {
    return checkout.because === "refused"
      ? "Booking created, but the payment provider does not take this payment. Ask the operator to confirm the booking."
      : "Booking created, but the payment provider cannot be reached right now. " +
        `Get a checkout with POST /api/v1/bookings/${id}/checkout and complete payment to confirm.`;
  }
  if (status === "confirmed") return "Booking created and confirmed.";
  if (paymentStatus === "unpaid") return "Booking created. Complete payment to confirm.";
  return "Booking created. An admin will confirm it.";
}
