/** The rules of payments: what follows from what a provider tells, and what a provider is asked for. */
import type { Kysely, Transaction } from "kysely";
import type { Booking } from "../../generated/contract.ts";
import type { Audit } from "../audit/audit.ts";
import type { Caller } from "../contract/caller.ts";
import { toBooking } from "../bookings/bookings.ts";
import { type BookingRow, findBooking, lockBooking } from "../bookings/queries.ts";
import { assertOwner, bookingNotFound } from "../bookings/refusals.ts";
import type { Clock } from "../time/clock.ts";
import type { Database } from "../database/connect.ts";
import { retryConflicts } from "../database/failures.ts";
import { inTransaction } from "../database/transactions.ts";
import type { Log } from "../log.ts";
import { freeAbandonedJobs, listGivenUpJobs, removeJob } from "../jobs/queue.ts";
import type { WorkerOptions } from "../jobs/worker.ts";
import { Problem } from "../contract/problems.ts";
import { askProvider } from "../payments/ask.ts";
import { openCheckout } from "../payments/checkouts.ts";
import { toCents } from "../money.ts";
import { type PaymentNotice, type PaymentProvider, ProviderRefusal, type Webhook } from "../payments/provider.ts";
import { findCheckout, findRefund, findRefundOfJob, listStrayCheckouts } from "../payments/queries.ts";
import {
  failRefund,
  lockBookingOfRefund,
  recordReportedRefund,
  retryFailedRefunds,
  settleRefund,
} from "./refund_writes.ts";
import { closeCheckoutsOf } from "../payments/checkout_writes.ts";
import {
  insertCheckout,
  lockBookingOfCheckout,
  lockTimeslotOf,
  recordFailure,
  recordPayment,
  wasOvertaken,
} from "./payment_writes.ts";

export interface PaymentRules {
  db: Kysely<Database>;
  clock: Clock;
  log: Log;
  /** Undefined when payments happen elsewhere. */
  payments: PaymentProvider | undefined;
  /** Called after a change: there is something new in the feed of events. */
  announce: () => void;
}

/** Asks the provider for a page, which happens outside of any transaction, and writes down what it is called. */
type PayableBooking = (db: Kysely<Database>) => Promise<{ booking: Booking; checkoutUrl: string }>;

/**
 * Writes a fresh checkout for the caller's own booking while it waits for its payment, and closes those before. What it
 * returns opens the checkout; it throws `booking_not_payable` or `payment_provider_unavailable`.
 *
 * @throws {Problem} `booking_not_found`, `not_booking_owner` or `booking_not_payable`.
 */
export async function createCheckout(rules: PaymentRules, caller: Caller, bookingId: number): Promise<PayableBooking> {
  const { db, clock, payments } = rules;
  const now = clock.now();
  const id = crypto.randomUUID();
  const row = payments === undefined ? undefined : await inTransaction(db, async (trx) => {
    await lockBooking(trx, bookingId);
    return await insertCheckout(trx, { id, bookingId, userId: caller.userId, provider: payments.name, now });
  });
  if (payments === undefined || row === undefined) throw await paymentRefusal(rules, caller, bookingId);
  const booking = toBooking(row);
  return async (db) => {
    const opened = await openCheckout({ ...rules, db }, payments, { id, booking });
    if (opened.url !== null) return { booking, checkoutUrl: opened.url };
    if (opened.because === "refused") {
      const detail = "The payment provider does not take this payment. Ask the operator to confirm the booking.";
      throw new Problem("booking_not_payable", detail);
    }
    const detail = "The payment provider cannot be reached right now. Try again in a moment.";
    throw new Problem("payment_provider_unavailable", detail);
  };
}

async function paymentRefusal({ db, payments }: PaymentRules, caller: Caller, bookingId: number): Promise<Problem> {
  const row = await findBooking(db, bookingId);
  if (row === undefined) return bookingNotFound(bookingId);
  assertOwner(row, caller);
  return new Problem("booking_not_payable", whyNotPayable(row, payments));
}

