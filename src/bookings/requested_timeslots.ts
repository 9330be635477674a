/** Queries for a timeslot that was refused, and for alternatives. See the guide on decisions. */
import { type Compilable, type Kysely, type RawBuilder, sql } from "kysely";
import type { Database } from "../database/connect.ts";
import { prepared } from "../database/prepared.ts";
import { isFree, isTaken } from "../timeslots/taken.ts";
import type { TimeslotRow } from "../timeslots/timeslots.ts";
import { pendingCount, priceOf } from "./queries.ts";

/** A timeslot that a user wants to book or to reschedule to. */
export interface RequestedTimeslot {
  roomId: number;
  startsAt: string;
  isActive: boolean;
  isTaken: boolean;
  /** The caller's own booking of the timeslot, if that is why it is taken. */
  ownBookingId: number | null;
  isWithdrawn: boolean;
  price: string;
  currency: string;
  /** Null unless the timeslot belongs to the requested room, which is active, and is taken, withdrawn or has started. */
  alternatives: TimeslotRow[] | null;
}

interface TimeslotRequest {
  timeslotId: number;
  /** The requested room, which may differ from the timeslot's room. */
  roomId: number;
  userId: number;
  now: Date;
}

export interface BookingRequest extends TimeslotRequest {
  /** Pending bookings that the user may have; 0 means no limit. */
  maxPendingBookings: number;
}

/** `price` and `currency` are those of the booking that it must keep. Null when they may change. */
export interface RescheduleRequest extends TimeslotRequest {
  price: string | number | null;
  currency: string | null;
}

/** A timeslot to book. The alternatives are timeslots that the user may book now. */
export async function findTimeslotToBook(
  db: Kysely<Database>,
  request: BookingRequest,
): Promise<RequestedTimeslot | undefined> {
  return (await findToBookStatement(db, request))[0];
}

/** A timeslot to reschedule to. The alternatives are timeslots of its room that the booking may take. */
export async function findTimeslotToRescheduleTo(
  db: Kysely<Database>,
  request: RescheduleRequest,
): Promise<RequestedTimeslot | undefined> {
  return (await findToRescheduleStatement(db, request))[0];
}

const findToBookStatement = prepared((db, request: BookingRequest) => {
  const { userId, maxPendingBookings, now } = request;
  // A booking that is confirmed at once is never pending.
  const mayBook = (room: Room) =>
    sql<boolean>`(
      ${maxPendingBookings}::integer = 0 or ${pendingCount(db, { userId, now })} < ${maxPendingBookings}::integer
      or (${sql.ref(`${room}.auto_confirm`)} and ${priceOf("a", room)} = 0)
    )`;
  const others = sql`
    union all
    (
      select 1, slot.* from (
        select o.* from rooms o
        where (select count(*) from own) < ${maxAlternatives} and o.id <> r.id and o.is_active
          and o.room_type = r.room_type
          and o.capacity >= r.capacity
        order by o.capacity, o.id limit ${maxOtherRooms}
      ) o cross join lateral ${nearest("o", mayBook("o"), now)} slot
      order by slot.distance, slot.starts_at, slot.id limit ${maxAlternatives}
    )`;
  return selectTimeslot(db, request, { own: nearest("r", mayBook("r"), now), others });
});

const findToRescheduleStatement = prepared((db, request: RescheduleRequest) => {
  const { price, currency, now } = request;
  const costsTheSame = sql<boolean>`(
    ${price}::numeric is null or (${priceOf("a", "r")} = ${price}::numeric and r.currency = ${currency}::text)
  )`;
  return selectTimeslot(db, request, { own: nearest("r", costsTheSame, now), others: sql`` });
});

/** Alias of the requested timeslot's room, or of another room. */
type Room = "r" | "o";

const maxAlternatives = sql.lit(3);
/** Largest distance between the starts. In hours, because Postgres would need a time zone to add days. */
const maxDistance = sql`interval '168 hours'`;
/**
 * Other rooms, the smallest first, and timeslots of a room before and after the requested one that are searched.
 * Without these limits a search of booked rooms takes a second, and anyone can cause a refusal.
 */
const maxOtherRooms = sql.lit(20);
const maxTimeslots = { r: sql.lit(400), o: sql.lit(50) };

/**
 * Free timeslots `a` of a room that start next to the requested timeslot `t`, before and after it. The index reads
 * outwards from its start: no more than needed, and at most {@link maxTimeslots} on each side.
 */
function nearest(room: Room, suits: RawBuilder<boolean>, now: Date): RawBuilder<unknown> {
  const free = (side: RawBuilder<unknown>, order: RawBuilder<unknown>) =>
    sql`(
      select a.id, a.room_id, a.starts_at, a.ends_at, abs(extract(epoch from a.starts_at - t.starts_at)) as distance
      from (
        select * from timeslots a
        where a.room_id = ${sql.ref(`${room}.id`)} and a.starts_at > ${now}::timestamptz and ${side}
          and a.withdrawn_at is null
        order by a.starts_at ${order} limit ${maxTimeslots[room]}
      ) a
      where a.id <> t.id and a.ends_at - a.starts_at >= t.ends_at - t.starts_at and not ${isTaken("a.id")} and ${suits}
      order by a.starts_at ${order} limit ${maxAlternatives}
    )`;
  return sql`(
    ${free(sql`a.starts_at >= t.starts_at and a.starts_at <= t.starts_at + ${maxDistance}`, sql`asc`)}
    union all
    ${free(sql`a.starts_at < t.starts_at and a.starts_at >= t.starts_at - ${maxDistance}`, sql`desc`)}
  )`;
}

/**
 * Selects the timeslot. Alternatives are searched only when it is unavailable, and `others` only when `own` are too
 * few.
 */
function selectTimeslot(
  db: Kysely<Database>,
  { timeslotId, roomId, userId, now }: TimeslotRequest,
  { own, others }: { own: RawBuilder<unknown>; others: RawBuilder<unknown> },
): Compilable<RequestedTimeslot> {
  const isUnavailable = sql<boolean>`t.room_id = ${roomId}::bigint and r.is_active
    and (t.starts_at <= ${now}::timestamptz or not ${isFree("t")})`;
  const alternatives = sql<TimeslotRow[] | null>`case when ${isUnavailable} then (
    with own as materialized (
      select 0 as rank, slot.* from ${own} slot order by slot.distance, slot.starts_at limit ${maxAlternatives}
    )
    select coalesce(json_agg(slot order by slot.rank, slot.distance, slot.starts_at, slot.id), '[]') from (
      select * from (select * from own ${others}) slot
      order by slot.rank, slot.distance, slot.starts_at, slot.id limit ${maxAlternatives}
    ) slot
  ) end`;
  return db.selectFrom("timeslots as t").innerJoin("rooms as r", "r.id", "t.room_id")
    .select([
      "t.room_id as roomId",
      "t.starts_at as startsAt",
      "r.is_active as isActive",
      "r.currency",
      priceOf("t").as("price"),
      isTaken("t.id").as("isTaken"),
      sql<number | null>`(
        select own.id from bookings own
        where own.timeslot_id = t.id and own.status <> 'cancelled' and own.user_id = ${userId}::bigint
      )`.as("ownBookingId"),
      sql<boolean>`t.withdrawn_at is not null`.as("isWithdrawn"),
      alternatives.as("alternatives"),
    ])
    .where("t.id", "=", timeslotId);
}
