import { type Kysely, sql } from "kysely";

/**
 * API keys, idempotency, the audit log and the limit of pending bookings.
 *
 * - `api_keys`: keys of programs. Only the `hash` of a key is stored. A key has 256 random bits, so one round of SHA-256
 *   is enough. A key acts as a user of its own. A ticket for a WebSocket stores its key and expires with it.
 * - `idempotency_keys`: answers to requests that may be retried. Neither the key nor the answer can be read here:
 *   `key_hash` is a hash, and `answer` is encrypted with the key. Until `pending_until` the first request may still finish.
 *   If it does not, `answer` is the answer to a retry.
 * - `audit_log`: changes by admins, written in the transaction of the change. A trigger forbids to change or delete it,
 *   also for the server's own role.
 * - `may_hold_another` counts the pending bookings of a user. See the guide on decisions.
 */
export async function up(db: Kysely<unknown>): Promise<void> {
  // First, because it takes longest. It blocks bookings until the end of the transaction, and the rest is fast.
  await sql`create index bookings_waiting_idx on bookings (user_id) where status = 'pending'`.execute(db);

  await sql`
    create table api_keys (
      id bigint generated always as identity primary key,
      hash text not null constraint api_keys_hash_key unique,
      name text not null,
      prefix text not null,
      scopes jsonb not null,
      user_id bigint not null constraint api_keys_user_key unique references users,
      created_by bigint not null references users,
      created_at timestamptz not null,
      expires_at timestamptz,
      last_used_at timestamptz,
      revoked_at timestamptz
    )
  `.execute(db);
  await sql`create index api_keys_creator_idx on api_keys (created_by)`.execute(db);
  await sql`alter table socket_tickets add column api_key_id bigint references api_keys`.execute(db);
  await sql`create index socket_tickets_api_key_idx on socket_tickets (api_key_id)`.execute(db);

  await sql`
    create table idempotency_keys (
      user_id bigint not null references users,
      key_hash text not null,
      request_hash text not null,
      status integer,
      answer bytea,
      pending_until timestamptz,
      created_at timestamptz not null,
      constraint idempotency_keys_pkey primary key (user_id, key_hash)
    )
  `.execute(db);
  await sql`create index idempotency_keys_created_idx on idempotency_keys (created_at)`.execute(db);

  await sql`create type audit_resource as enum ('room', 'timeslots', 'timeslot', 'booking', 'api_key', 'clock')`
    .execute(db);
  await sql`
    create table audit_log (
      id bigint generated always as identity primary key,
      occurred_at timestamptz not null,
      user_id bigint not null references users,
      operation text not null,
      resource audit_resource not null,
      resource_id bigint,
      before jsonb,
      after jsonb,
      request_id text not null
    )
  `.execute(db);
  await sql`create index audit_log_user_idx on audit_log (user_id, id desc)`.execute(db);
  await sql`create index audit_log_operation_idx on audit_log (operation, id desc)`.execute(db);
  await sql`create index audit_log_resource_idx on audit_log (resource, resource_id, id desc)`.execute(db);
  await sql`create index audit_log_occurred_idx on audit_log (occurred_at)`.execute(db);
  await sql`
    create function refuse_change_of_audit_log() returns trigger language plpgsql as $$
    begin
      raise exception 'the audit log is append-only';
    end $$
  `.execute(db);
  await sql`
    create trigger audit_log_append_only before update or delete or truncate on audit_log
    for each statement execute function refuse_change_of_audit_log()
  `.execute(db);

  await sql`
    create function may_hold_another(holder bigint, maximum integer, at timestamptz) returns boolean
    language plpgsql volatile as $$
    begin
      -- Until this transaction ends, others of the same user wait here.
      perform pg_advisory_xact_lock(hashtextextended('bookings that wait of user ' || holder, 0));
      return maximum > (
        select count(*) from bookings b join timeslots t on t.id = b.timeslot_id
        where b.user_id = holder and b.status = 'pending' and t.starts_at > at
      );
    end $$
  `.execute(db);
}