function whyNotPayable({ status, price }: BookingRow, payments: PaymentProvider | undefined): string {
  if (status !== "pending") return `The booking is ${status}, so no payment is due.`;
  if (Number(price) === 0) return "The booking costs nothing.";
  if (payments === undefined) return "Payments happen elsewhere. An admin confirms the booking when it is paid.";
  return "The hold of the booking has expired. Book the timeslot again.";
}

/** A checkout with its booking, for the provider whose page is ours. */
export async function findCheckoutPage(
  { db, payments }: PaymentRules,
  id: string,
): Promise<{ booking: Booking; isClosed: boolean } | undefined> {
  const checkout = await findCheckout(db, id);
  if (checkout === undefined || checkout.provider !== payments?.name) return undefined;
  const row = await findBooking(db, checkout.bookingId);
  return row === undefined ? undefined : { booking: toBooking(row), isClosed: checkout.isClosed };
}

/**
 * Takes a message of the provider, and stores it with all that follows from it. One that is known, or is about no checkout of
 * ours, changes nothing.
 *
 * @throws {Problem} `payment_provider_not_found` or `webhook_invalid`.
 */
export async function receive(rules: PaymentRules, provider: string, webhook: Webhook): Promise<void> {
  const { payments } = rules;
  if (payments?.name !== provider) {
    throw new Problem("payment_provider_not_found", `The payment provider ${provider} is not configured here.`);
  }
  const notice = await payments.readWebhook(webhook);
  if (notice === undefined) return;
  await store(rules, provider, notice);
}

/** Thrown to roll a transaction back that has to begin again. */
class Overtaken extends Error {
  override name = "Overtaken";
}

/** Attempts at storing a payment that others keep getting in the way of. */
const attempts = 10;

async function store(rules: PaymentRules, provider: string, notice: PaymentNotice): Promise<void> {
  for (let left = attempts; left > 0; left--) {
    try {
      const stored = await retryConflicts(() => storeOnce(rules, provider, notice));
      if (stored) rules.announce();
      else rules.log.warn("a payment event is about no checkout that we know", { provider, eventId: notice.eventId });
      return;
    } catch (failure) {
      if (!(failure instanceof Overtaken)) throw failure;
    }
  }
  throw new Error(`payment event ${notice.eventId} was overtaken ${attempts} times in a row`);
}

function storeOnce({ db, clock, log }: PaymentRules, provider: string, notice: PaymentNotice): Promise<boolean> {
  const now = clock.now();
  return db.transaction().execute(async (trx) => {
    const booking = await lockBookingOfCheckout(trx, { ...notice, provider });
    if (booking === undefined) return false;
    const bookingId = booking.id;
    const told = { ...notice, bookingId, provider, now };
    switch (told.kind) {
      case "paid": {
        await lockTimeslotOf(trx, bookingId);
        // Only one that is cancelled may take its timeslot again.
        if (booking.status === "cancelled" && await wasOvertaken(trx, bookingId)) throw new Overtaken();
        const outcome = await recordPayment(trx, told);
        if (outcome?.settles === false) {
          log.warn("a payment does not settle its booking and goes back", { bookingId, payment: told.payment });
        }
        break;
      }
      case "refunded":
        await recordReportedRefund(trx, told);
        break;
      default:
        await recordFailure(trx, told);
    }
    return true;
  });
}

/**
 * Has the failed refunds of a booking tried again.
 *
 * @throws {Problem} `booking_not_found` or `no_failed_refund`.
 */
export async function retryRefund(
  { db, clock, announce, audit }: PaymentRules & { audit: Audit },
  bookingId: number,
): Promise<{ booking: Booking; refundAmount: number }> {
  return await inTransaction(db, async (trx) => {
    await lockBooking(trx, bookingId);
    const before = await findBooking(trx, bookingId);
    if (before === undefined) throw bookingNotFound(bookingId);
    const row = await retryFailedRefunds(trx, { bookingId, now: clock.now() });
    if (row === undefined) {
      const detail = `No refund of booking ${bookingId} has failed: its payment is ${before.payment_status}.`;
      throw new Problem("no_failed_refund", detail);
    }
    const booking = toBooking(row);
    await audit({ resource: "booking", resourceId: bookingId, before: toBooking(before), after: booking });
    announce();
    return { booking, refundAmount: Number(row.refund) };
  });
}

