import { type Kysely, sql } from "kysely";

/**
 * Claims an `Idempotency-Key` in one round trip.
 *
 * - `claim_idempotency_key` locks a key until the end of the transaction, and then reads its row. A function, because each of
 *   its statements sees what was committed before it. So it sees the row of the lock's previous holder.
 * - `idempotency_keys_user_id_fkey` checked the user of each key. A user is never deleted, and the user of a request exists.
 */
export async function up(db: Kysely<unknown>): Promise<void> {
  await sql`alter table idempotency_keys drop constraint idempotency_keys_user_id_fkey`.execute(db);
  await sql`
    create function claim_idempotency_key(
      lock bigint, claimer bigint, hash text, since timestamptz,
      out is_free boolean, out request_hash text, out status integer, out answer bytea, out pending_until timestamptz
    )
    language plpgsql volatile as $$
    begin
      is_free := pg_try_advisory_xact_lock(lock);
      if is_free then
        select k.request_hash, k.status, k.answer, k.pending_until into request_hash, status, answer, pending_until
        from idempotency_keys k where k.user_id = claimer and k.key_hash = hash and k.created_at > since;
      end if;
    end $$
  `.execute(db);
}
