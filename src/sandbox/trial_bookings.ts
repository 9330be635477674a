/** Bookings in each state that a request of the reference needs. */
import type { BookingRules } from "../bookings/booking.ts";
import { createBooking } from "../bookings/create_booking.ts";
import { markCancelled } from "../bookings/cancellation_writes.ts";
import { lockBooking } from "../bookings/queries.ts";
import type { Config } from "../config.ts";
import { inTransaction } from "../database/transactions.ts";
import { toCents } from "../money.ts";
import { storeNotice } from "../settlement/receive_payment_event.ts";
import { markRefundFailed } from "../settlement/refund_writes.ts";

export type TrialRules = Omit<BookingRules, "audit"> & { config: Config };

/** The reference prepares its bookings without entries in the audit log. */
export function noAudit(): Promise<void> {
  return Promise.resolve();
}

/** A page of the reference may stay open for hours. */
const holdMinutes = 24 * 60;
/** A hold shorter than this may end before its request is sent. */
const leastHoldMs = 2 * 3_600_000;
/** Bookings to choose from. */
const maxBookings = 500;
/** The amount that a request refunds. It is whole, because some currencies have no fractions. */
export const leastRefund = 10;

interface TrialBooking {
  id: number;
  userId: number;
  status: string;
  paymentStatus: string;
  price: number;
  /** The amount that can still be refunded. */
  left: number;
  holdExpiresAt: string | null;
  startsAt: string;
}

/** The bookings of the users of the reference. Makes those that are missing. Takes their timeslots off `slots`. */
export class TrialBookings {
  private constructor(private readonly rules: TrialRules, private readonly bookings: TrialBooking[]) {}

  static async load(
    rules: TrialRules,
    { userId, guestId }: { userId: number; guestId: number },
  ): Promise<TrialBookings> {
    const rows = await rules.db.selectFrom("bookings as b").innerJoin("timeslots as t", "t.id", "b.timeslot_id")
      .innerJoin("rooms as r", "r.id", "b.room_id")
      .select(["b.id", "b.user_id", "b.status", "b.payment_status", "b.price", "b.amount_paid", "b.refund_amount"])
      .select(["b.hold_expires_at", "t.starts_at"])
      .where("b.user_id", "in", [userId, guestId]).where("r.is_active", "=", true)
      .orderBy("b.id").limit(maxBookings).execute();
    const bookings = rows.map((row) => ({
      id: row.id,
      userId: row.user_id,
      status: row.status,
      paymentStatus: row.payment_status,
      price: Number(row.price),
      left: Number(row.amount_paid) - Number(row.refund_amount),
      holdExpiresAt: row.hold_expires_at,
      startsAt: row.starts_at,
    }));
    return new TrialBookings(rules, bookings);
  }

  /** A booking that waits for its payment. */
  async pending(userId: number, slots: number[]): Promise<number> {
    const until = this.rules.clock.now().getTime() + leastHoldMs;
    const found = this.bookings.find(({ status, price, holdExpiresAt, startsAt, ...booking }) =>
      booking.userId === userId && status === "pending" && price > 0 && Date.parse(holdExpiresAt ?? startsAt) > until
    );
    return found?.id ?? await this.book(userId, slots);
  }

  /** Confirmed bookings, at least a day ahead. The timeslots are free of charge. */
  async confirmed(userId: number, { count, slots }: { count: number; slots: number[] }): Promise<number[]> {
    const from = this.rules.clock.now().getTime() + 24 * 3_600_000;
    const found = this.bookings.filter(({ status, price, startsAt, ...booking }) =>
      booking.userId === userId && status === "confirmed" && price === 0 && Date.parse(startsAt) > from
    ).map(({ id }) => id).slice(0, count);
    while (found.length < count) found.push(await this.book(userId, slots));
    return found;
  }

  /** A cancelled booking that was paid and not refunded. */
  async refundable(userId: number, slots: number[]): Promise<number> {
    const isOpen = (status: string) => status === "paid" || status === "partially_refunded";
    const found = this.bookings.find(({ status, paymentStatus, left, ...booking }) =>
      booking.userId === userId && status === "cancelled" && isOpen(paymentStatus) && left >= leastRefund
    );
    if (found !== undefined) return found.id;
    const { db, clock, announce } = this.rules;
    const id = await this.book(userId, slots, { isPaid: true, isRefundable: false });
    await markCancelled(db, { id, cancellation: { by: "user", userId }, now: clock.now() });
    announce();
    return id;
  }

  /** Cancelled bookings whose refund has failed. */
  async withFailedRefund(userId: number, { count, slots }: { count: number; slots: number[] }): Promise<number[]> {
    const found = this.bookings.filter(({ paymentStatus, ...booking }) =>
      booking.userId === userId && paymentStatus === "refund_failed"
    ).map(({ id }) => id).slice(0, count);
    while (found.length < count) {
      const id = await this.book(userId, slots, { isPaid: true });
      await this.failRefund(id);
      found.push(id);
    }
    return found;
  }

  private async book(
    userId: number,
    slots: number[],
    { isPaid = false, isRefundable = true }: { isPaid?: boolean; isRefundable?: boolean } = {},
  ): Promise<number> {
    const { rules } = this;
    const { payments } = rules;
    const timeslotId = slots.shift();
    if (timeslotId === undefined) throw new Error("too few timeslots are free");
    const { roomId } = await rules.db.selectFrom("timeslots").select("room_id as roomId").where("id", "=", timeslotId)
      .executeTakeFirstOrThrow();
    const caller = {
      userId,
      subject: "",
      role: "user",
      name: null,
      email: null,
      expiresAt: 0,
      apiKey: undefined,
    } as const;
    const config = {
      ...rules.config,
      maxPendingBookings: 0,
      holdMinutes,
      ...(isRefundable ? {} : { cancellationTiers: [] }),
    };
    const request = { roomId, timeslotId, notes: null, bookingType: null };
    const { booking, openCheckout } = await createBooking({ ...rules, config, audit: noAudit }, caller, request);
    await openCheckout?.(rules.db);
    if (!isPaid || payments === undefined) return booking.id;
    const checkout = await rules.db.selectFrom("checkouts").select("id").where("booking_id", "=", booking.id)
      .executeTakeFirstOrThrow();
    await storeNotice(rules, payments.name, {
      kind: "paid",
      eventId: `trial_event_${checkout.id}`,
      checkoutId: checkout.id,
      payment: `trial_payment_${checkout.id}`,
      cents: toCents(booking.price),
      currency: booking.currency,
    });
    return booking.id;
  }

  /** Cancels a paid booking, and writes that the provider has refused its refund. */
  private async failRefund(id: number): Promise<void> {
    const { db, clock, announce } = this.rules;
    const now = clock.now();
    // In one transaction, so that no job asks the provider in between.
    await inTransaction(db, async (trx) => {
      await lockBooking(trx, id);
      await markCancelled(trx, { id, cancellation: { by: "admin" }, now });
      const { id: refundId, job_id: jobId } = await trx.selectFrom("refunds").select(["id", "job_id"])
        .where("booking_id", "=", id).executeTakeFirstOrThrow();
      await markRefundFailed(trx, { id: refundId, jobId, failure: "The card was closed.", now });
    });
    announce();
  }
}
