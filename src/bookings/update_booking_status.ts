/** Sets the status of a booking for an admin. */
import type { Kysely } from "kysely";
import type { Booking, BookingStatus } from "../../generated/contract.ts";
import { serializeBooking } from "../../generated/serializers.ts";
import { assertMatches } from "../contract/entity_tags.ts";
import { Problem } from "../contract/problems.ts";
import type { Database } from "../database/connect.ts";
import { isAfter } from "../database/instants.ts";
import { type BookingRules, changeBooking, toBooking } from "./booking.ts";
import { markCancelled } from "./cancellation_writes.ts";
import { type BookingRow, findBooking, lockBooking } from "./queries.ts";
import { bookingNotFound } from "./refusals.ts";
import { markClosed, markConfirmed } from "./writes.ts";

/**
 * Sets the status in a transaction, together with the entry in the audit log.
 *
 * @throws {Problem} `booking_not_found`, `precondition_failed` or `invalid_status_transition`.
 */
export async function updateBookingStatus(
  rules: BookingRules,
  { id, status, ifMatch }: { id: number; status: string; ifMatch: string | undefined },
): Promise<Booking> {
  const { db, clock, audit } = rules;
  const now = clock.now();
  const before = toBooking(await findLockedBooking(db, id));
  assertMatches(ifMatch, serializeBooking, before);
  const transition = transitions.get(status);
  const row = await changeBooking(rules, id, {
    attempt: async () => await transition?.attempt(db, id, now),
    refusal: (row) => transitionRefusal(row, status, now),
  });
  const after = toBooking(row);
  await audit({ resource: "booking", resourceId: id, before, after });
  return after;
}

/**
 * Locks a booking, then reads it. This lock precedes the locks of the change, but keeps the order of the feed. An
 * admin's change takes no timeslot. It frees only the timeslot of a live booking, which nobody else can take before.
 */
async function findLockedBooking(db: Kysely<Database>, id: number): Promise<BookingRow> {
  await lockBooking(db, id);
  // A second statement, which sees the changes of the previous holder of the lock.
  const row = await findBooking(db, id);
  if (row === undefined) throw bookingNotFound(id);
  return row;
}

interface Transition {
  from: BookingStatus[];
  /** Whether the timeslot must have started. */
  afterStart: boolean;
  attempt(db: Kysely<Database>, id: number, now: Date): Promise<BookingRow | undefined>;
}

const transitions = new Map<string, Transition>([
  ["confirmed", { from: ["pending"], afterStart: false, attempt: (db, id, now) => markConfirmed(db, { id, now }) }],
  ["completed", {
    from: ["confirmed"],
    afterStart: true,
    attempt: (db, id, now) => markClosed(db, { id, status: "completed", now }),
  }],
  ["no_show", {
    from: ["confirmed"],
    afterStart: true,
    attempt: (db, id, now) => markClosed(db, { id, status: "no_show", now }),
  }],
  ["cancelled", {
    from: ["pending", "confirmed"],
    afterStart: false,
    attempt: (db, id, now) => markCancelled(db, { id, cancellation: { by: "admin" }, now }),
  }],
]);

function transitionRefusal(row: BookingRow, status: string, now: Date): Problem | undefined {
  const transition = transitions.get(status);
  const isAllowedFrom = transition?.from.includes(row.status) ?? false;
  const hasStarted = !isAfter(row.starts_at, now);
  if (transition !== undefined && isAllowedFrom && (hasStarted || !transition.afterStart)) return undefined;
  const notStarted = isAllowedFrom ? " and has not started" : "";
  const choice = transition === undefined ? ` An admin sets ${[...transitions.keys()].join(", ")}.` : "";
  const detail = `Invalid status transition to: ${status}. The booking is ${row.status}${notStarted}.${choice}`;
  return new Problem("invalid_status_transition", detail);
}
