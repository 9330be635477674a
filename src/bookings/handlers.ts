import type { Kysely } from "kysely";
import type { Booking, BookingCancelled, BookingCreated } from "../../generated/contract.ts";
import type { Handlers, KeyedChanges } from "../contract/handlers.ts";
import { type PageBody, pageBody, type PageQuery, pageRange } from "../contract/pages.ts";
import type { Database } from "../database/connect.ts";
import type { FoundPage } from "../database/paging.ts";
import type { OpenedCheckout } from "../payments/checkouts.ts";
import { findKnownRoom } from "../rooms/rooms.ts";
import type { Bound } from "../time/calendar.ts";
import { hasWallTimes, parseRange, type Range, rangeByZone, rangeIn } from "../time/ranges.ts";
import { bookingFromJson, type BookingOptions, getBooking, onTimeslotLost, toBooking } from "./booking.ts";
import { cancelBooking, getCancellation } from "./cancel_booking.ts";
import { type CancelledRow, markKeyedCancelled } from "./cancellation_writes.ts";
import { createBooking } from "./create_booking.ts";
import { getBookingStats } from "./get_booking_stats.ts";
import { type BookingFilter, listBookings } from "./list_queries.ts";
import { type BookingRow, listTimeZones } from "./queries.ts";
import { rescheduleBooking } from "./reschedule_booking.ts";
import { updateBookingStatus } from "./update_booking_status.ts";
import { insertKeyedBooking } from "./writes.ts";

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

export function bookingHandlers(options: BookingOptions): Pick<Handlers, BookingOperations> {
  const { clock, config } = options;
  return {
    async createBooking({ caller, body }, scope) {
      const { booking, openCheckout } = await createBooking({ ...options, ...scope }, caller, body);
      if (openCheckout === undefined) return created(booking, undefined);
      return {
        soFar: created(booking, { url: null, because: "unavailable" }),
        finish: async (db) => created(booking, await openCheckout(db)),
      };
    },

    async listBookings({ caller, query }, { db }) {
      const { from_date, to_date, status, sort, order } = query;
      const pageOf = pageRange(sort, query);
      const range = parseRange({ path: "from_date", text: from_date }, { path: "to_date", text: to_date });
      const filter = { status, sort, order, userId: caller.userId, startRange: await inEachZone(db, range) };
      return { status: 200, body: bookingPage(await listBookings(db, { ...filter, ...pageOf }), query) };
    },

    async getBooking({ caller, params: { bookingId } }, scope) {
      return { status: 200, body: await getBooking(scope, caller, bookingId) };
    },

    async getCancellation({ caller, params: { bookingId } }, { db }) {
      return { status: 200, body: await getCancellation({ db, clock }, caller, bookingId) };
    },

    async cancelBooking({ caller, params: { bookingId: id }, headers: { "if-match": ifMatch } }, scope) {
      return cancelled(await cancelBooking({ ...options, ...scope }, caller, { id, ifMatch }));
    },

    async rescheduleBooking({ caller, params, headers: { "if-match": ifMatch }, body: { newTimeslotId } }, scope) {
      const own = { id: params.bookingId, ifMatch };
      const booking = await rescheduleBooking({ ...options, ...scope }, caller, { ...own, newTimeslotId });
      return { status: 200, body: { booking, message: "Booking rescheduled successfully" } };
    },

    async listAllBookings({ query }, { db }) {
      const { fromDate, toDate, startFrom, startTo, status, roomId, userId, sort, order } = query;
      const pageOf = pageRange(sort, query);
      const created = parseRange({ path: "fromDate", text: fromDate }, { path: "toDate", text: toDate });
      const createdRange = rangeIn(config.defaultTimeZone, created);
      const start = parseRange({ path: "startFrom", text: startFrom }, { path: "startTo", text: startTo });
      const startRange = await inEachZone(db, start);
      const filter = { status, roomId, userId, sort, order, createdRange, startRange };
      const found = await listBookings(db, { ...filter, ...pageOf });
      if (found.total === 0 && roomId !== undefined) await findKnownRoom(db, roomId);
      return { status: 200, body: bookingPage(found, query) };
    },

    async updateBookingStatus({ params, headers: { "if-match": ifMatch }, body: { status } }, scope) {
      const change = { id: params.bookingId, status, ifMatch };
      return { status: 200, body: await updateBookingStatus({ ...options, ...scope }, change) };
    },

    async getBookingStats({ query: { fromDate, toDate, roomId } }, { db }) {
      const range = parseRange({ path: "fromDate", text: fromDate }, { path: "toDate", text: toDate });
      return { status: 200, body: await getBookingStats({ db, clock, config }, { range, roomId }) };
    },
  };
}

function bookingPage(
  found: FoundPage<BookingRow>,
  query: PageQuery & Pick<BookingFilter, "sort">,
): PageBody<Booking> {
  const valueOf = (row: BookingRow) => query.sort === "start" ? row.starts_at : row.created_at;
  return pageBody(found, query, { order: query.sort, toItem: toBooking, valueOf });
}

/** A range of starts, whose wall-clock times are those of each room. */
async function inEachZone(db: Kysely<Database>, range: Range<Bound["at"]>): Promise<BookingFilter["startRange"]> {
  return rangeByZone(hasWallTimes(range) ? await listTimeZones(db) : [], range);
}

/** With a payment provider, the answer to a new booking needs more than the result of its statement. */
export function keyedBookingChanges({ clock, config, payments }: BookingOptions): KeyedChanges {
  return {
    createBooking: {
      async attempt({ caller: { userId }, body }, { db, key }) {
        if (payments !== undefined) return undefined;
        const { cancellationTiers, maxPendingBookings } = config;
        const terms = { ...body, userId, cancellationTiers, maxPendingBookings, now: clock.now() };
        return await insertKeyedBooking(db, { ...terms, ...key }).catch((failure) => onTimeslotLost(db, failure));
      },
      answer: (row: BookingRow) => created(bookingFromJson(row), undefined),
    },
    cancelBooking: {
      attempt: ({ caller: { userId }, params: { bookingId: id } }, { db, key }) =>
        markKeyedCancelled(db, { ...key, id, userId, now: clock.now() }),
      answer: cancelled,
    },
  };
}

function cancelled(row: CancelledRow): { status: 200; body: BookingCancelled } {
  const message = "Booking cancelled successfully";
  return { status: 200, body: { booking: bookingFromJson(row), refundAmount: Number(row.refund), message } };
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
