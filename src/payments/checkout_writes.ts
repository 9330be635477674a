/** Changes of checkouts alone, and the parts about payments that statements of bookings and settlements share. */
import { type Kysely, type RawBuilder, sql } from "kysely";
import type { PaymentStatus } from "../../generated/database.d.ts";
import type { Database } from "../database/connect.ts";
import { enqueue } from "../jobs/enqueue.ts";

/** Notes what the provider calls a checkout. */
export async function setCheckoutReference(
  db: Kysely<Database>,
  { id, reference }: { id: string; reference: string },
): Promise<void> {
  await db.updateTable("checkouts").set({ reference }).where("id", "=", id).execute();
}

/** Closes those of these checkouts that nobody else is dealing with, and says how many. */
export async function closeCheckoutsOf(
  db: Kysely<Database>,
  { ids, now }: { ids: string[]; now: Date },
): Promise<number> {
  const { count } = await db.with("closed", () => closeCheckouts(sql`id in (${sql.join(ids)})`, now))
    .selectFrom("closed").select((eb) => eb.fn.countAll<number>().as("count")).executeTakeFirstOrThrow();
  return count;
}

/** Closes a checkout whose address nobody was given. Should the provider have opened it, it expires there. */
export async function abandonCheckout(db: Kysely<Database>, { id, now }: { id: string; now: Date }): Promise<void> {
  await db.updateTable("checkouts").set({ closed_at: now }).where("id", "=", id).where("closed_at", "is", null)
    .execute();
}

/**
 * Closes the open checkouts for which `which` holds, for a `with`: nobody shall pay there any more. The provider is told by
 * a job.
 */
export function closeCheckouts(which: RawBuilder<boolean>, now: Date): RawBuilder<{ id: string }> {
  // Locked first: what an update sets it works out before it waits, and would add a job for a checkout that is closed by then.
  return sql<{ id: string }>`(
    update checkouts set closed_at = ${now}::timestamptz, close_job_id = ${enqueue("close_checkout", sql`open.id`)}
    from (select id from checkouts where closed_at is null and ${which} for update skip locked) open
    where checkouts.id = open.id
    returning checkouts.id
  )`;
}

/**
 * `insert into refunds …` of what `due` selects, with the jobs, for a `with`: `payment_id`, `booking_id`, `amount`, and
 * `target`, what shall have been given back of the payment in all.
 */
export function newRefund(due: RawBuilder<unknown>, now: Date): RawBuilder<{ id: string }> {
  return sql<{ id: string }>`(
    insert into refunds (id, payment_id, booking_id, amount, target, status, idempotency_key, requested_at, job_id)
    select new.id, new.payment_id, new.booking_id, new.amount, new.target, 'pending', gen_random_uuid(), ${now}::timestamptz,
      ${enqueue("refund_payment", sql`new.id`)}
    from (select gen_random_uuid() as id, due.* from (${due}) due where due.amount > 0) new
    returning id
  )`;
}

/** What a booking `b` owes or has paid, unless a refund is under way or has failed, which is what has to be seen. */
export function unlessRefunding(status: RawBuilder<PaymentStatus>): RawBuilder<PaymentStatus> {
  return sql<PaymentStatus>`case
    when b.payment_status in ('refund_pending', 'refund_failed') then b.payment_status else ${status} end`;
}

/** How far what was paid has been given back. */
export function paidStatus(paid: RawBuilder<unknown>, refunded: RawBuilder<unknown>): RawBuilder<PaymentStatus> {
  return sql<PaymentStatus>`case
    when ${refunded} = 0 then 'paid' when ${refunded} = ${paid} then 'refunded' else 'partially_refunded'
    end::payment_status`;
}
