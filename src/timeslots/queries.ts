import { type Kysely, sql } from "kysely";
import type { Database } from "../database/connect.ts";
import { instant } from "../database/instants.ts";
import { follows, type FoundPage, type PageRange, preparedPage } from "../database/paging.ts";
import { prepared } from "../database/prepared.ts";
import { insertEvents, timeslotEvent } from "../events/record.ts";
import type { RoomRow } from "../rooms/rooms.ts";
import { toPostgres } from "../time/calendar.ts";
import { endsByOperator, isWithin, type Range, type RangeEnds } from "../time/ranges.ts";
import type { Interval } from "./generation.ts";
import { packedTimeslots } from "./packed_timeslots.ts";
import { isFree, isTaken } from "./taken.ts";

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
            .where(isFree("t"))
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

/** A timeslot before and after it was removed. `isTaken` keeps it; undefined for one that does not exist. */
export interface RemovedTimeslot {
  isTaken: boolean;
  before: TimeslotRow & { withdrawn_at: string | null };
  /** When it was withdrawn. Null if it was deleted, because nobody has ever booked it. */
  withdrawnAt: string | null;
}

/**
 * Deletes a timeslot that was never booked, and withdraws one that has only cancelled bookings. It leaves one with a live
 * booking as it is. Undefined for a timeslot that does not exist or is withdrawn. Runs in a transaction.
 */
export async function removeTimeslot(
  db: Kysely<Database>,
  id: number,
  now: Date,
): Promise<RemovedTimeslot | undefined> {
  // Bookings lock the timeslot, too. The next statement sees those that were committed before this lock.
  await db.selectFrom("timeslots").select("id").where("id", "=", id).forUpdate().execute();
  const event = timeslotEvent({
    type: "deleted",
    roomId: sql`found.room_id`,
    timeslotId: sql`found.id`,
    isAvailable: sql`false`,
    startsAt: sql`found.starts_at`,
    endsAt: sql`found.ends_at`,
    from: sql`found where not found.is_taken`,
  }, now);
  return await db.with("found", (cte) =>
    cte.selectFrom("timeslots as t").selectAll()
      .select([
        isTaken("t.id").as("is_taken"),
        sql<boolean>`exists (select from bookings b where b.timeslot_id = t.id)`.as("has_bookings"),
      ])
      .where("t.id", "=", id).where("t.withdrawn_at", "is", null))
    .with(
      "deleted",
      (cte) =>
        cte.deleteFrom("timeslots").where(
          "id",
          "in",
          (eb) => eb.selectFrom("found").select("id").where("has_bookings", "=", false),
        ),
    )
    .with("withdrawn", (cte) =>
      cte.updateTable("timeslots").set({ withdrawn_at: now }).from("found")
        .whereRef("timeslots.id", "=", "found.id")
        .where("found.has_bookings", "=", true).where("found.is_taken", "=", false)
        .returning("timeslots.withdrawn_at"))
    .with("events", () => insertEvents([event]))
    .selectFrom("found").leftJoin("withdrawn", (join) => join.onTrue())
    .select(["found.is_taken as isTaken", "withdrawn.withdrawn_at as withdrawnAt"])
    .select(sql<RemovedTimeslot["before"]>`to_json(found)`.as("before"))
    .executeTakeFirst();
}

/** A timeslot as an admin sees it. */
export interface AdminTimeslotRow extends TimeslotRow {
  withdrawn_at: string | null;
  /** The live booking. */
  booking_id: number | null;
}

export interface TimeslotFilter extends PageRange {
  roomId: number;
  /** Range of the timeslots' starts. */
  range: Range;
}

/** One page of a room's timeslots, also of an inactive room, booked and withdrawn ones included, the earliest first. */
export function findTimeslots(
  db: Kysely<Database>,
  { range, ...filter }: TimeslotFilter,
): Promise<FoundPage<AdminTimeslotRow>> {
  return findTimeslotsStatement(db, { ...filter, ...endsByOperator(range, toPostgres) });
}

const findTimeslotsStatement = preparedPage((db, values: Omit<TimeslotFilter, "range"> & RangeEnds) => {
  const matching = db.selectFrom("timeslots as t").where("t.room_id", "=", values.roomId)
    .where((eb) => eb.and(isWithin(sql`t.starts_at`, values)));
  const following = follows(values, { value: sql`t.starts_at`, id: sql`t.id` });
  return {
    page: matching.selectAll("t").where((eb) => eb.and(following))
      .select((eb) =>
        eb.selectFrom("bookings as b").select("b.id").whereRef("b.timeslot_id", "=", "t.id")
          .where("b.status", "<>", sql.lit("cancelled")).as("booking_id")
      )
      .orderBy("t.starts_at").orderBy("t.id").limit(values.limit).offset(values.offset),
    order: sql`starts_at, id`,
    count: matching.select((eb) => eb.fn.countAll<number>().as("total")),
  };
});
