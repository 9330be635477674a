import { sql } from "kysely";
import type { RoomType } from "../../generated/contract.ts";
import { prepared } from "../database/prepared.ts";
import { inOrder } from "../rooms/queries.ts";
import type { RoomRow } from "../rooms/rooms.ts";
import { packedTimeslots } from "./packed_timeslots.ts";
import { isTaken } from "./taken.ts";

/** The range of the timeslots' starts, without `to`, as texts for Postgres, and their shortest length. */
export interface ZoneBounds {
  from: string;
  to: string;
  minutes: number;
}

export interface RoomSearch {
  /** By time zone. */
  zones: Record<string, ZoneBounds>;
  /** Whether timeslots must also end by `to`. */
  endsWithin: boolean;
  type: RoomType | null;
  /** Smallest capacity of a room, in people. */
  capacity: number;
  now: Date;
  limit: number;
  offset: number;
  /** Whether rooms are in the order of their names. Otherwise they are in the order of creation. */
  byName: boolean;
  /** The room before the page. Null for a page by its number. */
  afterName: string | null;
  afterId: number | null;
}

/** Totals of the search, and a room of the page. Without a room on the page there is one row, whose `id` is null. */
export type AvailableRoomRow =
  & {
    /** The number of rooms on all pages. */
    total: number;
    /** Time zones of rooms that `zones` lacks. Their rooms are missing from the result. */
    unknown_zones: string[];
  }
  & (FoundRoomRow | { id: null });

export type FoundRoomRow = RoomRow & { packed_timeslots: string };

/**
 * One page of active rooms with their free timeslots. The query looks for one free timeslot of each room, and for all of
 * them only on the page. The guide on decisions explains its form.
 */
export const findAvailableRooms = prepared<RoomSearch, AvailableRoomRow>((db, search) => {
  const { zones, endsWithin, type, capacity, now, limit, offset, byName, afterName, afterId } = search;
  const name = inOrder("name");
  const sortedName = (name: string) =>
    sql`(case when ${byName}::boolean then ${sql.ref(name)} end) collate "und-x-icu"`;
  // Holds for a timeslot `t` that fits the search in a room `r`, free or not.
  const fits = sql<boolean>`t.room_id = r.id and t.starts_at >= r.from_at and t.starts_at < r.to_at
    and t.ends_at <= r.ends_by and t.starts_at > ${now}::timestamptz and t.ends_at >= t.starts_at + r.shortest
    and t.withdrawn_at is null`;
  return db.with(
    "candidate",
    (cte) =>
      cte.selectFrom("rooms as r")
        .leftJoin(
          sql<{ name: string; from_at: Date; to_at: Date; minutes: number }>`(
            select key as name, (value ->> 'from')::timestamptz as from_at, (value ->> 'to')::timestamptz as to_at,
              (value ->> 'minutes')::float as minutes
            from jsonb_each(${zones}::jsonb)
          )`.as<"zone">(sql`zone`),
          "zone.name",
          "r.time_zone",
        )
        .select([
          "r.id",
          "r.name",
          "r.time_zone",
          "zone.from_at",
          "zone.to_at",
          sql<Date>`case when ${endsWithin}::boolean then zone.to_at else 'infinity' end`.as("ends_by"),
          sql<string>`make_interval(secs => zone.minutes * 60)`.as("shortest"),
        ])
        .where("r.is_active", "=", true)
        .where("r.capacity", ">=", capacity)
        .where(sql<boolean>`(${type}::room_type is null or r.room_type = ${type}::room_type)`),
  )
    .with(
      "available",
      (cte) =>
        cte.selectFrom("candidate as r").selectAll().where(
          sql<boolean>`exists (select from timeslots t where ${fits} and not ${isTaken("t.id")})`,
        ),
    )
    .with(
      "page",
      (cte) =>
        cte.selectFrom("available").selectAll()
          .where(sql<boolean>`case when ${afterId}::bigint is null then true
            when ${byName}::boolean then (${name}, id) > (${afterName}, ${afterId}) else id > ${afterId} end`)
          .orderBy(sortedName("name")).orderBy("id").limit(limit).offset(offset),
    )
    .with("taken", () =>
      sql<{ timeslot_id: number }>`(
        select live.timeslot_id from bookings as live where live.status <> 'cancelled'
          and live.timeslot_id = any(array(select t.id from page r join timeslots t on ${fits}))
      )`)
    .selectFrom(
      sql<{ total: number; unknown_zones: string[] }>`(
        select (select count(*) from available) as total,
          (select coalesce(json_agg(distinct time_zone), '[]') from candidate where from_at is null) as unknown_zones
      )`.as<"summary">(sql`summary`),
    )
    .leftJoin("page as r", (join) => join.onTrue())
    .leftJoin("rooms", "rooms.id", "r.id")
    .selectAll(["summary", "rooms"])
    .select(
      sql<string>`(
        select ${packedTimeslots} from (
          select * from timeslots t where ${fits} and t.id not in (select timeslot_id from taken) order by t.starts_at
        ) t
      )`.as("packed_timeslots"),
    )
    .orderBy(sortedName("r.name"))
    .orderBy("r.id");
});
