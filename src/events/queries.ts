import { type Kysely, type RawBuilder, sql } from "kysely";
import type { BookingEventType } from "../../generated/database.d.ts";
import type { Database } from "../database/connect.ts";
import { type GivenCursor, isBehind, type Position } from "./cursors.ts";

/** An event as it is stored. `user_id` is null when it is about timeslots, and belongs to nobody. */
export interface EventRow {
  transaction_id: number;
  id: number;
  type: BookingEventType;
  user_id: number | null;
  room_id: number;
  occurred_at: Date;
  data: Record<string, unknown>;
}

/** Which events somebody reads. What is left out does not matter. */
export interface EventFilter {
  userId?: number | undefined;
  roomId?: number | undefined;
  /** `bookings` are updates and reminders of bookings, `timeslots` what happened to the timeslots of a room. */
  about?: "bookings" | "timeslots";
}

export interface EventQuery extends EventFilter {
  /** Only events behind this place. */
  after: Position;
  /** Only events up to this place. */
  upTo?: Position;
  limit: number;
}

/** What a look at the feed finds. */
export interface EventBatch {
  /** In the order of the feed. */
  events: EventRow[];
  generation: string;
  /** Behind every event that is settled: nothing can appear before it any more. */
  settled: Position;
  /** The last place from which events were removed. */
  removed: Position;
  /** Whether there are committed events that wait for an older transaction to end. */
  isHeld: boolean;
}

/** Whether something is missing between the cursor and what the feed still has, or the cursor is not of this feed. */
export function hasGap({ generation, position }: GivenCursor, batch: EventBatch): boolean {
  return generation !== batch.generation || isBehind(batch.removed, position) || isBehind(position, batch.settled);
}

type BatchRow = Omit<EventRow, "id"> & {
  id: number | null;
  generation: string;
  settled: number;
  removed_transaction_id: number;
  removed_id: number;
  is_held: boolean;
};

/**
 * Reads the feed behind a place. One statement, and so one snapshot: it takes only events of transactions below the oldest
 * that still runs in it. Events of a later one wait, also if they are committed, since an older one may still add some.
 */
export async function readEvents(db: Kysely<Database>, query: EventQuery): Promise<EventBatch> {
  const { after, upTo, userId, roomId, about, limit } = query;
  const conditions = [
    sql`(transaction_id, id) > ${place(after)}`,
    sql`transaction_id < feed.settled`,
    ...(upTo === undefined ? [] : [sql`(transaction_id, id) <= ${place(upTo)}`]),
    ...(userId === undefined ? [] : [sql`user_id = ${userId}`]),
    ...(roomId === undefined ? [] : [sql`room_id = ${roomId}`]),
    ...(about === undefined ? [] : [sql`user_id is ${sql.raw(about === "bookings" ? "not null" : "null")}`]),
  ];
  const { rows } = await sql<BatchRow>`
    with feed as materialized (
      select generation, removed_transaction_id, removed_id, pg_snapshot_xmin(pg_current_snapshot()) as settled
      from event_feed
    )
    select
      feed.generation,
      feed.settled::text::bigint as settled,
      feed.removed_transaction_id::text::bigint as removed_transaction_id,
      feed.removed_id,
      coalesce(
        (select transaction_id from booking_events order by transaction_id desc, id desc limit 1) >= feed.settled, false
      ) as is_held,
      e.transaction_id::text::bigint as transaction_id, e.id, e.type, e.user_id, e.room_id, e.occurred_at, e.data
    from feed left join lateral (
      select * from booking_events where ${sql.join(conditions, sql` and `)}
      order by transaction_id, id limit ${limit}
    ) e on true
    order by e.transaction_id, e.id
  `.execute(db);
  const [first] = rows;
  if (first === undefined) throw new Error("event_feed has no row");
  return {
    events: rows.filter((row): row is typeof row & EventRow => row.id !== null),
    generation: first.generation,
    settled: { transactionId: first.settled, id: 0 },
    removed: { transactionId: first.removed_transaction_id, id: first.removed_id },
    isHeld: first.is_held,
  };
}

function place({ transactionId, id }: Position): RawBuilder<unknown> {
  return sql`(${String(transactionId)}::text::xid8, ${id}::bigint)`;
}

/** Tells the other servers that there is something new. In a transaction of its own, since it takes a lock of all. */
export async function notifyServers(
  db: Kysely<Database>,
  { channel, sender }: { channel: string; sender: string },
): Promise<void> {
  await sql`select pg_notify(${channel}::text, ${sender}::text)`.execute(db);
}

/**
 * Removes at most `limit` events from before `before`, and notes up to where, in one statement. What another server is
 * removing is left to it. Returns how many.
 */
export async function removeEvents(
  db: Kysely<Database>,
  { before, limit }: { before: Date; limit: number },
): Promise<number> {
  const { rows } = await sql<{ count: number }>`
    with gone as (
      delete from booking_events where ctid = any (array(
        select ctid from booking_events where occurred_at < ${before}
        order by occurred_at limit ${limit} for update skip locked
      ))
      returning transaction_id, id
    ), last as (
      select transaction_id, id from gone order by transaction_id desc, id desc limit 1
    ), noted as (
      update event_feed set removed_transaction_id = last.transaction_id, removed_id = last.id from last
      where (last.transaction_id, last.id) > (removed_transaction_id, removed_id)
    )
    select count(*) as count from gone
  `.execute(db);
  return rows[0]?.count ?? 0;
}

/**
 * Makes the feed this cluster's own. Transaction ids count anew in a database that was dumped and restored, so new events
 * would come to lie before old ones and never be read. The old ones are moved to the front, in the order of their ids, and
 * cursors from before are known by the feed's generation. Returns whether anything had to be done.
 */
export async function adoptFeed(db: Kysely<Database>): Promise<boolean> {
  const { rows } = await sql`
    with moved as (
      update event_feed set
        generation = substr(md5(gen_random_uuid()::text), 1, 8),
        cluster = here.system_identifier::text,
        removed_transaction_id = '0',
        removed_id = 0
      from pg_control_system() here where cluster <> here.system_identifier::text
      returning generation
    ), renumbered as (
      update booking_events set transaction_id = '0' from moved where transaction_id <> '0'
    )
    select from moved
  `.execute(db);
  return rows.length > 0;
}
