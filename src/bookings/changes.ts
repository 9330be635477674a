/** Parts that the statements which change bookings have in common. */
import { type Compilable, type QueryCreator, type RawBuilder, sql } from "kysely";
import type { Bookings, DB } from "../../generated/database.d.ts";
import { insertEvents, timeslotEvent } from "../events/record.ts";
import { type BookingRow, selectColumns } from "./queries.ts";

/** `answer` has taken its timeslot. */
export function timeslotTaken(now: Date): RawBuilder<unknown> {
  return timeslotEvent({
    type: "taken",
    roomId: sql`answer.room_id`,
    timeslotId: sql`answer.timeslot_id`,
    isAvailable: sql`false`,
    startsAt: sql`answer.starts_at`,
    endsAt: sql`answer.ends_at`,
    from: sql`answer`,
  }, now);
}

/** `slots` is a query for the timeslots that are no longer taken. */
export function timeslotFreed(slots: RawBuilder<unknown>, now: Date): RawBuilder<unknown> {
  return timeslotEvent({
    type: "freed",
    roomId: sql`slot.room_id`,
    timeslotId: sql`slot.timeslot_id`,
    isAvailable: sql`r.is_active and slot.starts_at > ${now}::timestamptz`,
    startsAt: sql`slot.starts_at`,
    endsAt: sql`slot.ends_at`,
    from: sql`(${slots}) slot join rooms r on r.id = slot.room_id`,
  }, now);
}

export type Changes = Pick<QueryCreator<DB & { b: Bookings }>, "with">;

/** `answer` is what a `with b as (…)` has made or changed, as it is answered. */
// deno-lint-ignore explicit-module-boundary-types -- Kysely's type of it is longer than what it says.
export function withAnswer(changes: Changes) {
  return changes.with("answer", (cte) =>
    selectColumns(
      cte.selectFrom("b").innerJoin("rooms as r", "r.id", "b.room_id")
        .innerJoin("timeslots as t", "t.id", "b.timeslot_id"),
    ));
}

/** The same, and `events` are written of it. */
// deno-lint-ignore explicit-module-boundary-types -- as above
export function recorded(changes: Changes, events: RawBuilder<unknown>[]) {
  return withAnswer(changes).with("events", () => insertEvents(events));
}

export function answered(changes: Changes, events: RawBuilder<unknown>[]): Compilable<BookingRow> {
  return recorded(changes, events).selectFrom("answer").selectAll();
}
