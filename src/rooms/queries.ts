import { type Insertable, type Kysely, type RawBuilder, type Selectable, sql, type Updateable } from "kysely";
import type { RoomType } from "../../generated/contract.ts";
import type { Rooms } from "../../generated/database.d.ts";
import type { Database } from "../database/connect.ts";
import { follows, type FoundPage, type PageRange, preparedPage } from "../database/paging.ts";
import { prepared } from "../database/prepared.ts";
import { insertEvents, timeslotEvent } from "../events/record.ts";

export type RoomRow = Selectable<Rooms>;
export type NewRoom = Insertable<Rooms>;
export type RoomChange = Updateable<Rooms>;

export interface RoomFilter extends PageRange {
  type: RoomType | undefined;
  activeOnly: boolean;
  /** Ids are in the order of creation. */
  order: "name" | "id";
}

/** A name in the order of Unicode, with every Postgres. `rooms_name_order_idx` serves it. */
export function inOrder(name: string): RawBuilder<string> {
  return sql<string>`${sql.ref(name)} collate "und-x-icu"`;
}

/** One page of rooms, and the number on all pages. */
export function listRooms(
  db: Kysely<Database>,
  { activeOnly, order, ...filter }: RoomFilter,
): Promise<FoundPage<RoomRow>> {
  const isActive = activeOnly ? true : undefined;
  return listRoomsStatement(db, { ...filter, isActive, byName: order === "name" ? true : undefined });
}

interface RoomValues extends PageRange {
  type: RoomType | undefined;
  isActive: true | undefined;
  byName: true | undefined;
}

const listRoomsStatement = preparedPage((db, { type, isActive, byName, ...range }: RoomValues) => {
  let matching = db.selectFrom("rooms");
  if (isActive !== undefined) matching = matching.where("is_active", "=", isActive);
  if (type !== undefined) matching = matching.where("room_type", "=", type);
  const following = follows(range, { ...(byName === undefined ? {} : { value: inOrder("name") }), id: sql`id` });
  const page = matching.selectAll().where((eb) => eb.and(following));
  const sorted = byName === undefined ? page : page.orderBy(inOrder("name"));
  return {
    page: sorted.orderBy("id").limit(range.limit).offset(range.offset),
    order: byName === undefined ? sql`id` : sql`${inOrder("name")}, id`,
    count: matching.select((eb) => eb.fn.countAll<number>().as("total")),
  };
});

export async function findRoom(db: Kysely<Database>, id: number): Promise<RoomRow | undefined> {
  return (await findRoomStatement(db, { id }))[0];
}

const findRoomStatement = prepared(
  (db, { id }: { id: number }) => db.selectFrom("rooms").selectAll().where("id", "=", id),
  { isBrief: true },
);

/** Locks a room. `for no key update` does not block bookings, which only need the room's key to stay. */
export function lockRoom(db: Kysely<Database>, id: number): Promise<RoomRow | undefined> {
  return db.selectFrom("rooms").selectAll().where("id", "=", id).forNoKeyUpdate().executeTakeFirst();
}

export function insertRoom(db: Kysely<Database>, room: NewRoom): Promise<RoomRow> {
  return db.insertInto("rooms").values(room).returningAll().executeTakeFirstOrThrow();
}

export function updateRoomRow(
  db: Kysely<Database>,
  id: number,
  { change, now }: { change: RoomChange; now: Date },
): Promise<RoomRow | undefined> {
  return db.with("locked", (cte) => cte.selectFrom("rooms").selectAll().where("id", "=", id).forNoKeyUpdate())
    .with("changed", (cte) =>
      cte.updateTable("rooms").from("locked").whereRef("rooms.id", "=", "locked.id")
        .set({ ...change, updated_at: now }).returningAll("rooms"))
    .with("events", () => insertEvents([roomEvent("room_opened", now), roomEvent("room_closed", now)]))
    .selectFrom("changed").selectAll().executeTakeFirst();
}

/** Deactivates a room. Returns undefined and changes nothing if it is inactive already. */
export function markInactive(db: Kysely<Database>, id: number, now: Date): Promise<RoomRow | undefined> {
  return db.with(
    "locked",
    (cte) => cte.selectFrom("rooms").selectAll().where("id", "=", id).forNoKeyUpdate(),
  )
    .with(
      "changed",
      (cte) =>
        cte.updateTable("rooms").from("locked").whereRef("rooms.id", "=", "locked.id").where(
          "locked.is_active",
          "=",
          true,
        )
          .set({ is_active: false, updated_at: now }).returningAll("rooms"),
    )
    .with("events", () => insertEvents([roomEvent("room_closed", now)]))
    .selectFrom("changed").selectAll().executeTakeFirst();
}

/** The event of a room that takes bookings again, or no longer. No event if that did not change. */
function roomEvent(type: "room_opened" | "room_closed", now: Date): RawBuilder<unknown> {
  const isOpen = sql.lit(type === "room_opened");
  return timeslotEvent({
    type,
    roomId: sql`changed.id`,
    timeslotId: sql`null::bigint`,
    isAvailable: isOpen,
    startsAt: sql`null::timestamptz`,
    endsAt: sql`null::timestamptz`,
    from: sql`changed join locked on locked.id = changed.id
      where changed.is_active = ${isOpen} and locked.is_active <> ${isOpen}`,
  }, now);
}
