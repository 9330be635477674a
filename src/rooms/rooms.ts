/** The rules of rooms. */
import type { Kysely } from "kysely";
import type { CreateRoom, FieldError, Room, UpdateRoom } from "../../generated/contract.ts";
import { serializeRoom } from "../../generated/serializers.ts";
import type { Config } from "../config.ts";
import { assertMatches } from "../contract/entity_tags.ts";
import type { Scope } from "../contract/handlers.ts";
import { invalidFields, Problem } from "../contract/problems.ts";
import type { Database } from "../database/connect.ts";
import { isCurrency } from "../money.ts";
import type { Clock } from "../time/clock.ts";
import { ianaName } from "../time_zones.ts";
import { findRoom, insertRoom, lockRoom, markInactive, type RoomRow, updateRoomRow } from "./queries.ts";

export type { RoomRow };

export interface RoomOptions {
  clock: Clock;
  config: Pick<Config, "defaultTimeZone" | "defaultCurrency">;
}

/** Changes run in a transaction, together with their entry in the audit log. */
export type RoomRules = RoomOptions & Scope;

export const roomNotFound = (id: number): Problem =>
  new Problem("room_not_found", `Room not found: there is no room ${id}.`);

/**
 * Creates a room.
 *
 * @throws {Problem} `validation_failed` for an unknown currency or time zone.
 */
export async function createRoom({ db, clock, config, audit }: RoomRules, room: CreateRoom): Promise<Room> {
  const created = await addRoom({ db, clock, config }, room);
  await audit({ resource: "room", resourceId: created.id, before: null, after: created });
  return created;
}

/** {@link createRoom} without an audit entry, for the rooms of the demo. */
export async function addRoom(
  { db, clock, config }: RoomOptions & Pick<Scope, "db">,
  room: CreateRoom,
): Promise<Room> {
  const now = clock.now();
  const { currency = config.defaultCurrency } = room;
  const { timeZone = config.defaultTimeZone } = known({ currency, timeZone: room.timeZone });
  const row = await insertRoom(db, {
    name: room.name,
    description: room.description,
    capacity: room.capacity,
    room_type: room.roomType,
    hourly_rate: room.hourlyRate,
    currency,
    time_zone: timeZone,
    auto_confirm: room.autoConfirm,
    is_active: room.isActive,
    metadata: room.metadata,
    created_at: now,
    updated_at: now,
  });
  return toRoom(row);
}

/** Locks a room until the transaction ends, and checks `If-Match`. */
async function lockMatchingRoom(db: Kysely<Database>, id: number, ifMatch: string | undefined): Promise<Room> {
  const row = await lockRoom(db, id);
  if (row === undefined) throw roomNotFound(id);
  const room = toRoom(row);
  assertMatches(ifMatch, serializeRoom, room);
  return room;
}

/**
 * Changes the fields in `change`, if `ifMatch` still matches the room.
 *
 * @throws {Problem} `room_not_found`, `precondition_failed`, or `validation_failed` for an unknown currency or time
 * zone.
 */
export async function updateRoom(
  { db, clock, announce, audit }: RoomRules,
  id: number,
  { change, ifMatch }: { change: UpdateRoom; ifMatch: string | undefined },
): Promise<Room> {
  const { timeZone } = known(change);
  const before = await lockMatchingRoom(db, id, ifMatch);
  const columns = {
    name: change.name,
    description: change.description,
    capacity: change.capacity,
    room_type: change.roomType,
    hourly_rate: change.hourlyRate,
    currency: change.currency,
    time_zone: timeZone,
    auto_confirm: change.autoConfirm,
    is_active: change.isActive,
    metadata: change.metadata,
  };
  const changedColumns = Object.fromEntries(Object.entries(columns).filter(([, value]) => value !== undefined));
  const row = await updateRoomRow(db, id, { change: changedColumns, now: clock.now() });
  if (row === undefined) throw roomNotFound(id);
  const after = toRoom(row);
  await audit({ resource: "room", resourceId: id, before, after });
  announce();
  return after;
}

/**
 * Deactivates a room, so that it takes no new bookings. An inactive room stays as it is.
 *
 * @throws {Problem} `room_not_found` or `precondition_failed`.
 */
export async function deleteRoom(
  { db, clock, announce, audit }: RoomRules,
  id: number,
  ifMatch: string | undefined,
): Promise<void> {
  const before = await lockMatchingRoom(db, id, ifMatch);
  const row = await markInactive(db, id, clock.now());
  if (row === undefined) return;
  await audit({ resource: "room", resourceId: id, before, after: toRoom(row) });
  announce();
}

/**
 * Locks a room before its timeslots change, and returns its time zone. Other such changes wait until the transaction
 * ends.
 *
 * @throws {Problem} `unknown_room`.
 */
export async function timeZoneForTimeslots(db: Kysely<Database>, id: number): Promise<string> {
  return (await lockRoom(db, id) ?? unknownRoom(id)).time_zone;
}

/**
 * Returns a room that a caller named in a body or a filter.
 *
 * @throws {Problem} `unknown_room`.
 */
export async function findKnownRoom(db: Kysely<Database>, id: number): Promise<RoomRow> {
  return await findRoom(db, id) ?? unknownRoom(id);
}

function unknownRoom(id: number): never {
  throw new Problem("unknown_room", `There is no room ${id}.`);
}

/**
 * Returns the IANA name of the time zone, if there is one.
 *
 * @throws {Problem} `validation_failed` for an unknown currency or time zone.
 */
function known(
  { currency, timeZone }: { currency?: string | undefined; timeZone?: string | undefined },
): { timeZone: string | undefined } {
  const name = timeZone === undefined ? undefined : ianaName(timeZone);
  const errors: FieldError[] = [];
  if (currency !== undefined && !isCurrency(currency)) {
    errors.push({ in: "body", path: "currency", message: "must be an ISO 4217 code such as EUR" });
  }
  if (timeZone !== undefined && name === undefined) {
    errors.push({ in: "body", path: "timeZone", message: "must be an IANA time zone such as Europe/Berlin" });
  }
  const [first, ...others] = errors;
  if (first !== undefined) throw invalidFields([first, ...others]);
  return { timeZone: name };
}

export function toRoom(row: RoomRow): Room {
  return {
    id: row.id,
    name: row.name,
    description: row.description,
    capacity: row.capacity,
    roomType: row.room_type,
    hourlyRate: row.hourly_rate === null ? null : Number(row.hourly_rate),
    currency: row.currency,
    timeZone: row.time_zone,
    autoConfirm: row.auto_confirm,
    isActive: row.is_active,
    metadata: row.metadata,
    createdAt: row.created_at,
    updatedAt: row.updated_at,
  };
}
