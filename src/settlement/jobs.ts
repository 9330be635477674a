/** Jobs about payments: refunds and closed checkouts, until the provider has accepted them. */
import type { Transaction } from "kysely";
import type { Database } from "../database/connect.ts";
import { sweepInChunks } from "../database/sweep.ts";
import { inTransaction, retryConflicts } from "../database/transactions.ts";
import { freeAbandonedJobs, listGivenUpJobs, removeJob } from "../jobs/queue.ts";
import type { WorkerOptions } from "../jobs/worker.ts";
import { toCents } from "../money.ts";
import { askProvider } from "../payments/ask.ts";
import { closeCheckoutsOf } from "../payments/checkout_writes.ts";
import { ProviderRefusal } from "../payments/provider.ts";
import { findCheckout, findRefund, findRefundOfJob, listStrayCheckouts } from "../payments/queries.ts";
import { storeNotice } from "./receive_payment_event.ts";
import { lockBookingOfRefund, markRefundFailed, markRefundSucceeded } from "./refund_writes.ts";
import type { SettlementRules } from "./rules.ts";

/** The tasks of the job queue. A task may run twice, because a server may crash before it has reported its success. */
export function paymentTasks(rules: SettlementRules): WorkerOptions["tasks"] {
  return {
    refund_payment: (id) => refundPayment(rules, id),
    close_checkout: (id, { attempt }) => closeCheckout(rules, id, attempt),
  };
}

async function refundPayment(rules: SettlementRules, id: string): Promise<void> {
  const { db, payments } = rules;
  const row = await findRefund(db, id);
  if (row?.status !== "pending") return;
  const { payment, currency, idempotencyKey } = row;
  const cents = toCents(row.owed);
  if (cents === 0) return await completeRefund(rules, id, null);
  if (payments?.name !== row.provider) throw new Error(`the payment provider ${row.provider} is not configured`);
  try {
    // A different amount is a different request.
    const request = { id, idempotencyKey: `${idempotencyKey}-${cents}`, payment, cents, currency };
    const reference = await askProvider(() => payments.refund(request));
    await completeRefund(rules, id, reference);
  } catch (failure) {
    if (!(failure instanceof ProviderRefusal)) throw failure;
    await failRefund(rules, { id, jobId: row.jobId, failure: failure.message });
  }
}

async function completeRefund(rules: SettlementRules, id: string, reference: string | null): Promise<void> {
  await withLockedRefund(rules, id, (trx, now) => markRefundSucceeded(trx, { id, reference, now }));
}

interface FailedRefund {
  id: string;
  jobId: number;
  failure: string;
}

async function failRefund(rules: SettlementRules, refund: FailedRefund): Promise<void> {
  await withLockedRefund(rules, refund.id, (trx, now) => markRefundFailed(trx, { ...refund, now }));
  rules.log.error("refund failed", { refundId: refund.id, failure: refund.failure });
}

/** Changes a refund that is still pending after its booking was locked. */
async function withLockedRefund(
  { db, clock, announce }: SettlementRules,
  id: string,
  change: (trx: Transaction<Database>, now: Date) => Promise<void>,
): Promise<void> {
  await inTransaction(db, async (trx) => {
    if (await lockBookingOfRefund(trx, id) !== undefined) await change(trx, clock.now());
  });
  announce();
}

/** After this many attempts the provider has answered the request for a checkout, or never will. */
const maxAttemptsForReference = 4;

async function closeCheckout(rules: SettlementRules, id: string, attempt: number): Promise<void> {
  const { db, payments } = rules;
  const row = await findCheckout(db, id);
  // The provider was replaced, so nobody can close the checkout. It expires by itself.
  if (row === undefined || payments?.name !== row.provider) return;
  const { reference } = row;
  if (reference !== null) {
    const paid = await askProvider(() => payments.closeCheckout(reference));
    return paid === undefined ? undefined : await storeNotice(rules, row.provider, paid);
  }
  if (attempt < maxAttemptsForReference) throw new Error("the provider has not named the checkout yet");
}

/** Checkouts or jobs per statement. */
const chunkSize = 100;

/**
 * Closes open checkouts of bookings that are confirmed, cancelled or expired. A payment that arrives earlier is
 * refunded, so this may follow the change. It also finds a checkout that was opened at the same moment as the change.
 */
export async function closeStrayCheckouts({ db, clock }: SettlementRules): Promise<void> {
  await sweepInChunks(chunkSize, async (limit) => {
    const ids = await listStrayCheckouts(db, { limit });
    if (ids.length === 0) return 0;
    const count = await retryConflicts(db, () => closeCheckoutsOf(db, { ids, now: clock.now() }));
    return count === 0 ? 0 : ids.length;
  });
}

/** Unlocks jobs of crashed servers, and ends jobs after their last attempt. A refund among them has failed. */
export async function tendJobs(rules: SettlementRules): Promise<void> {
  const { db, log } = rules;
  await freeAbandonedJobs(db);
  await sweepInChunks(chunkSize, async (limit) => {
    const jobs = await listGivenUpJobs(db, { limit });
    for (const { id, name, lastError } of jobs) {
      const refund = await findRefundOfJob(db, id);
      if (refund !== undefined) {
        await failRefund(rules, { id: refund.id, jobId: id, failure: lastError ?? "no answer" });
      } else log.warn("job failed for good", { name, lastError });
      await removeJob(db, id);
    }
    return jobs.length;
  });
}
