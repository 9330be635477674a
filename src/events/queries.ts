import { type Kysely, sql } from "kysely";
import type { StoredEventType } from "../../generated/database.d.ts";
import type { Database } from "../database/connect.ts";
import { preparedFilter } from "../database/prepared.ts";
import { isAmongEarliest } from "../database/sweep.ts";
import { isAfter, type ParsedCursor, type Position } from "./cursors.ts";

/** A stored event. `user_id` is null for events about timeslots, which belong to no user. */
export interface EventRow {
  transaction_id: number;
  id: number;
  type: StoredEventType;
  user_id: number | null;
  room_id: number;
  occurred_at: string;
  data: Record<string, unknown>;
}

/** A filter of events. Missing fields match every event. */
export interface EventFilter {
  userId?: number | undefined;
  roomId?: number | undefined;
  /** `bookings` are changes and reminders of bookings, `timeslots` are changes of a room's timeslots. */
  about?: "bookings" | "timeslots";
}

export interface EventQuery extends EventFilter {
  /** Only events after this position. */
  after: Position;
  /** Only events up to this position. */
  upTo?: Position;
  limit: number;
}

/** The result of {@link readEvents}. */
export interface EventBatch {
  /** In the order of the feed. */
  events: EventRow[];
  generation: string;
  /** The end of the settled events. No new event can appear before it. */
  settled: Position;
  /** The position of the last removed event. */
  removed: Position;
  /** Whether committed events wait for an older transaction to end. */
  isDelayed: boolean;
}

/** Returns whether events after the cursor were removed, or the cursor belongs to another feed. */
export function hasGap({ generation, position }: ParsedCursor, batch: EventBatch): boolean {
  return generation !== batch.generation || isAfter(batch.removed, position) || isAfter(position, batch.settled);
}

type BatchRow = Omit<EventRow, "id"> & {
  id: number | null;
  generation: string;
  settled: number;
  removed_transaction_id: number;
  removed_id: number;
  is_delayed: boolean;
};

/**
 * Reads the feed after a position. It reads only events of transactions below the oldest one that still runs. Later events
 * wait, because an older transaction may still add some. It is one statement, and so one snapshot.
 */
export async function readEvents(db: Kysely<Database>, query: EventQuery): Promise<EventBatch> {
  const { after, upTo, userId, roomId, about, limit } = query;
  const rows = await batchStatement(db, {
    afterTransaction: String(after.transactionId),
    afterId: after.id,
    upToTransaction: upTo && String(upTo.transactionId),
    upToId: upTo?.id,
    userId,
    roomId,
    isBooking: about === "bookings" ? true : undefined,
    isTimeslot: about === "timeslots" ? true : undefined,
    limit,
  });
  const [first] = rows;
  if (first === undefined) throw new Error("event_feed has no row");
  return {
    events: rows.filter((row): row is typeof row & EventRow => row.id !== null),
    generation: first.generation,
    settled: { transactionId: first.settled, id: 0 },
    removed: { transactionId: first.removed_transaction_id, id: first.removed_id },
    isDelayed: first.is_delayed,
  };
}

/** {@link EventQuery}, flat. Undefined fields match every event. */
interface BatchFilter {
  afterTransaction: string;
  afterId: number;
  upToTransaction: string | undefined;
  upToId: number | undefined;
  userId: number | undefined;
  roomId: number | undefined;
  isBooking: true | undefined;
  isTimeslot: true | undefined;
  limit: number;
}

const batchStatement = preparedFilter((_db, filter: BatchFilter) => {
  const { afterTransaction, afterId, upToTransaction, upToId, userId, roomId, isBooking, isTimeslot, limit } = filter;
  const conditions = [
    sql`(transaction_id, id) > (${afterTransaction}::text::xid8, ${afterId}::bigint)`,
    sql`transaction_id < feed.settled`,
    ...(upToId === undefined ? [] : [sql`(transaction_id, id) <= (${upToTransaction}::text::xid8, ${upToId}::bigint)`]),
    ...(userId === undefined ? [] : [sql`user_id = ${userId}`]),
    ...(roomId === undefined ? [] : [sql`room_id = ${roomId}`]),
    ...(isBooking === undefined ? [] : [sql`user_id is not null`]),
    ...(isTimeslot === undefined ? [] : [sql`user_id is null`]),
  ];
  return sql<BatchRow>`
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
      ) as is_delayed,
      e.transaction_id::text::bigint as transaction_id, e.id, e.type, e.user_id, e.room_id, e.occurred_at, e.data
    from feed left join lateral (
      select * from booking_events where ${sql.join(conditions, sql` and `)}
      order by transaction_id, id limit ${limit}
    ) e on true
    order by e.transaction_id, e.id
  `;
});

/** Notifies the other servers of new events. Use a transaction of its own, because NOTIFY takes a global lock. */
export async function notifyServers(
  db: Kysely<Database>,
  { channel, sender }: { channel: string; sender: string },
): Promise<void> {
  await sql`select pg_notify(${channel}::text, ${sender}::text)`.execute(db);
}

/**
 * Removes at most `limit` events from before `before`, and stores the position of the last one, in one statement. Skips
 * events that another server is removing. Returns the number of removed events.
 */
export async function removeEvents(
  db: Kysely<Database>,
  due: { before: Date; limit: number },
): Promise<number> {
  const { rows } = await sql<{ count: number }>`
    with gone as (
      delete from booking_events where ${isAmongEarliest("booking_events", "occurred_at", due)}
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
 * Assigns the feed to this cluster, and returns whether it belonged to another one. Transaction ids restart in a database
 * that was dumped and restored, so new events would precede old ones. The old ones move to the front, in the order of
 * their ids. The feed gets a new generation, so that older cursors are detected.
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
