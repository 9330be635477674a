/** Why a booking cannot be made or changed. Looked up when a statement has done nothing, so that only the refused pay for it. */
import type { Kysely } from "kysely";
import type { Caller } from "../auth/callers.ts";
import type { Database } from "../database/connect.ts";
import { Problem } from "../problems.ts";
import { type BookingRow, countWaiting, findWantedTimeslot } from "./queries.ts";

export function bookingNotFound(id: number): Problem {
  return new Problem("booking_not_found", `Booking not found: there is no booking ${id}.`);
}

export function taken(timeslotId: number): Problem {
  return new Problem("timeslot_unavailable", `Timeslot ${timeslotId} is taken. Choose another one.`);
}

export function assertOwner(row: BookingRow, caller: Caller): void {
  if (row.user_id === caller.userId) return;
  throw new Problem("not_booking_owner", "Access denied: the booking belongs to another user.");
}

export function notLive(
  row: BookingRow,
  now: Date,
  { code, verb }: { code: "booking_not_cancellable" | "booking_not_reschedulable"; verb: string },
): Problem | undefined {
  if (row.status !== "pending" && row.status !== "confirmed") {
    return new Problem(code, `A booking that is ${row.status} cannot be ${verb}.`);
  }
  if (row.starts_at <= now) return new Problem(code, `The timeslot has started, so the booking cannot be ${verb}.`);
  return undefined;
}

interface Wish {
  timeslotId: number;
  roomId: number;
  now: Date;
  /** The booking that would move there. */
  booking?: BookingRow;
}

/** Why a timeslot cannot be had; undefined when it can. */
export async function timeslotRefusal(
  db: Kysely<Database>,
  { timeslotId, roomId, now, booking }: Wish,
): Promise<Problem | undefined> {
  const slot = await findWantedTimeslot(db, timeslotId);
  if (slot === undefined) return new Problem("unknown_timeslot", `There is no timeslot ${timeslotId}.`);
  if (slot.roomId !== roomId) {
    return new Problem("timeslot_not_in_room", `Timeslot ${timeslotId} does not belong to room ${roomId}.`);
  }
  if (!slot.isActive) return new Problem("room_inactive", `Room ${roomId} takes no new bookings.`);
  if (slot.startsAt <= now) {
    return new Problem("timeslot_unavailable", `Timeslot ${timeslotId} has started. Choose a later one.`);
  }
  if (timeslotId === booking?.timeslot_id) {
    return new Problem("timeslot_unavailable", `The booking is in timeslot ${timeslotId} already.`);
  }
  if (slot.isTaken) return taken(timeslotId);
  const costsTheSame = slot.price === booking?.price && slot.currency === booking.currency;
  if (booking?.status === "confirmed" && !costsTheSame) {
    const prices =
      `The new timeslot costs ${slot.price} ${slot.currency}, the booking ${booking.price} ${booking.currency}.`;
    return new Problem("price_differs", `${prices} Choose a timeslot of the same price.`);
  }
  return undefined;
}

/** Why a user may hold no more timeslots; undefined when they may. */
export async function waitingRefusal(
  db: Kysely<Database>,
  { userId, maxPendingBookings, now }: { userId: number; maxPendingBookings: number; now: Date },
): Promise<Problem | undefined> {
  if (maxPendingBookings === 0) return undefined;
  const count = await countWaiting(db, { userId, now });
  if (count < maxPendingBookings) return undefined;
  const detail = `You hold ${count} bookings that are not paid or confirmed yet, as many as you may. ` +
    "Pay or cancel one first.";
  return new Problem("too_many_pending_bookings", detail);
}
