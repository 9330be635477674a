/** Reschedules the caller's own booking to another timeslot. */
import type { Booking } from "../../generated/contract.ts";
import type { Caller } from "../contract/caller.ts";
import {
  assertUnchanged,
  type BookingRules,
  changeBooking,
  holdEnd,
  onTimeslotLost,
  type OwnBooking,
  toBooking,
} from "./booking.ts";
import { assertOwner, notLiveRefusal, timeslotRefusal } from "./refusals.ts";
import { markRescheduled } from "./writes.ts";

/**
 * Reschedules the caller's own booking, before it starts, to a free timeslot of the same room.
 *
 * @throws {Problem} `booking_not_found`, `not_booking_owner`, `precondition_failed`, `booking_not_reschedulable`,
 * `unknown_timeslot`, `timeslot_not_in_room`, `timeslot_unavailable`, `room_inactive` or `price_differs`.
 */
export async function rescheduleBooking(
  rules: BookingRules,
  caller: Caller,
  { newTimeslotId, ...own }: OwnBooking & { newTimeslotId: number },
): Promise<Booking> {
  const { db, clock, config, payments } = rules;
  const { id } = own;
  const now = clock.now();
  await assertUnchanged(db, caller, own);
  const holdExpiresAt = payments === undefined ? null : holdEnd(now, config);
  const row = await changeBooking(rules, id, {
    attempt: () =>
      markRescheduled(db, { id, userId: caller.userId, newTimeslotId, holdExpiresAt, now })
        .catch((failure: unknown) => onTimeslotLost(db, failure)),
    refusal: async (row) => {
      assertOwner(row, caller);
      return notLiveRefusal(row, now, { code: "booking_not_reschedulable", verb: "rescheduled" }) ??
        await timeslotRefusal(db, { timeslotId: newTimeslotId, booking: row, now });
    },
  });
  return toBooking(row);
}
