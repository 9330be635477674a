/** The rules of bookings. One statement decides each change; a second one, only after a refusal, finds out why. */
import type { Kysely } from "kysely";
import { Booking, type BookingStatus, type Cancellation, type CreateBooking } from "../../generated/contract.ts";
import type { Audit } from "../audit/audit.ts";
import type { Caller } from "../contract/caller.ts";
import type { Clock } from "../time/clock.ts";
import type { Config } from "../config.ts";
import { bookingTimeslotForeignKey, liveTimeslotKey } from "../database/constraints.ts";
import type { Database } from "../database/connect.ts";
import { BeginAgain, violates } from "../database/failures.ts";
import { runStatement } from "../database/transactions.ts";
import { assertMatches } from "../contract/entity_tags.ts";
import type { Log } from "../log.ts";
import { openCheckout, type OpenedCheckout } from "../payments/checkouts.ts";
import type { PaymentProvider } from "../payments/provider.ts";
import { Problem } from "../contract/problems.ts";
import { type BookingRow, bookingRowFromJson, findBooking, lockBooking } from "./queries.ts";
import { assertOwner, bookingNotFound, notLive, taken, timeslotRefusal, waitingRefusal } from "./refusals.ts";
import { cancelBooking, quoteRefund } from "./cancellation_writes.ts";
import { closeBooking, confirmBooking, insertBooking, moveBooking, type NewBooking } from "./writes.ts";

export interface BookingRules {
  db: Kysely<Database>;
  clock: Clock;
  log: Log;
  /** Undefined when payments happen elsewhere. */
  payments: PaymentProvider | undefined;
  config: Pick<Config, "cancellationTiers" | "defaultTimeZone" | "holdMinutes" | "maxPendingBookings">;
  /** Called after a change: there is something new in the feed of events. */
  announce: () => void;
}

/** Asks the payment provider for a checkout, which happens outside of any transaction. */
type AskForCheckout = (db: Kysely<Database>) => Promise<OpenedCheckout>;

/** Attempts at a change that others keep getting in the way of. Each lost attempt means that another one went through. */
const attempts = 10;

/**
 * Books a timeslot for `caller`. When there is something to pay online, `openCheckout` asks the provider for the place; if
 * the provider fails, the booking stands all the same.
 *
 * @throws {Problem} `unknown_timeslot`, `timeslot_not_in_room`, `timeslot_unavailable`, `room_inactive` or
 * `too_many_pending_bookings`.
 */
export async function book(
  rules: BookingRules,
  caller: Caller,
  request: CreateBooking,
): Promise<{ booking: Booking; openCheckout: AskForCheckout | undefined }> {
  const { db, clock, config, payments } = rules;
  const { userId } = caller;
  const now = clock.now();
  const { cancellationTiers, maxPendingBookings } = config;
  const checkout = payments === undefined
    ? null
    : { id: crypto.randomUUID(), provider: payments.name, holdExpiresAt: holdFrom(now, config) };
  const row = await takeTimeslot(db, { ...request, userId, cancellationTiers, maxPendingBookings, checkout, now });
  rules.announce();
  const booking = toBooking(row);
  if (payments === undefined || checkout === null || booking.price === 0) {
    return { booking, openCheckout: undefined };
  }
  return { booking, openCheckout: (db) => openCheckout({ ...rules, db }, payments, { id: checkout.id, booking }) };
}

/** @throws {Problem} what {@link book} throws. */
async function takeTimeslot(db: Kysely<Database>, wanted: NewBooking): Promise<BookingRow> {
  for (let left = attempts; left > 0; left--) {
    const row = await runStatement(db, () => insertBooking(db, wanted))
      .catch((failure: unknown) => timeslotGone(db, failure));
    if (row !== undefined) return row;
    const problem = await timeslotRefusal(db, wanted) ?? await waitingRefusal(db, wanted);
    if (problem !== undefined) throw problem;
    // What stood in its way is gone by now.
  }
  // It was had and given back again and again. Whatever else is free, it may be the best to ask for again.
  throw taken(wanted.timeslotId, []);
}

/** The timeslot was deleted or taken in the same moment: it is refused as one that never was, or was taken before. */
function timeslotGone(db: Kysely<Database>, failure: unknown): undefined {
  if (!violates(failure, bookingTimeslotForeignKey) && !violates(failure, liveTimeslotKey)) throw failure;
  // A transaction in which a statement has failed cannot find out more.
  if (db.isTransaction) throw new BeginAgain("a timeslot was deleted or taken", { cause: failure });
  return undefined;
}

/** Until when a booking that waits for its payment from now on holds its timeslot. */
function holdFrom(now: Date, { holdMinutes }: Pick<Config, "holdMinutes">): Date {
  return new Date(now.getTime() + holdMinutes * 60_000);
}

