import { type Kysely, sql } from "kysely";

/**
 * The feed of events. The transaction of a change also writes its events.
 *
 * - The order of the feed is (`transaction_id`, `id`). Ids alone are not enough, because they are committed out of order.
 *   A reader that has seen 8 would never see a 7 that is committed later. So a reader stays below the oldest running
 *   transaction, where no event can appear later.
 * - Rows are copies of the changed rows. The feed has no foreign keys, so a log entry can outlive its subject.
 * - `booking_events_user_idx` and `booking_events_room_idx` serve subscribers that resume. `booking_events_occurred_idx`
 *   finds the events that are too old.
 * - `event_feed` has one row: the cluster of the feed, and the position up to which events were removed. An older cursor
 *   has missed events. Transaction ids belong to a Postgres cluster, so the feed stores its cluster.
 * - `bookings.reminded_at` limits reminders to one per booking, also after old events are removed. `timeslots_start_idx`
 *   finds the timeslots of all rooms that start soon.
 * - `socket_tickets` has only the hash of a ticket. A reader of this table cannot open a socket with it.
 */
export async function up(db: Kysely<unknown>): Promise<void> {
  await sql`
    create type booking_event_type as enum (
      'created', 'confirmed', 'cancelled', 'rescheduled', 'completed', 'no_show', 'reminder',
      'taken', 'freed', 'generated', 'deleted', 'room_opened', 'room_closed'
    )
  `.execute(db);
  await sql`
    create table booking_events (
      transaction_id xid8 not null default pg_current_xact_id(),
      id bigint generated always as identity,
      type booking_event_type not null,
      user_id bigint,
      room_id bigint not null,
      booking_id bigint,
      occurred_at timestamptz not null,
      data jsonb not null,
      primary key (transaction_id, id),
      constraint booking_events_user_of_booking check ((user_id is null) = (booking_id is null))
    )
  `.execute(db);
  await sql`
    create index booking_events_user_idx on booking_events (user_id, transaction_id, id) where user_id is not null
  `.execute(db);
  await sql`create index booking_events_room_idx on booking_events (room_id, transaction_id, id)`.execute(db);
  await sql`create index booking_events_occurred_idx on booking_events (occurred_at)`.execute(db);

  await sql`
    create table event_feed (
      only_row boolean primary key default true constraint event_feed_one_row check (only_row),
      generation text not null,
      cluster text not null,
      removed_transaction_id xid8 not null default '0',
      removed_id bigint not null default 0
    )
  `.execute(db);
  await sql`
    insert into event_feed (generation, cluster)
    select substr(md5(gen_random_uuid()::text), 1, 8), system_identifier::text from pg_control_system()
  `.execute(db);

  await sql`alter table bookings add column reminded_at timestamptz`.execute(db);
  await sql`create index timeslots_start_idx on timeslots (starts_at)`.execute(db);

  await sql`
    create table socket_tickets (
      hash text primary key,
      user_id bigint not null references users,
      role text not null,
      token_expires_at timestamptz not null,
      expires_at timestamptz not null
    )
  `.execute(db);
  await sql`create index socket_tickets_expiry_idx on socket_tickets (expires_at)`.execute(db);
  await sql`create index socket_tickets_user_idx on socket_tickets (user_id)`.execute(db);
}
