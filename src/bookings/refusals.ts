/**
 * Reasons why a booking cannot be made or changed. Found after a statement did nothing, so only refused requests pay
 * for it.
 */
import type { Kysely } from "kysely";
import type { Timeslot } from "../../generated/contract.ts";
import type { Caller } from "../contract/caller.ts";
import { Problem } from "../contract/problems.ts";
import type { Database } from "../database/connect.ts";
import { isAfter } from "../database/instants.ts";
import { toTimeslot } from "../timeslots/timeslots.ts";
import { type BookingRow, countPending } from "./queries.ts";
import {
  type BookingRequest,
  findTimeslotToBook,
  findTimeslotToRescheduleTo,
  type RescheduleRequest,
} from "./requested_timeslots.ts";

export function bookingNotFound(id: number): Problem {
  return new Problem("booking_not_found", `Booking not found: there is no booking ${id}.`);
}

/** `alternatives` are free timeslots that the caller may choose instead. */
export function timeslotUnavailable(detail: string, alternatives: Timeslot[]): Problem {
  return new Problem("timeslot_unavailable", detail, { alternatives });
}

/** Of a booking that was not paid in time. The sweep that cancels it may be a moment late. */
export const holdExpired = "The hold of the booking has expired. Book the timeslot again.";

export function assertOwner(row: BookingRow, caller: Caller): void {
  if (row.user_id === caller.userId) return;
  throw new Problem("not_booking_owner", "Access denied: the booking belongs to another user.");
}

function cancelledAlready({ cancellation_reason: reason }: BookingRow): string {
  const why: Partial<Record<NonNullable<typeof reason>, string>> = {
    hold_expired: ": it was not paid in time",
    not_confirmed: ": nobody confirmed it before its start",
    admin_request: " by an admin",
  };
  return `The booking is cancelled already${reason === null ? "" : why[reason] ?? ""}.`;
}

export function notLiveRefusal(
  row: BookingRow,
  now: Date,
  { code, verb }: { code: "booking_not_cancellable" | "booking_not_reschedulable"; verb: string },
): Problem | undefined {
  if (row.status !== "pending" && row.status !== "confirmed") {
    const isDone = row.status === "cancelled" && verb === "cancelled";
    return new Problem(code, isDone ? cancelledAlready(row) : `A booking that is ${row.status} cannot be ${verb}.`);
  }
  if (!isAfter(row.starts_at, now)) {
    return new Problem(code, `The timeslot has started, so the booking cannot be ${verb}.`);
  }
  return undefined;
}

/** A timeslot to which a booking would be rescheduled. */
interface RescheduleTarget {
  timeslotId: number;
  booking: BookingRow;
  now: Date;
}

/** Returns why a timeslot cannot be booked, or undefined if it can. */
export async function timeslotRefusal(
  db: Kysely<Database>,
  request: BookingRequest | RescheduleTarget,
): Promise<Problem | undefined> {
  const { timeslotId, now } = request;
  const booking = "booking" in request ? request.booking : undefined;
  const roomId = "booking" in request ? request.booking.room_id : request.roomId;
  const slot = "booking" in request
    ? await findTimeslotToRescheduleTo(db, toRescheduleRequest(request))
    : await findTimeslotToBook(db, request);
  if (slot === undefined) return new Problem("unknown_timeslot", `There is no timeslot ${timeslotId}.`);
  if (slot.roomId !== roomId) {
    return new Problem("timeslot_not_in_room", `Timeslot ${timeslotId} does not belong to room ${roomId}.`);
  }
  if (!slot.isActive) return new Problem("room_inactive", `Room ${roomId} takes no new bookings.`);
  const alternatives = (slot.alternatives ?? []).map(toTimeslot);
  if (!isAfter(slot.startsAt, now)) {
    return timeslotUnavailable(`Timeslot ${timeslotId} has started. Choose a later one.`, alternatives);
  }
  if (slot.isWithdrawn) {
    return timeslotUnavailable(`Timeslot ${timeslotId} is no longer offered. Choose another one.`, alternatives);
  }
  if (timeslotId === booking?.timeslot_id) {
    return timeslotUnavailable(`The booking is in timeslot ${timeslotId} already.`, alternatives);
  }
  if (slot.ownBookingId !== null) {
    const detail = `You have timeslot ${timeslotId} already, with booking ${slot.ownBookingId}.`;
    return timeslotUnavailable(`${detail} Choose another one for a second booking.`, alternatives);
  }
  if (slot.isTaken) {
    return timeslotUnavailable(`Timeslot ${timeslotId} is taken. Choose another one.`, alternatives);
  }
  const costsTheSame = Number(slot.price) === Number(booking?.price) && slot.currency === booking?.currency;
  if (booking?.status === "confirmed" && !costsTheSame) {
    const prices = `The new timeslot costs ${slot.price} ${slot.currency}, ` +
      `the booking ${Number(booking.price).toFixed(2)} ${booking.currency}.`;
    return new Problem("price_differs", `${prices} Choose a timeslot of the same price, or cancel and book again.`);
  }
  return undefined;
}

/** A confirmed booking must keep its price. A pending one may change it. */
function toRescheduleRequest({ timeslotId, booking, now }: RescheduleTarget): RescheduleRequest {
  const { price, currency } = booking.status === "confirmed" ? booking : { price: null, currency: null };
  return { timeslotId, roomId: booking.room_id, userId: booking.user_id, price, currency, now };
}

/** Returns why a user may have no more pending bookings, or undefined if they may. */
export async function pendingLimitRefusal(
  db: Kysely<Database>,
  { userId, maxPendingBookings, now }: { userId: number; maxPendingBookings: number; now: Date },
): Promise<Problem | undefined> {
  if (maxPendingBookings === 0) return undefined;
  const count = await countPending(db, { userId, now });
  if (count < maxPendingBookings) return undefined;
  const detail = `You have ${count} bookings that are not paid or confirmed. The limit for one user is ` +
    `${maxPendingBookings}. Pay or cancel one, or wait until one is confirmed.`;
  return new Problem("too_many_pending_bookings", detail);
}
