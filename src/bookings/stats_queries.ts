import { type Kysely, type RawBuilder, sql } from "kysely";
import type { BookingStatus } from "../../generated/contract.ts";
import type { Database } from "../database/connect.ts";
import { inOrder } from "../rooms/queries.ts";
import { toPostgres } from "../time/calendar.ts";
import { endsOf, instantSql, type Range } from "../time/ranges.ts";

export interface StatsFilter {
  range: Range;
  roomId: number | undefined;
  /** The start of each day of the range. Empty when the result is not reported by day. */
  dayStarts: Temporal.Instant[];
}

/** One room, one day (from 1), or, when both are null, all bookings. */
interface Group {
  room_id: number | null;
  day: number | null;
}

export interface BookingCount extends Group {
  status: BookingStatus;
  /** Null unless the group is all bookings. */
  currency: string | null;
  /** Whether it was cancelled because it was not paid or confirmed in time. */
  has_expired: boolean | null;
  count: number;
  /** Amounts paid minus amounts refunded. */
  revenue: number;
}

export interface MinuteCount extends Group {
  bookable: number;
  booked: number;
}

export interface Counts {
  bookings: BookingCount[];
  minutes: MinuteCount[];
  /** Those with a booking or a timeslot, by name. */
  rooms: { id: number; name: string }[];
}

/**
 * Counts the bookings made in the range, and the minutes of the timeslots that start in it. Each is counted in total,
 * by room and by day.
 */
export function countBookings(
  db: Kysely<Database>,
  { range, roomId, dayStarts }: StatsFilter,
): Promise<Counts> {
  // A subquery is evaluated once, not once per row.
  const days = sql`(select ${`{${dayStarts.map(toPostgres).join(",")}}`}::text::timestamptz[])`;
  const within = (time: string): RawBuilder<boolean> => {
    const ends = endsOf(range).map(({ operator, at }) =>
      sql<boolean>`${sql.ref(time)} ${sql.raw(operator)} ${instantSql(at)}`
    );
    return sql`${sql.join(ends, sql` and `)}`;
  };
  const name = inOrder("r.name");
  const inRoom = (column: string) => roomId === undefined ? sql`true` : sql`${sql.ref(column)} = ${roomId}`;
  return db.with("counts", () =>
    sql<BookingCount>`(
      select b.room_id, b.day, b.status, b.currency, b.has_expired, count(*) as count,
        sum(b.amount_paid - b.amount_refunded) as revenue
      from (
        select b.*, width_bucket(b.created_at, ${days}) as day,
          coalesce(b.cancellation_reason in ('hold_expired', 'not_confirmed'), false) as has_expired
        from bookings b where ${within("b.created_at")} and ${inRoom("b.room_id")}
      ) b
      group by grouping sets ((b.status, b.currency, b.has_expired), (b.status, b.day), (b.status, b.room_id))
    )`)
    .with("slots", () =>
      // Room by room, in the order of the index on timeslots.
      sql<Group>`(
        select r.id as room_id, slot.* from rooms r cross join lateral (
          select width_bucket(t.starts_at, ${days}) as day,
            sum(t.ends_at - t.starts_at) filter (
              where r.is_active and t.withdrawn_at is null or live.is_there
            ) as bookable,
            sum(t.ends_at - t.starts_at) filter (where live.is_there) as booked
          from timeslots t
            -- Without the limit, Postgres would read all bookings once per room.
            left join lateral (
              select true as is_there from bookings b where b.timeslot_id = t.id and b.status <> 'cancelled' limit 1
            ) live on true
          where t.room_id = r.id and ${within("t.starts_at")}
          group by 1
        ) slot where ${inRoom("r.id")}
      )`)
    .with("minutes", () =>
      sql<MinuteCount>`(
        select room_id, day, coalesce(extract(epoch from sum(bookable)) / 60, 0)::bigint as bookable,
          coalesce(extract(epoch from sum(booked)) / 60, 0)::bigint as booked
        from slots group by grouping sets ((), (room_id), (day))
      )`)
    .selectNoFrom([
      sql<BookingCount[]>`(select coalesce(json_agg(counts), '[]') from counts)`.as("bookings"),
      sql<MinuteCount[]>`(select coalesce(json_agg(minutes), '[]') from minutes)`.as("minutes"),
      sql<Counts["rooms"]>`(
        select coalesce(json_agg(json_build_object('id', r.id, 'name', r.name) order by ${name}, r.id), '[]')
        from rooms r where r.id in (select room_id from counts union select room_id from slots)
      )`.as("rooms"),
    ])
    .executeTakeFirstOrThrow();
}
