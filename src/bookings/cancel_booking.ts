/** Cancels the caller's own booking, and quotes the refund before. */
import type { Cancellation } from "../../generated/contract.ts";
import type { Caller } from "../contract/caller.ts";
import { assertUnchanged, type BookingRules, changeBooking, type OwnBooking } from "./booking.ts";
import { type CancelledRow, findRefundQuote, markCancelled } from "./cancellation_writes.ts";
import { assertOwner, bookingNotFound, notLiveRefusal } from "./refusals.ts";

const notCancellable = { code: "booking_not_cancellable", verb: "cancelled" } as const;

/**
 * Cancels the caller's own booking before it starts. Its cancellation tiers decide the refund.
 *
 * @throws {Problem} `booking_not_found`, `not_booking_owner`, `precondition_failed` or `booking_not_cancellable`.
 */
export async function cancelBooking(
  rules: BookingRules,
  caller: Caller,
  own: OwnBooking,
): Promise<CancelledRow> {
  const { db, clock } = rules;
  const { id } = own;
  const now = clock.now();
  await assertUnchanged(db, caller, own);
  return await changeBooking(rules, id, {
    attempt: () => markCancelled(db, { id, cancellation: { by: "user", userId: caller.userId }, now }),
    refusal: (row) => {
      assertOwner(row, caller);
      return notLiveRefusal(row, now, notCancellable);
    },
  });
}

/**
 * Quotes the refund of {@link cancelBooking} now, and when it changes. For the caller's own booking, or any for an
 * admin.
 *
 * @throws {Problem} `booking_not_found`, `not_booking_owner` or `booking_not_cancellable`.
 */
export async function getCancellation(
  { db, clock }: Pick<BookingRules, "db" | "clock">,
  caller: Caller,
  id: number,
): Promise<Cancellation> {
  const now = clock.now();
  const row = await findRefundQuote(db, { id, now });
  if (row === undefined) throw bookingNotFound(id);
  if (caller.role !== "admin") assertOwner(row, caller);
  const problem = notLiveRefusal(row, now, notCancellable);
  if (problem !== undefined) throw problem;
  // A change at the start itself is none, because a booking that has started cannot be cancelled.
  const nextHours = row.nextHours === null || Number(row.nextHours) === 0 ? null : Number(row.nextHours);
  return {
    bookingId: id,
    refundAmount: Number(row.refund),
    currency: row.currency,
    refundPercent: Number(row.percent ?? 0),
    maxRefundPercent: row.max_refund_percent === null ? null : Number(row.max_refund_percent),
    tierHours: row.hours === null ? null : Number(row.hours),
    nextTierAt: nextHours === null ? null : new Date(Date.parse(row.starts_at) - nextHours * 3_600_000).toISOString(),
    nextRefundPercent: nextHours === null ? null : Number(row.nextPercent),
  };
}
