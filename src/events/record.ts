/**
 * Writing events: parts of the statements that make the changes, so that change and event are written together or not at
 * all, in one round trip.
 */
import { type RawBuilder, sql } from "kysely";
import type { BookingEventType as BookingEvent } from "../../generated/contract.ts";
import type { BookingEventType } from "../../generated/database.d.ts";

/** `insert into booking_events …` of these rows, in this order, for a `with`. */
export function insertEvents(rows: RawBuilder<unknown>[]): RawBuilder<{ id: number }> {
  return sql<{ id: number }>`(
    insert into booking_events (type, user_id, room_id, booking_id, occurred_at, data)
    ${sql.join(rows, sql` union all `)}
    returning id
  )`;
}

/** As what a literal of SQL it is planned; never a text from outside. */
const typed = (type: BookingEventType) => sql`${sql.lit(type)}::booking_event_type`;

/**
 * An event of the booking in `source`, a relation with the columns of `BookingRow`. The whole row is kept, as it is now, so
 * that the booking can be told as the API answers it.
 */
export function bookingEvent(type: BookingEvent | "reminder", source: string, now: Date): RawBuilder<unknown> {
  const row = sql.ref(source);
  return sql`
    select ${typed(type)}, ${row}.user_id, ${row}.room_id, ${row}.id, ${now}::timestamptz, to_jsonb(${row})
    from ${sql.table(source)}
  `;
}

/** One or many timeslots of a room. */
export interface TimeslotChangeRow {
  type: "taken" | "freed" | "generated" | "deleted" | "room_opened" | "room_closed";
  /** Expressions over `from`. */
  roomId: RawBuilder<number>;
  timeslotId: RawBuilder<number | null>;
  isAvailable: RawBuilder<boolean>;
  startsAt: RawBuilder<Date | null>;
  endsAt: RawBuilder<Date | null>;
  /** Where the row comes from, after `from`. */
  from: RawBuilder<unknown>;
}

/** An event of a room's timeslots. It has nothing personal in it. */
export function timeslotEvent(change: TimeslotChangeRow, now: Date): RawBuilder<unknown> {
  const { type, roomId, timeslotId, isAvailable, startsAt, endsAt, from } = change;
  return sql`
    select ${typed(type)}, null::bigint, ${roomId}, null::bigint, ${now}::timestamptz, jsonb_build_object(
      'timeslot_id', ${timeslotId}, 'is_available', ${isAvailable}, 'starts_at', ${startsAt}, 'ends_at', ${endsAt}
    ) from ${from}
  `;
}
