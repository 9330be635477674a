import { type Kysely, sql } from "kysely";

/**
 * Payments. Reports of a provider are facts in any order, so each is a row or a number that only grows:
 *
 * - `checkouts`: the places where a booking could be paid. The provider sends `id` back to us. `reference` is the
 *   provider's own name, unknown until it has answered. The job `close_job_id` closes the checkout at the provider.
 * - `payments`: one row per payment of the provider. A refund may be reported before its payment. Then `amount` is null.
 *   `pays_booking` is true for the booking's payment. A second payment, or one with another amount, is refunded.
 *   `reported_refunded` is the total refund that the provider reports, including refunds that we did not request.
 * - `refunds`: the refunds that we decided. The deciding statement writes the row and the job (`job_id`, of
 *   graphile-worker) that asks the provider. `target` is the total refund of the payment after this one. So a manual
 *   refund in between reduces the rest.
 * - `payment_events`: the messages of the provider that are settled.
 *
 * Servers of the previous version may still run. For them `refund_amount` has a default, and may lie below
 * `amount_refunded`.
 *
 * `bookings.payment_id` repeats a fact of `payments`. A cancellation may wait for the lock of a booking. Then it sees
 * the new version of the booking, but an old snapshot of other tables.
 */
export async function up(db: Kysely<unknown>): Promise<void> {
  await sql`alter type payment_status add value 'refund_pending' after 'paid'`.execute(db);
  await sql`alter type payment_status add value 'refund_failed'`.execute(db);
  await sql`alter type cancellation_reason add value 'hold_expired'`.execute(db);
  await sql`alter type booking_event_type add value 'payment_failed'`.execute(db);
  await sql`alter type booking_event_type add value 'refunded'`.execute(db);
  await sql`create type refund_status as enum ('pending', 'succeeded', 'failed')`.execute(db);
  await sql`create type payment_event_kind as enum ('paid', 'failed', 'expired', 'refunded')`.execute(db);

  await sql`
    create table checkouts (
      id uuid primary key,
      booking_id bigint not null references bookings,
      provider text not null,
      reference text,
      created_at timestamptz not null,
      closed_at timestamptz,
      close_job_id bigint
    )
  `.execute(db);
  await sql`create index checkouts_booking_idx on checkouts (booking_id)`.execute(db);
  await sql`create index checkouts_open_idx on checkouts (booking_id) where closed_at is null`.execute(db);

  await sql`
    create table payments (
      id bigint generated always as identity primary key,
      provider text not null,
      reference text not null,
      checkout_id uuid not null references checkouts,
      booking_id bigint not null references bookings,
      currency text not null,
      amount numeric(12, 2) constraint payments_amount_not_negative check (amount >= 0),
      pays_booking boolean not null,
      reported_refunded numeric(12, 2) not null,
      paid_at timestamptz,
      constraint payments_reference_key unique (provider, reference),
      constraint payments_amount_when_paid check ((amount is null) = (paid_at is null))
    )
  `.execute(db);
  await sql`create unique index payments_booking_key on payments (booking_id) where pays_booking`.execute(db);
  await sql`create index payments_booking_idx on payments (booking_id)`.execute(db);
  await sql`create index payments_checkout_idx on payments (checkout_id)`.execute(db);

  await sql`
    create table refunds (
      id uuid primary key,
      payment_id bigint not null references payments,
      booking_id bigint not null references bookings,
      amount numeric(12, 2) not null constraint refunds_amount_positive check (amount > 0),
      target numeric(12, 2) not null constraint refunds_target_with_amount check (target >= amount),
      status refund_status not null,
      idempotency_key uuid not null,
      job_id bigint not null,
      reference text,
      failure text,
      requested_at timestamptz not null,
      settled_at timestamptz
    )
  `.execute(db);
  await sql`create index refunds_booking_idx on refunds (booking_id)`.execute(db);
  await sql`create index refunds_payment_idx on refunds (payment_id)`.execute(db);
  await sql`create index refunds_pending_idx on refunds (job_id) where status = 'pending'`.execute(db);

  await sql`
    create table payment_events (
      provider text not null,
      event_id text not null,
      kind payment_event_kind not null,
      booking_id bigint not null references bookings,
      received_at timestamptz not null,
      primary key (provider, event_id)
    )
  `.execute(db);
  await sql`create index payment_events_booking_idx on payment_events (booking_id)`.execute(db);

  await sql`alter table bookings add column hold_expires_at timestamptz`.execute(db);
  await sql`alter table bookings add column refund_amount numeric(12, 2) not null default 0`.execute(db);
  await sql`alter table bookings add column payment_id bigint references payments`.execute(db);
  await sql`update bookings set refund_amount = amount_refunded where amount_refunded > 0`.execute(db);
  await sql`
    alter table bookings
      add constraint bookings_hold_while_pending check (hold_expires_at is null or status = 'pending'),
      add constraint bookings_refund_decided check (refund_amount between 0 and amount_paid)
  `.execute(db);
  await sql`create index bookings_hold_idx on bookings (hold_expires_at) where hold_expires_at is not null`.execute(db);
  await sql`create index bookings_payment_idx on bookings (payment_id) where payment_id is not null`.execute(db);
}
