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
import { type ClosedStatus, markClosed, markConfirmed, markReopened } from "./status_writes.ts";

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
  const row = await changeBooking(rules, id, {
    attempt: async () => await findTransition(before.status, status)?.attempt(db, id, now),
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
  to: BookingStatus;
  /** When it is allowed: before or after the start of the timeslot, or always. */
  when: "before" | "after" | "always";
  attempt(db: Kysely<Database>, id: number, now: Date): Promise<BookingRow | undefined>;
}

const close = (status: ClosedStatus): Transition["attempt"] => (db, id, now) => markClosed(db, { id, status, now });

const transitions: Transition[] = [
  { from: ["pending"], to: "confirmed", when: "before", attempt: (db, id, now) => markConfirmed(db, { id, now }) },
  { from: ["confirmed"], to: "completed", when: "after", attempt: close("completed") },
  { from: ["confirmed"], to: "no_show", when: "after", attempt: close("no_show") },
  {
    from: ["pending", "confirmed"],
    to: "cancelled",
    when: "always",
    attempt: (db, id, now) => markCancelled(db, { id, cancellation: { by: "admin" }, now }),
  },
  // These correct a mistake.
  {
    from: ["completed", "no_show"],
    to: "confirmed",
    when: "always",
    attempt: (db, id, now) => markReopened(db, { id, now }),
  },
  { from: ["no_show"], to: "completed", when: "always", attempt: close("completed") },
  { from: ["completed"], to: "no_show", when: "always", attempt: close("no_show") },
];

function findTransition(from: BookingStatus, to: string): Transition | undefined {
  return transitions.find((each) => each.to === to && each.from.includes(from));
}

function transitionRefusal(row: BookingRow, status: string, now: Date): Problem | undefined {
  const transition = findTransition(row.status, status);
  const time = isAfter(row.starts_at, now) ? "before" : "after";
  if (transition !== undefined && (transition.when === "always" || transition.when === time)) return undefined;
  const start = transition === undefined ? "" : ` and has ${time === "before" ? "not started" : "started"}`;
  const isSame: boolean = status === row.status;
  const known = new Set<string>(transitions.map(({ to }) => to));
  const choice = known.has(status) ? "" : ` An admin sets ${[...known].join(", ")}.`;
  const detail = `Invalid status transition to: ${status}. The booking is ${row.status}${
    isSame ? " already" : start
  }.${choice}`;
  return new Problem("invalid_status_transition", detail);
}
