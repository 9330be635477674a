/** The rules that all operations on a booking share. */
import type { Kysely } from "kysely";
import type { Booking } from "../../generated/contract.ts";
import { serializeBooking } from "../../generated/serializers.ts";
import type { Config } from "../config.ts";
import type { Caller } from "../contract/caller.ts";
import { assertMatches } from "../contract/entity_tags.ts";
import type { Scope } from "../contract/handlers.ts";
import type { Problem } from "../contract/problems.ts";
import type { Database } from "../database/connect.ts";
import { bookingTimeslotForeignKey, liveTimeslotKey } from "../database/constraints.ts";
import { Conflict, violates } from "../database/failures.ts";
import { isoOf } from "../database/instants.ts";
import { retryConflicts } from "../database/transactions.ts";
import type { Log } from "../log.ts";
import type { PaymentProvider } from "../payments/provider.ts";
import type { Clock } from "../time/clock.ts";
import { type BookingRow, findBooking } from "./queries.ts";
import { assertOwner, bookingNotFound } from "./refusals.ts";

export interface BookingOptions {
  clock: Clock;
  log: Log;
  /** Undefined when payments happen elsewhere. */
  payments: PaymentProvider | undefined;
  config: Pick<
    Config,
    "cancellationTiers" | "defaultTimeZone" | "holdMinutes" | "maxPendingBookings" | "rescheduleNoticeHours"
  >;
}

export type BookingRules = BookingOptions & Scope;

/** The caller's own booking, and the `If-Match` of the request: the entity tag that the booking must have. */
export interface OwnBooking {
  id: number;
  ifMatch: string | undefined;
}

/**
 * A booking that `caller` may see: their own, or any for an admin.
 *
 * @throws {Problem} `booking_not_found` or `not_booking_owner`.
 */
export async function getBooking({ db }: Pick<Scope, "db">, caller: Caller, id: number): Promise<Booking> {
  const row = await findBooking(db, id);
  if (row === undefined) throw bookingNotFound(id);
  if (caller.role !== "admin") assertOwner(row, caller);
  return toBooking(row);
}

/**
 * Compares the caller's own booking with the `If-Match` of a change. The change runs in a repeatable-read transaction,
 * which runs again if somebody else changes the booking in between.
 *
 * @throws {Problem} `booking_not_found`, `not_booking_owner` or `precondition_failed`.
 */
export async function assertUnchanged(
  db: Kysely<Database>,
  caller: Caller,
  { id, ifMatch }: OwnBooking,
): Promise<void> {
  if (ifMatch === undefined) return;
  const row = await findBooking(db, id);
  if (row === undefined) throw bookingNotFound(id);
  assertOwner(row, caller);
  assertMatches(ifMatch, serializeBooking, toBooking(row));
}

interface Change<Row> {
  /** The statement that changes the booking if it may. Undefined when it changed nothing. */
  attempt(): Promise<Row | undefined>;
  /** Why the booking may not be changed. Undefined when nothing prevents it, so another change came in between. */
  refusal(row: BookingRow): Problem | undefined | Promise<Problem | undefined>;
}

/**
 * Changes a booking by one statement. A second query finds the reason only after a refusal.
 *
 * @throws {Problem} `booking_not_found`, or the one of `refusal`.
 */
export async function changeBooking<Row extends BookingRow>(
  { db, announce }: Pick<Scope, "db" | "announce">,
  id: number,
  { attempt, refusal }: Change<Row>,
): Promise<Row> {
  return await retryConflicts(db, async () => {
    const changed = await attempt();
    if (changed !== undefined) {
      announce();
      return changed;
    }
    const row = await findBooking(db, id);
    if (row === undefined) throw bookingNotFound(id);
    throw await refusal(row) ?? new Conflict(`booking ${id} was changed in between`);
  });
}

/**
 * Handles a timeslot that was deleted or taken at the same moment as a statement tried to take it. Returns undefined,
 * as if the statement had found it so.
 */
export function onTimeslotLost(db: Kysely<Database>, failure: unknown): undefined {
  if (!violates(failure, bookingTimeslotForeignKey) && !violates(failure, liveTimeslotKey)) throw failure;
  // After a failed statement a transaction cannot query the reason.
  if (db.isTransaction) throw new Conflict("the timeslot was deleted or taken", { cause: failure });
  return undefined;
}

/** The end of a hold that starts `now`, if the timeslot does not start earlier. */
export function holdEnd(now: Date, { holdMinutes }: Pick<Config, "holdMinutes">): Date {
  return new Date(now.getTime() + holdMinutes * 60_000);
}

/** A booking as an event or a key has stored it: a `BookingRow` as JSON. Old ones lack newer columns. */
export function bookingFromJson(json: Record<string, unknown>): Booking {
  // It was written from a row. The event or answer made of it is checked against the contract.
  const added = { refund_amount: 0, hold_expires_at: null, max_refund_percent: null };
  return toBooking({ ...added, ...json } as unknown as BookingRow);
}

export function toBooking(row: BookingRow): Booking {
  return {
    id: row.id,
    userId: row.user_id,
    roomId: row.room_id,
    timeslotId: row.timeslot_id,
    status: row.status,
    bookingType: row.booking_type,
    notes: row.notes,
    price: Number(row.price),
    currency: row.currency,
    paymentStatus: row.payment_status,
    amountPaid: Number(row.amount_paid),
    amountRefunded: Number(row.amount_refunded),
    // A server of the previous version does not write refund_amount.
    refundAmount: Math.max(Number(row.refund_amount), Number(row.amount_refunded)),
    holdExpiresAt: row.hold_expires_at && isoOf(row.hold_expires_at),
    cancellationTiers: row.cancellation_tiers,
    maxRefundPercent: row.max_refund_percent === null ? null : Number(row.max_refund_percent),
    cancellationReason: row.cancellation_reason,
    cancelledAt: row.cancelled_at && isoOf(row.cancelled_at),
    createdAt: isoOf(row.created_at),
    updatedAt: isoOf(row.updated_at),
    room: { id: row.room_id, name: row.room_name, roomType: row.room_type, timeZone: row.time_zone },
    timeslot: {
      id: row.timeslot_id,
      roomId: row.room_id,
      startTime: isoOf(row.starts_at),
      endTime: isoOf(row.ends_at),
    },
  };
}
