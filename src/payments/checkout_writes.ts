/** Changes of checkouts, and SQL about payments that statements of bookings and settlements share. */
import { type Kysely, type RawBuilder, sql } from "kysely";
import type { PaymentStatus } from "../../generated/database.d.ts";
import type { Database } from "../database/connect.ts";
import { enqueue } from "../jobs/enqueue.ts";

/** Stores the provider's name of a checkout. */
export async function setCheckoutReference(
  db: Kysely<Database>,
  { id, reference }: { id: string; reference: string },
): Promise<void> {
  await db.updateTable("checkouts").set({ reference }).where("id", "=", id).execute();
}

/** Closes the open ones of these checkouts and returns their number. Skips those that are locked. */
export async function closeCheckoutsOf(
  db: Kysely<Database>,
  { ids, now }: { ids: string[]; now: Date },
): Promise<number> {
  const { count } = await db.with(
    "closed",
    () => closeCheckouts(sql`id in (${sql.join(ids)})`, now, { skipLocked: true }),
  )
    .selectFrom("closed").select((eb) => eb.fn.countAll<number>().as("count")).executeTakeFirstOrThrow();
  return count;
}

/** Closes a checkout whose address no caller got. If the provider has opened it, it expires there. */
export async function abandonCheckout(db: Kysely<Database>, { id, now }: { id: string; now: Date }): Promise<void> {
  await db.updateTable("checkouts").set({ closed_at: now }).where("id", "=", id).where("closed_at", "is", null)
    .execute();
}

/**
 * Returns the statement, for a `with`, that closes the open checkouts for which `which` is true. A job closes each at the
 * provider. It waits for a checkout that just gets its reference; a sweep skips it instead (`skipLocked`).
 */
export function closeCheckouts(
  which: RawBuilder<boolean>,
  now: Date,
  { skipLocked = false }: { skipLocked?: boolean } = {},
): RawBuilder<{ id: string }> {
  // An update computes its new values before it waits for a lock. So the select locks first, or a checkout that another
  // transaction closes meanwhile would get a second job.
  return sql<{ id: string }>`(
    update checkouts set closed_at = ${now}::timestamptz, close_job_id = ${enqueue("close_checkout", sql`open.id`)}
    from (
      select id from checkouts where closed_at is null and ${which}
      for update ${skipLocked ? sql`skip locked` : sql``}
    ) open
    where checkouts.id = open.id
    returning checkouts.id
  )`;
}

/**
 * Returns the statement, for a `with`, that inserts the refunds of `due` and their jobs. The columns of `due` are
 * `payment_id`, `booking_id`, `amount`, and `target`, the total refund of the payment after this one.
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

/** Returns an SQL expression: `status`, unless a refund of the booking `b` is pending or has failed. */
export function unlessRefunding(status: RawBuilder<PaymentStatus>): RawBuilder<PaymentStatus> {
  return sql<PaymentStatus>`case
    when b.payment_status in ('refund_pending', 'refund_failed') then b.payment_status else ${status} end`;
}

/** Returns an SQL expression for the payment status of a paid booking, by its paid and refunded amounts. */
export function paidStatus(paid: RawBuilder<unknown>, refunded: RawBuilder<unknown>): RawBuilder<PaymentStatus> {
  return sql<PaymentStatus>`case
    when ${refunded} = 0 then 'paid' when ${refunded} = ${paid} then 'refunded' else 'partially_refunded'
    end::payment_status`;
}