/**
 * A booking that `caller` may see: their own, or any for an admin.
 *
 * @throws {Problem} `booking_not_found` or `not_booking_owner`.
 */
export async function getBooking({ db }: BookingRules, caller: Caller, id: number): Promise<Booking> {
  const row = await findBooking(db, id);
  if (row === undefined) throw bookingNotFound(id);
  if (caller.role !== "admin") assertOwner(row, caller);
  return toBooking(row);
}

/** A booking of the caller's own, and what it has to be like: its entity tag. */
interface OwnBooking {
  id: number;
  ifMatch: string | undefined;
}

/**
 * Holds a booking of the caller's own against the `If-Match` of a change. Such a change is made in a transaction that is
 * repeatable read, so it begins again when somebody else changes the booking meanwhile.
 *
 * @throws {Problem} `booking_not_found`, `not_booking_owner` or `precondition_failed`.
 */
async function assertUnchanged(db: Kysely<Database>, caller: Caller, { id, ifMatch }: OwnBooking): Promise<void> {
  if (ifMatch === undefined) return;
  const row = await findBooking(db, id);
  if (row === undefined) throw bookingNotFound(id);
  assertOwner(row, caller);
  assertMatches(ifMatch, Booking, toBooking(row));
}

/**
 * A booking as an admin's change finds it, locked ahead of the change itself. That contradicts no order of the feed: such a
 * change takes no timeslot, and only frees one that a live booking has, which nobody else can take before.
 */
async function lockedBooking(db: Kysely<Database>, id: number): Promise<BookingRow> {
  await lockBooking(db, id);
  // Behind the lock, so that it is the booking as the one before has left it.
  const row = await findBooking(db, id);
  if (row === undefined) throw bookingNotFound(id);
  return row;
}

/**
 * Cancels the caller's own booking before it starts; its tiers decide what is refunded.
 *
 * @throws {Problem} `booking_not_found`, `not_booking_owner`, `precondition_failed` or `booking_not_cancellable`.
 */
export async function cancelOwn(
  rules: BookingRules,
  caller: Caller,
  own: OwnBooking,
): Promise<{ booking: Booking; refundAmount: number }> {
  const { db, clock } = rules;
  const { id } = own;
  const now = clock.now();
  await assertUnchanged(db, caller, own);
  const row = await change(rules, id, {
    attempt: () => cancelBooking(db, { id, cancellation: { by: "user", userId: caller.userId }, now }),
    refusal: (row) => {
      assertOwner(row, caller);
      return notLive(row, now, { code: "booking_not_cancellable", verb: "cancelled" });
    },
  });
  return { booking: toBooking(row), refundAmount: Number(row.refund) };
}

/**
 * What {@link cancelOwn} would refund now, and when that changes. Of the caller's own booking, or anybody's for an admin.
 *
 * @throws {Problem} `booking_not_found`, `not_booking_owner` or `booking_not_cancellable`.
 */
export async function quoteCancellation(rules: BookingRules, caller: Caller, id: number): Promise<Cancellation> {
  const { db, clock } = rules;
  const now = clock.now();
  const [row, quote] = await Promise.all([findBooking(db, id), quoteRefund(db, { id, now })]);
  if (row === undefined || quote === undefined) throw bookingNotFound(id);
  if (caller.role !== "admin") assertOwner(row, caller);
  const problem = notLive(row, now, { code: "booking_not_cancellable", verb: "cancelled" });
  if (problem !== undefined) throw problem;
  const tierHours = quote.hours === null ? null : Number(quote.hours);
  const changes = tierHours !== null && tierHours > 0;
  return {
    bookingId: id,
    refundAmount: Number(quote.refund),
    currency: row.currency,
    refundPercent: Number(quote.percent ?? 0),
    tierHours,
    nextTierAt: changes ? new Date(row.starts_at.getTime() - tierHours * 3_600_000).toISOString() : null,
    nextRefundPercent: changes ? Number(quote.nextPercent ?? 0) : null,
  };
}

/**
 * Moves the caller's own booking, before it starts, to a free timeslot of the same room.
 *
 * @throws {Problem} `booking_not_found`, `not_booking_owner`, `precondition_failed`, `booking_not_reschedulable`,
 * `unknown_timeslot`, `timeslot_not_in_room`, `timeslot_unavailable`, `room_inactive` or `price_differs`.
 */
