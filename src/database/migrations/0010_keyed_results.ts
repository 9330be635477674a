import { type Kysely, sql } from "kysely";

/**
 * Lets the statement of a change store its own result under the `Idempotency-Key`.
 *
 * - `result` is what the answer is made of. A key has a result, an answer, or neither while its request may still finish.
 * - `lock_idempotency_key` replaces `claim_idempotency_key`, and also returns the result.
 * - `claim_idempotency_key` is for servers of the previous version, until they are gone. They do not know results, so a key
 *   that has one is not free for them. They answer that the request is in progress, and the client sends it again.
 */
export async function up(db: Kysely<unknown>): Promise<void> {
  await sql`alter table idempotency_keys add column result json`.execute(db);
  await sql`
    create function lock_idempotency_key(
      lock bigint, claimer bigint, hash text, since timestamptz,
      out is_free boolean, out request_hash text, out status integer, out answer bytea, out result json,
      out pending_until timestamptz
    )
    language plpgsql volatile as $$
    begin
      is_free := pg_try_advisory_xact_lock(lock);
      if is_free then
        select k.request_hash, k.status, k.answer, k.result, k.pending_until
        into request_hash, status, answer, result, pending_until
        from idempotency_keys k where k.user_id = claimer and k.key_hash = hash and k.created_at > since;
      end if;
    end $$
  `.execute(db);
  await sql`
    create or replace function claim_idempotency_key(
      lock bigint, claimer bigint, hash text, since timestamptz,
      out is_free boolean, out request_hash text, out status integer, out answer bytea, out pending_until timestamptz
    )
    language plpgsql volatile as $$
    declare
      result json;
    begin
      select k.is_free, k.request_hash, k.status, k.answer, k.pending_until, k.result
      into is_free, request_hash, status, answer, pending_until, result
      from lock_idempotency_key(lock, claimer, hash, since) k;
      is_free := is_free and result is null;
    end $$
  `.execute(db);
}
