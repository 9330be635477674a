import { type Kysely, sql } from "kysely";

/**
 * The first tables. Constraints, not code, keep the critical rules:
 *
 * - `timeslots_no_overlap`: two timeslots of a room never overlap, also if requests generate them at the same time.
 *   Ranges are half-open, so one may end when the next begins. `btree_gist` allows the room's id in a gist index.
 * - `bookings_live_timeslot_key`: one live booking per timeslot. This index decides every race for it.
 * - `bookings_timeslot_fkey` spans timeslot and room, so a booking has the room of its timeslot.
 *
 * Times are instants only, because the program computes wall-clock times. Its zone data may differ from that of Postgres.
 * Every list has an index in its order, and every foreign key has one for its checks.
 */
export async function up(db: Kysely<unknown>): Promise<void> {
  await sql`create extension if not exists btree_gist`.execute(db);
  await sql`create type room_type as enum ('office', 'consultation', 'meeting', 'treatment')`.execute(db);
  await sql`create type booking_status as enum ('pending', 'confirmed', 'cancelled', 'completed', 'no_show')`.execute(
    db,
  );
  await sql`
    create type payment_status as enum ('not_required', 'unpaid', 'paid', 'refunded', 'partially_refunded')
  `.execute(db);
  await sql`create type cancellation_reason as enum ('user_request', 'admin_request')`.execute(db);

  await sql`
    create table users (
      id bigint generated always as identity primary key,
      subject text not null constraint users_subject_key unique,
      name text,
      email text
    )
  `.execute(db);

  await sql`
    create table rooms (
      id bigint generated always as identity primary key,
      name text not null,
      description text,
      capacity integer not null,
      room_type room_type not null,
      hourly_rate numeric(12, 2) constraint rooms_hourly_rate_not_negative check (hourly_rate >= 0),
      currency text not null,
      time_zone text not null,
      auto_confirm boolean not null,
      is_active boolean not null,
      metadata jsonb not null,
      created_at timestamptz not null,
      updated_at timestamptz not null
    )
  `.execute(db);
  await sql`create index rooms_name_idx on rooms (name, id)`.execute(db);

  await sql`
    create table timeslots (
      id bigint generated always as identity primary key,
      room_id bigint not null references rooms,
      starts_at timestamptz not null,
      ends_at timestamptz not null,
      constraint timeslots_end_after_start check (ends_at > starts_at),
      constraint timeslots_id_room_key unique (id, room_id),
      constraint timeslots_no_overlap exclude using gist (room_id with =, tstzrange(starts_at, ends_at) with &&)
    )
  `.execute(db);
  await sql`create index timeslots_room_start_idx on timeslots (room_id, starts_at)`.execute(db);

  await sql`
    create table bookings (
      id bigint generated always as identity primary key,
      user_id bigint not null references users,
      room_id bigint not null references rooms,
      timeslot_id bigint not null,
      status booking_status not null,
      booking_type text,
      notes text,
      price numeric(12, 2) not null,
      currency text not null,
      payment_status payment_status not null,
      amount_paid numeric(12, 2) not null,
      amount_refunded numeric(12, 2) not null,
      cancellation_tiers jsonb not null,
      cancellation_reason cancellation_reason,
      cancelled_at timestamptz,
      created_at timestamptz not null,
      updated_at timestamptz not null,
      constraint bookings_timeslot_fkey foreign key (timeslot_id, room_id) references timeslots (id, room_id),
      constraint bookings_price_not_negative check (price >= 0),
      constraint bookings_refund_within_payment check (amount_refunded between 0 and amount_paid),
      constraint bookings_cancelled_with_reason check (
        (status = 'cancelled') = (cancelled_at is not null) and (status = 'cancelled') = (cancellation_reason is not null)
      )
    )
  `.execute(db);
  await sql`
    create unique index bookings_live_timeslot_key on bookings (timeslot_id) where status <> 'cancelled'
  `.execute(db);
  await sql`create index bookings_timeslot_idx on bookings (timeslot_id)`.execute(db);
  await sql`create index bookings_user_idx on bookings (user_id, created_at desc, id desc)`.execute(db);
  await sql`create index bookings_room_idx on bookings (room_id, created_at desc, id desc)`.execute(db);
  await sql`create index bookings_status_idx on bookings (status, created_at desc, id desc)`.execute(db);
  await sql`create index bookings_created_idx on bookings (created_at desc, id desc)`.execute(db);
}
