/** Queries of checkouts and refunds. */
import { type Kysely, sql } from "kysely";
import type { RefundStatus } from "../../generated/database.d.ts";
import type { Database } from "../database/connect.ts";

export interface CheckoutRow {
  bookingId: number;
  provider: string;
  /** The provider's name of the checkout. Null until the provider has answered. */
  reference: string | null;
  isClosed: boolean;
}

export function findCheckout(db: Kysely<Database>, id: string): Promise<CheckoutRow | undefined> {
  return db.selectFrom("checkouts")
    .select(["booking_id as bookingId", "provider", "reference", sql<boolean>`closed_at is not null`.as("isClosed")])
    .where("id", "=", id)
    .executeTakeFirst();
}

export interface RefundRow {
  status: RefundStatus;
  jobId: number;
  provider: string;
  payment: string;
  /** The amount still to refund. It may be less than decided, or 0, if the provider has reported other refunds. */
  owed: string;
  currency: string;
  idempotencyKey: string;
}

export async function findRefund(db: Kysely<Database>, id: string): Promise<RefundRow | undefined> {
  return await db.selectFrom("refunds as r").innerJoin("payments as p", "p.id", "r.payment_id")
    .select([
      "r.status",
      "r.job_id as jobId",
      "p.provider",
      "p.reference as payment",
      sql<string>`greatest(least(r.amount, r.target - p.reported_refunded - p.settled_elsewhere), 0)`.as("owed"),
      "p.currency",
      "r.idempotency_key as idempotencyKey",
    ])
    .where("r.id", "=", id)
    .executeTakeFirst();
}

/** Returns the pending refund of a job. */
export function findRefundOfJob(db: Kysely<Database>, jobId: number): Promise<{ id: string } | undefined> {
  return db.selectFrom("refunds").select("id").where("job_id", "=", jobId).where("status", "=", "pending")
    .executeTakeFirst();
}

/** Lists the open checkouts of bookings that no longer wait for a payment. */
export async function listStrayCheckouts(db: Kysely<Database>, { limit }: { limit: number }): Promise<string[]> {
  // The subquery finds the booking of each open checkout. A join might read all bookings.
  const rows = await db.selectFrom("checkouts as c").select("c.id")
    .where("c.closed_at", "is", null)
    .where((eb) => eb(eb.selectFrom("bookings").select("status").whereRef("id", "=", "c.booking_id"), "<>", "pending"))
    .limit(limit).execute();
  return rows.map(({ id }) => id);
}
