import { sql } from "kysely";
import type { RoomType } from "../../generated/contract.ts";
import { prepared } from "../database/prepared.ts";
import type { RoomRow } from "../rooms/rooms.ts";
import { isTaken } from "./taken.ts";

export interface RoomSearch {
  /** By time zone, the range of the timeslots' starts, without `to`. Texts of instants for Postgres. */
  zones: Record<string, { from: string; to: string }>;
  /** Whether timeslots must also end by `to`. */
  endsWithin: boolean;
  minimumMinutes: number;
  type: RoomType | null;
  /** Smallest capacity of a room, in people. */
  capacity: number;
  now: Date;
  limit: number;
  offset: number;
}

/** A room from a JSON aggregate: times are texts, amounts are numbers. */
export interface AvailableRoomRow extends Omit<RoomRow, "hourly_rate" | "created_at" | "updated_at"> {
  hourly_rate: number | null;
  created_at: string;
  updated_at: string;
  /** Ids, starts and ends of its free timeslots, earliest first. Times in seconds since 1970. */
  slot_ids: number[];
  starts: number[];
  ends: number[];
}

export interface AvailableRooms {
  rooms: AvailableRoomRow[];
  /** The number of rooms on all pages. */
  total: number;
  /** Time zones of rooms that `zones` lacks. Their rooms are missing from the result. */
  unknownZones: string[];
}

/**
 * One page of active rooms with their free timeslots, rooms by name. The query looks for one free timeslot of each
 * room, and for all of them only on the page. Timeslots are lists of numbers: 0.71 to 0.83 of the time that an object
 * for each took.
 */
export const findAvailableRooms = prepared<RoomSearch, AvailableRooms>((db, search) => {
  const { zones, endsWithin, minimumMinutes, type, capacity, now, limit, offset } = search;
  const end = (name: "from" | "to") =>
    sql<Date | null>`(${zones}::jsonb -> r.time_zone ->> ${sql.lit(name)})::timestamptz`;
  // Holds for a free timeslot `t` of a room `r`.
  const free = sql<boolean>`t.room_id = r.id and t.starts_at >= r.from_at and t.starts_at < r.to_at
    and (not ${endsWithin}::boolean or t.ends_at <= r.to_at)
    and t.starts_at > ${now}::timestamptz
    and t.ends_at - t.starts_at >= make_interval(mins => ${minimumMinutes}::integer)
    and not ${isTaken("t.id")}`;
  return db.with(
    "candidate",
    (cte) =>
      cte.selectFrom("rooms as r").selectAll("r").select([end("from").as("from_at"), end("to").as("to_at")])
        .where("r.is_active", "=", true)
        .where("r.capacity", ">=", capacity)
        .where(sql<boolean>`(${type}::room_type is null or r.room_type = ${type}::room_type)`),
  )
    .with(
      "available",
      (cte) =>
        cte.selectFrom("candidate as r").selectAll().where(
          sql<boolean>`exists (select from timeslots t where ${free})`,
        ),
    )
    .with(
      "page",
      (cte) =>
        cte.selectFrom(
          cte.selectFrom("available").selectAll().orderBy("name").orderBy("id").limit(limit).offset(offset).as("r"),
        )
          .innerJoinLateral(
            sql<Pick<AvailableRoomRow, "slot_ids" | "starts" | "ends">>`(
            select array_agg(t.id order by t.starts_at) as slot_ids,
              array_agg(date_part('epoch', t.starts_at) order by t.starts_at) as starts,
              array_agg(date_part('epoch', t.ends_at) order by t.starts_at) as ends
            from timeslots t where ${free}
          )`.as<"slots">(sql`slots`),
            (join) => join.onTrue(),
          )
          .selectAll(),
    )
    .selectNoFrom([
      sql<AvailableRoomRow[]>`(select coalesce(json_agg(page order by page.name, page.id), '[]') from page)`.as(
        "rooms",
      ),
      sql<number>`(select count(*) from available)`.as("total"),
      sql<string[]>`(select coalesce(json_agg(distinct time_zone), '[]') from candidate where from_at is null)`
        .as("unknownZones"),
    ]);
});