export async function reschedule(
  rules: BookingRules,
  caller: Caller,
  { newTimeslotId, ...own }: OwnBooking & { newTimeslotId: number },
): Promise<Booking> {
  const { db, clock, config, payments } = rules;
  const { id } = own;
  const now = clock.now();
  await assertUnchanged(db, caller, own);
  const holdExpiresAt = payments === undefined ? null : holdFrom(now, config);
  const row = await change(rules, id, {
    attempt: () =>
      moveBooking(db, { id, userId: caller.userId, newTimeslotId, holdExpiresAt, now })
        .catch((failure: unknown) => timeslotGone(db, failure)),
    refusal: async (row) => {
      assertOwner(row, caller);
      return notLive(row, now, { code: "booking_not_reschedulable", verb: "rescheduled" }) ??
        await timeslotRefusal(db, { timeslotId: newTimeslotId, booking: row, now });
    },
  });
  return toBooking(row);
}

/**
 * Sets the status that an admin decides on, in a transaction, together with its entry in the audit log.
 *
 * @throws {Problem} `booking_not_found`, `precondition_failed` or `invalid_status_transition`.
 */
export async function decide(
  rules: BookingRules & { audit: Audit },
  { id, status, ifMatch }: { id: number; status: string; ifMatch: string | undefined },
): Promise<Booking> {
  const { db, clock, audit } = rules;
  const now = clock.now();
  const before = toBooking(await lockedBooking(db, id));
  assertMatches(ifMatch, Booking, before);
  const transition = transitions.get(status);
  const row = await change(rules, id, {
    attempt: async () => await transition?.attempt(db, id, now),
    refusal: (row) => {
      if (
        transition !== undefined && transition.from.includes(row.status) &&
        !(transition.afterStart && row.starts_at > now)
      ) {
        return undefined;
      }
      const early = transition?.from.includes(row.status) ? " and has not started" : "";
      const known = transition === undefined ? ` An admin sets ${[...transitions.keys()].join(", ")}.` : "";
      const detail = `Invalid status transition to: ${status}. The booking is ${row.status}${early}.${known}`;
      return new Problem("invalid_status_transition", detail);
    },
  });
  const after = toBooking(row);
  await audit({ resource: "booking", resourceId: id, before, after });
  return after;
}

interface Transition {
  from: BookingStatus[];
  /** Whether the timeslot has to have started. */
  afterStart: boolean;
  attempt(db: Kysely<Database>, id: number, now: Date): Promise<BookingRow | undefined>;
}

const transitions = new Map<string, Transition>([
  ["confirmed", { from: ["pending"], afterStart: false, attempt: (db, id, now) => confirmBooking(db, { id, now }) }],
  ["completed", {
    from: ["confirmed"],
    afterStart: true,
    attempt: (db, id, now) => closeBooking(db, { id, status: "completed", now }),
  }],
  ["no_show", {
    from: ["confirmed"],
    afterStart: true,
    attempt: (db, id, now) => closeBooking(db, { id, status: "no_show", now }),
  }],
  ["cancelled", {
    from: ["pending", "confirmed"],
    afterStart: false,
    attempt: (db, id, now) => cancelBooking(db, { id, cancellation: { by: "admin" }, now }),
  }],
]);

interface Change<Row> {
  /** The statement that changes the booking if it may, else returns undefined. */
  attempt(): Promise<Row | undefined>;
  /** Why it may not; undefined when nothing stands in its way, which means that another change came in between. */
  refusal(row: BookingRow): Problem | undefined | Promise<Problem | undefined>;
}

async function change<Row extends BookingRow>(
  { db, announce }: BookingRules,
  id: number,
  { attempt, refusal }: Change<Row>,
): Promise<Row> {
  for (let left = attempts; left > 0; left--) {
    const changed = await runStatement(db, attempt);
    if (changed !== undefined) {
      announce();
      return changed;
    }
    const row = await findBooking(db, id);
    if (row === undefined) throw bookingNotFound(id);
    const problem = await refusal(row);
    if (problem !== undefined) throw problem;
  }
  throw new Error(`booking ${id} was changed by others ${attempts} times in a row`);
}

/** A booking as it was when an event of it was written. */
export function bookingFromJson(json: Record<string, unknown>): Booking {
  return toBooking(bookingRowFromJson(json));
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
    // A server of the version before decides refunds without the former.
    refundAmount: Math.max(Number(row.refund_amount), Number(row.amount_refunded)),
    holdExpiresAt: row.hold_expires_at?.toISOString() ?? null,
    cancellationTiers: row.cancellation_tiers,
    cancellationReason: row.cancellation_reason,
    cancelledAt: row.cancelled_at?.toISOString() ?? null,
    createdAt: row.created_at.toISOString(),
    updatedAt: row.updated_at.toISOString(),
    room: { id: row.room_id, name: row.room_name, roomType: row.room_type, timeZone: row.time_zone },
    timeslot: {
      id: row.timeslot_id,
      roomId: row.room_id,
      startTime: row.starts_at.toISOString(),
      endTime: row.ends_at.toISOString(),
    },
  };
}
