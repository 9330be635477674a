import { type Kysely, type Selectable, sql } from "kysely";
import type { Timeslots } from "../../generated/database.d.ts";
import type { Database } from "../database/connect.ts";
import { instant } from "../database/instants.ts";
import { prepared } from "../database/prepared.ts";
import { insertEvents, timeslotEvent } from "../events/record.ts";
import type { RoomRow } from "../rooms/rooms.ts";
import type { Interval } from "./generation.ts";
import { packedTimeslots } from "./packed_timeslots.ts";
import { isTaken } from "./taken.ts";

/** A timeslot from a JSON aggregate: times are texts. */
export interface TimeslotRow {
  id: number;
  room_id: number;
  starts_at: string;
  ends_at: string;
}

export interface FreeTimeslotFilter {
  roomId: number;
  /** Range of the timeslots' starts, without `to`. ISO texts. */
  from: string;
  to: string;
  minimumMinutes: number;
  now: Date;
}

/** A room, and its free timeslots as {@link packedTimeslots}, earliest first. Undefined if the room does not exist. */
export async function findRoomWithFreeTimeslots(
  db: Kysely<Database>,
  filter: FreeTimeslotFilter,
): Promise<(RoomRow & { packed_timeslots: string | null }) | undefined> {
  return (await freeTimeslotsStatement(db, filter))[0];
}

const freeTimeslotsStatement = prepared(
  (db, { roomId, from, to, minimumMinutes, now }: FreeTimeslotFilter) =>
    db.selectFrom("rooms")
      .selectAll("rooms")
      .select(({ selectFrom }) =>
        sql<string | null>`(select ${packedTimeslots} from ${
          selectFrom("timeslots as t")
            .selectAll()
            .whereRef("t.room_id", "=", "rooms.id")
            .where("rooms.is_active", "=", true)
            .where("t.starts_at", ">=", instant(from))
            .where("t.starts_at", "<", instant(to))
            .where("t.starts_at", ">", instant(now))
            .where(sql<boolean>`t.ends_at - t.starts_at >= make_interval(mins => ${minimumMinutes}::integer)`)
            .where(sql<boolean>`not ${isTaken("t.id")}`)
            .orderBy("t.starts_at")
        } t)`.as("packed_timeslots")
      )
      .where("rooms.id", "=", roomId),
  { isBrief: true },
);

/** Inserts the timeslots of a room that overlap no existing one. Returns their number. */
export async function insertTimeslots(
  db: Kysely<Database>,
  { roomId, timeslots }: { roomId: number; timeslots: Interval[] },
): Promise<number> {
  const list = (end: keyof Interval) => `{${timeslots.map((slot) => new Date(slot[end]).toISOString()).join(",")}}`;
  const { numInsertedOrUpdatedRows } = await db.insertInto("timeslots")
    .columns(["room_id", "starts_at", "ends_at"])
    .expression(
      db.selectFrom(
        sql<{ starts_at: Date; ends_at: Date }>`unnest(
          ${list("from")}::text::timestamptz[], ${list("to")}::text::timestamptz[]
        )`.as<"slot">(sql`slot(starts_at, ends_at)`),
      )
        .select([sql<number>`${roomId}::bigint`.as("room_id"), "slot.starts_at", "slot.ends_at"]),
    )
    .onConflict((conflict) => conflict.doNothing())
    .executeTakeFirstOrThrow();
  return Number(numInsertedOrUpdatedRows ?? 0n);
}

/** Writes one event for all new timeslots between two instants. */
export async function recordGeneration(
  db: Kysely<Database>,
  { roomId, from, to, now }: { roomId: number; from: Date; to: Date; now: Date },
): Promise<void> {
  const event = timeslotEvent({
    type: "generated",
    roomId: sql`r.id`,
    timeslotId: sql`null::bigint`,
    isAvailable: sql`r.is_active and ${to}::timestamptz > ${now}::timestamptz`,
    startsAt: sql`${from}::timestamptz`,
    endsAt: sql`${to}::timestamptz`,
    from: sql`rooms r where r.id = ${roomId}`,
  }, now);
  await db.with("events", () => insertEvents([event])).selectFrom("events").select("id").executeTakeFirstOrThrow();
}

export type DeletedTimeslot = Selectable<Timeslots>;

/** Deletes a timeslot and returns it. Fails on `bookings_timeslot_fkey` when it has bookings. */
export function deleteTimeslotRow(db: Kysely<Database>, id: number, now: Date): Promise<DeletedTimeslot | undefined> {
  const event = timeslotEvent({
    type: "deleted",
    roomId: sql`deleted.room_id`,
    timeslotId: sql`deleted.id`,
    isAvailable: sql`false`,
    startsAt: sql`deleted.starts_at`,
    endsAt: sql`deleted.ends_at`,
    from: sql`deleted`,
  }, now);
  return db.with("deleted", (cte) => cte.deleteFrom("timeslots").where("id", "=", id).returningAll())
    .with("events", () => insertEvents([event]))
    .selectFrom("deleted").selectAll().executeTakeFirst();
}
