/** Looking up a timeslot that somebody could not have, and what there is instead. */
import { type Compilable, type Kysely, type RawBuilder, sql } from "kysely";
import type { Database } from "../database/connect.ts";
import { prepared } from "../database/prepared.ts";
import { isTaken } from "../timeslots/taken.ts";
import type { TimeslotRow } from "../timeslots/timeslots.ts";
import { priceOf, waitingOf } from "./queries.ts";

/** A timeslot as somebody sees it who wants to book it for a room or move there. */
export interface WantedTimeslot {
  roomId: number;
  startsAt: Date;
  isActive: boolean;
  isTaken: boolean;
  price: string;
  currency: string;
  /** Null unless it belongs to the room that is meant, whose timeslots can be booked, and is taken or has started. */
  alternatives: TimeslotRow[] | null;
}

interface Wanted {
  timeslotId: number;
  /** The room that is meant, which may be another one than that of the timeslot. */
  roomId: number;
  now: Date;
}

/** Who wants to book it. */
export interface BookingWish extends Wanted {
  userId: number;
  /** How many bookings the user may have that wait; 0 for any number. */
  maxPendingBookings: number;
}

/** What the booking must cost that would be moved there; null for whatever it costs. */
export interface MovingWish extends Wanted {
  price: string | null;
  currency: string | null;
}

/** A timeslot to book. The alternatives are such that the user may book them at once. */
export async function findTimeslotToBook(db: Kysely<Database>, wish: BookingWish): Promise<WantedTimeslot | undefined> {
  return (await findingToBook(db, wish))[0];
}

/** A timeslot to move to. The alternatives are those of its room that the booking may move to. */
export async function findTimeslotToMoveTo(
  db: Kysely<Database>,
  wish: MovingWish,
): Promise<WantedTimeslot | undefined> {
  return (await findingToMoveTo(db, wish))[0];
}

const findingToBook = prepared((db, wish: BookingWish) => {
  const { userId, maxPendingBookings, now } = wish;
  // What is confirmed at once does not wait.
  const mayHold = (room: Room) =>
    sql<boolean>`(
      ${maxPendingBookings}::integer = 0 or ${waitingOf(db, { userId, now })} < ${maxPendingBookings}::integer
      or (${sql.ref(`${room}.auto_confirm`)} and ${priceOf("a", room)} = 0)
    )`;
  const others = sql`
    union all
    (
      select 1, slot.* from (
        select o.* from rooms o
        where (select count(*) from own) < ${most} and o.id <> r.id and o.is_active and o.room_type = r.room_type
          and o.capacity >= r.capacity
        order by o.capacity, o.id limit ${otherRooms}
      ) o cross join lateral ${nearest("o", mayHold("o"), now)} slot
      order by slot.distance, slot.starts_at, slot.id limit ${most}
    )`;
  return finding(db, wish, { own: nearest("r", mayHold("r"), now), others });
});

const findingToMoveTo = prepared((db, wish: MovingWish) => {
  const { price, currency, now } = wish;
  const costsTheSame = sql<boolean>`(
    ${price}::numeric is null or (${priceOf("a", "r")} = ${price}::numeric and r.currency = ${currency}::text)
  )`;
  return finding(db, wish, { own: nearest("r", costsTheSame, now), others: sql`` });
});

/** Of the room of the wanted timeslot, or of another one. */
type Room = "r" | "o";

/** Alternatives at most. */
const most = sql.lit(3);
/** How far from the wanted start alternatives start. In hours, as Postgres would look at a zone to add days. */
const reach = sql`interval '168 hours'`;
/**
 * Other rooms at most, the smallest first, and timeslots of a room before and after the wanted one. Where all is booked
 * nothing else would end the search, and a refusal can be had as often as somebody likes.
 */
const otherRooms = sql.lit(20);
const lookedAt = { r: sql.lit(400), o: sql.lit(50) };

/**
 * Free timeslots `a` of a room, those that start next to the wanted timeslot `t` before and after it: they are read from there
 * on by the index, no more than needed and no more than {@link lookedAt}.
 */
function nearest(room: Room, suits: RawBuilder<boolean>, now: Date): RawBuilder<unknown> {
  const free = (side: RawBuilder<unknown>, order: RawBuilder<unknown>) =>
    sql`(
      select a.id, a.room_id, a.starts_at, a.ends_at, abs(extract(epoch from a.starts_at - t.starts_at)) as distance
      from (
        select * from timeslots a
        where a.room_id = ${sql.ref(`${room}.id`)} and a.starts_at > ${now}::timestamptz and ${side}
        order by a.starts_at ${order} limit ${lookedAt[room]}
      ) a
      where a.id <> t.id and a.ends_at - a.starts_at >= t.ends_at - t.starts_at and not ${isTaken("a.id")} and ${suits}
      order by a.starts_at ${order} limit ${most}
    )`;
  return sql`(
    ${free(sql`a.starts_at >= t.starts_at and a.starts_at <= t.starts_at + ${reach}`, sql`asc`)}
    union all
    ${free(sql`a.starts_at < t.starts_at and a.starts_at >= t.starts_at - ${reach}`, sql`desc`)}
  )`;
}

/** Alternatives are looked for only when the timeslot itself cannot be had, those of `others` only when `own` are too few. */
function finding(
  db: Kysely<Database>,
  { timeslotId, roomId, now }: Wanted,
  { own, others }: { own: RawBuilder<unknown>; others: RawBuilder<unknown> },
): Compilable<WantedTimeslot> {
  const isUnavailable = sql<boolean>`t.room_id = ${roomId}::bigint and r.is_active
    and (t.starts_at <= ${now}::timestamptz or ${isTaken("t.id")})`;
  const alternatives = sql<TimeslotRow[] | null>`case when ${isUnavailable} then (
    with own as materialized (
      select 0 as rank, slot.* from ${own} slot order by slot.distance, slot.starts_at limit ${most}
    )
    select coalesce(json_agg(slot order by slot.rank, slot.distance, slot.starts_at, slot.id), '[]') from (
      select * from (select * from own ${others}) slot
      order by slot.rank, slot.distance, slot.starts_at, slot.id limit ${most}
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
      alternatives.as("alternatives"),
    ])
    .where("t.id", "=", timeslotId);
}
