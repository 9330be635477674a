/** Shared parts of the statements that change bookings. */
import { type AliasedRawBuilder, type Compilable, type QueryCreator, type RawBuilder, sql } from "kysely";
import type { Bookings, DB, Rooms, Timeslots } from "../../generated/database.d.ts";
import type { NewKey } from "../contract/handlers.ts";
import { insertEvents, timeslotEvent } from "../events/record.ts";
import { insertKey } from "../idempotency/queries.ts";
import { type BookingRow, selectColumns } from "./queries.ts";

/** The event of the timeslot that `booking` has taken. */
export function timeslotTakenEvent(now: Date): RawBuilder<unknown> {
  return timeslotEvent({
    type: "taken",
    roomId: sql`booking.room_id`,
    timeslotId: sql`booking.timeslot_id`,
    isAvailable: sql`false`,
    startsAt: sql`booking.starts_at`,
    endsAt: sql`booking.ends_at`,
    from: sql`booking`,
  }, now);
}

/** The events of timeslots that are free again. `slots` is a query for them, with `is_active` of their room. */
export function timeslotFreedEvent(slots: RawBuilder<unknown>, now: Date): RawBuilder<unknown> {
  return timeslotEvent({
    type: "freed",
    roomId: sql`slot.room_id`,
    timeslotId: sql`slot.timeslot_id`,
    isAvailable: sql`slot.is_active and slot.starts_at > ${now}::timestamptz`,
    startsAt: sql`slot.starts_at`,
    endsAt: sql`slot.ends_at`,
    from: sql`(${slots}) slot`,
  }, now);
}

export type Changes = Pick<QueryCreator<DB & { b: Bookings }>, "with">;

/** Adds `booking`, a `BookingRow` for each row that `with b as (…)` has returned. */
// deno-lint-ignore explicit-module-boundary-types -- Kysely's type is longer than the function.
export function withBooking(changes: Changes) {
  return changes.with("booking", (cte) =>
    selectColumns(
      cte.selectFrom("b").innerJoin("rooms as r", "r.id", "b.room_id")
        .innerJoin("timeslots as t", "t.id", "b.timeslot_id"),
    ));
}

/** `with place as (…)` returns the room and the timeslot of the only booking. */
type PlacedChanges = Pick<QueryCreator<DB & { b: Bookings; place: Place }>, "with">;

/** The columns that `place` needs, of a room `r` and a timeslot `t`. */
export const placeColumns = ["r.name", "r.room_type", "r.time_zone", "t.starts_at", "t.ends_at"] as const;

type Place = Pick<Rooms, "name" | "room_type" | "time_zone"> & Pick<Timeslots, "starts_at" | "ends_at">;

/** Like {@link withEvents}, for at most one booking. It reads room and timeslot from `place`, not from their tables. */
// deno-lint-ignore explicit-module-boundary-types -- Kysely's type is longer than the function.
export function withPlacedEvents(changes: PlacedChanges, events: RawBuilder<unknown>[]) {
  return changes.with(
    "booking",
    (cte) =>
      selectColumns(
        cte.selectFrom("b").innerJoin("place as r", (join) => join.onTrue())
          .innerJoin("place as t", (join) => join.onTrue()),
      ),
  )
    .with("events", () => insertEvents(events));
}

/** Adds `booking`, and inserts `events`. */
// deno-lint-ignore explicit-module-boundary-types -- Kysely's type is longer than the function.
export function withEvents(changes: Changes, events: RawBuilder<unknown>[]) {
  return withBooking(changes).with("events", () => insertEvents(events));
}

/**
 * Inserts `events`, and returns `booking` with `columns` as JSON. With a key, the statement also stores it. `place` must
 * then have the condition `keyIsNew`.
 */
export function returningResult<Columns = unknown>(
  changes: PlacedChanges,
  events: RawBuilder<unknown>[],
  { columns = [], key }: { columns?: AliasedRawBuilder<unknown, keyof Columns & string>[]; key?: NewKey | undefined } =
    {},
): Compilable<{ result: BookingRow & Columns }> {
  const changed = withPlacedEvents(changes, events).with(
    "changed",
    (cte) =>
      cte.selectFrom((from) => from.selectFrom("booking").selectAll().select(columns).as("row"))
        .select(sql<BookingRow & Columns>`to_json("row")`.as("result")),
  );
  return (key === undefined ? changed : changed.with("key", () => insertKey(key))).selectFrom("changed").select(
    "result",
  );
}

/** Inserts `events`, and returns `booking`. */
export function returningBooking(changes: Changes, events: RawBuilder<unknown>[]): Compilable<BookingRow> {
  return withEvents(changes, events).selectFrom("booking").selectAll();
}