/** What the queue of jobs asks for. Each may be done twice, since a server may die before it has said that it is done. */
export function paymentTasks(rules: PaymentRules): WorkerOptions["tasks"] {
  return {
    refund_payment: (id) => refund(rules, id),
    close_checkout: (id, { attempt }) => closeCheckout(rules, id, attempt),
  };
}

async function refund(rules: PaymentRules, id: string): Promise<void> {
  const { db, payments } = rules;
  const row = await findRefund(db, id);
  if (row?.status !== "pending") return;
  const { payment, currency, idempotencyKey } = row;
  const cents = toCents(row.owed);
  if (cents === 0) return await settle(rules, id, null);
  if (payments?.name !== row.provider) throw new Error(`the payment provider ${row.provider} is not configured`);
  try {
    // Another amount is another question.
    const question = { id, idempotencyKey: `${idempotencyKey}-${cents}`, payment, cents, currency };
    const reference = await askProvider(() => payments.refund(question));
    await settle(rules, id, reference);
  } catch (failure) {
    if (!(failure instanceof ProviderRefusal)) throw failure;
    await giveUp(rules, { id, jobId: row.jobId, failure: failure.message });
  }
}

async function settle(rules: PaymentRules, id: string, reference: string | null): Promise<void> {
  await withLockedRefund(rules, id, (trx, now) => settleRefund(trx, { id, reference, now }));
}

interface GivenUpRefund {
  id: string;
  jobId: number;
  failure: string;
}

async function giveUp(rules: PaymentRules, refund: GivenUpRefund): Promise<void> {
  await withLockedRefund(rules, refund.id, (trx, now) => failRefund(trx, { ...refund, now }));
  rules.log.error("a refund has failed", { refundId: refund.id, failure: refund.failure });
}

/** Changes a refund that is still pending when its booking is locked. */
async function withLockedRefund(
  { db, clock, announce }: PaymentRules,
  id: string,
  change: (trx: Transaction<Database>, now: Date) => Promise<void>,
): Promise<void> {
  await inTransaction(db, async (trx) => {
    if (await lockBookingOfRefund(trx, id) !== undefined) await change(trx, clock.now());
  });
  announce();
}

/** Attempts after which the provider has answered the request for a checkout, or never will. */
const attemptsForReference = 4;

async function closeCheckout(rules: PaymentRules, id: string, attempt: number): Promise<void> {
  const { db, payments } = rules;
  const row = await findCheckout(db, id);
  // With another provider than before nobody can be told; it will expire by itself.
  if (row === undefined || payments?.name !== row.provider) return;
  const { reference } = row;
  if (reference !== null) {
    const paid = await askProvider(() => payments.closeCheckout(reference));
    return paid === undefined ? undefined : await store(rules, row.provider, paid);
  }
  if (attempt < attemptsForReference) throw new Error("the provider has not told yet what it calls the checkout");
}

/** Checkouts a statement. */
const chunkSize = 100;

/**
 * Closes what is still open of bookings that are confirmed, cancelled or expired. A payment that comes before that goes back,
 * so this need not be part of the change itself, and misses nothing that was opened at the same moment.
 */
export async function closeStrayCheckouts({ db, clock }: PaymentRules): Promise<void> {
  for (;;) {
    const ids = await listStrayCheckouts(db, { limit: chunkSize });
    if (ids.length === 0) return;
    const count = await retryConflicts(() => closeCheckoutsOf(db, { ids, now: clock.now() }));
    if (count === 0) return;
  }
}

/** Frees jobs of servers that died, and deals with those that had their last try: a refund among them has failed. */
export async function tendJobs(rules: PaymentRules): Promise<void> {
  const { db, log } = rules;
  await freeAbandonedJobs(db);
  const jobs = await listGivenUpJobs(db);
  for (const { id, name, lastError } of jobs) {
    const refund = await findRefundOfJob(db, id);
    if (refund !== undefined) await giveUp(rules, { id: refund.id, jobId: id, failure: lastError ?? "no answer" });
    else log.warn("a job was given up", { name, lastError });
    await removeJob(db, id);
  }
}
