/**
 * SQL that writes events. It is part of the statement of a change, so that both are written together, in one round trip.
 */
import { type RawBuilder, sql } from "kysely";
import type { BookingEventType } from "../../generated/contract.ts";
import type { StoredEventType } from "../../generated/database.d.ts";

/** Returns the statement, for a `with`, that inserts events of these rows in this order. */
export function insertEvents(rows: RawBuilder<unknown>[]): RawBuilder<{ id: number }> {
  return sql<{ id: number }>`(
    insert into booking_events (type, user_id, room_id, booking_id, occurred_at, data)
    ${sql.join(rows, sql` union all `)}
    returning id
  )`;
}

/** Inlined as a literal so that the planner sees it. Never user input. */
const typed = (type: StoredEventType) => sql`${sql.lit(type)}::booking_event_type`;

/**
 * Returns the row of an event of the booking in `source`, a relation with the columns of `BookingRow`. It stores the
 * whole current row, so that the event can show the booking as the API answers it.
 */
export function bookingEvent(type: BookingEventType | "reminder", source: string, now: Date): RawBuilder<unknown> {
  const row = sql.ref(source);
  return sql`
    select ${typed(type)}, ${row}.user_id, ${row}.room_id, ${row}.id, ${now}::timestamptz, to_jsonb(${row})
    from ${sql.table(source)}
  `;
}

/** An event about timeslots of a room. */
export interface TimeslotChangeRow {
  type: "taken" | "freed" | "generated" | "deleted" | "room_opened" | "room_closed";
  /** Expressions over `from`. */
  roomId: RawBuilder<number>;
  timeslotId: RawBuilder<number | null>;
  isAvailable: RawBuilder<boolean>;
  startsAt: RawBuilder<Date | null>;
  endsAt: RawBuilder<Date | null>;
  /** The `from` clause of the row. */
  from: RawBuilder<unknown>;
}

/** Returns the row of an event about a room's timeslots. It has no personal data. */
export function timeslotEvent(change: TimeslotChangeRow, now: Date): RawBuilder<unknown> {
  const { type, roomId, timeslotId, isAvailable, startsAt, endsAt, from } = change;
  return sql`
    select ${typed(type)}, null::bigint, ${roomId}, null::bigint, ${now}::timestamptz, jsonb_build_object(
      'timeslot_id', ${timeslotId}, 'is_available', ${isAvailable}, 'starts_at', ${startsAt}, 'ends_at', ${endsAt}
    ) from ${from}
  `;
}
