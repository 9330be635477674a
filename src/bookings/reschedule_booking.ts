/** Reschedules the caller's own booking to another timeslot. */
import type { Booking } from "../../generated/contract.ts";
import type { Caller } from "../contract/caller.ts";
import { Problem } from "../contract/problems.ts";
import { isAfter } from "../database/instants.ts";
import {
  assertUnchanged,
  type BookingRules,
  changeBooking,
  holdEnd,
  onTimeslotLost,
  type OwnBooking,
  toBooking,
} from "./booking.ts";
import type { BookingRow } from "./queries.ts";
import { assertOwner, holdExpired, notLiveRefusal, timeslotRefusal } from "./refusals.ts";
import { markRescheduled } from "./writes.ts";

const code = "booking_not_reschedulable";

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
  const notice = config.rescheduleNoticeHours;
  const leavesFrom = new Date(now.getTime() + notice * 3_600_000);
  const holdExpiresAt = payments === undefined ? null : holdEnd(now, config);
  const row = await changeBooking(rules, id, {
    attempt: () =>
      markRescheduled(db, { id, userId: caller.userId, newTimeslotId, leavesFrom, holdExpiresAt, now })
        .catch((failure: unknown) => onTimeslotLost(db, failure)),
    refusal: async (row) => {
      assertOwner(row, caller);
      return notLiveRefusal(row, now, { code, verb: "rescheduled" }) ??
        tooLateRefusal(row, { now, leavesFrom, notice }) ??
        await timeslotRefusal(db, { timeslotId: newTimeslotId, booking: row, now });
    },
  });
  return toBooking(row);
}

/** Returns why a live booking can no longer be rescheduled. `notice` is in hours. */
function tooLateRefusal(
  { starts_at: startsAt, hold_expires_at: holdExpiresAt }: BookingRow,
  { now, leavesFrom, notice }: { now: Date; leavesFrom: Date; notice: number },
): Problem | undefined {
  if (holdExpiresAt !== null && !isAfter(holdExpiresAt, now)) return new Problem(code, holdExpired);
  // Equal is early enough.
  if (new Date(startsAt) >= leavesFrom) return undefined;
  const hours = `${notice} hour${notice === 1 ? "" : "s"}`;
  return new Problem(code, `A booking can be rescheduled until ${hours} before its start. You may still cancel it.`);
}
