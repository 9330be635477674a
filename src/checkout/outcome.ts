/** Describes the booking of a checkout for the person who left it. */
import type { Booking } from "../../generated/contract.ts";
import { formatMoney } from "../money.ts";

export interface CheckoutView {
  id: string;
  booking: Booking;
  isClosed: boolean;
}

/** How the person left the checkout, as in the address of the page after it. The booking may know better. */
export type Hint = "paid" | "declined" | "cancelled";

export interface Outcome {
  title: string;
  /** Sentences, the most important first. */
  text: string[];
}

/** Returns whether the booking still waits for a payment. It holds its timeslot meanwhile. */
export function isWaiting({ status, holdExpiresAt, timeslot }: Booking, now: Date): boolean {
  return status === "pending" && new Date(holdExpiresAt ?? timeslot.startTime) > now;
}

/** Returns whether the checkout takes a payment now. */
export function isPayable({ booking, isClosed }: CheckoutView, now: Date): boolean {
  return !isClosed && isWaiting(booking, now);
}

/** Returns the state of the booking, and what the person can do now. */
export function describeOutcome(checkout: CheckoutView, now: Date, hint?: Hint): Outcome {
  const { booking } = checkout;
  const { id, status, cancellationReason } = booking;
  const money = describeMoney(booking);
  switch (status) {
    case "confirmed":
      return { title: `Booking ${id} is confirmed`, text: [...money, "You can close this page."] };
    case "pending":
      return describePending(checkout, now, hint);
    case "cancelled": {
      const isUnpaid = cancellationReason === "hold_expired" || cancellationReason === "not_confirmed";
      if (isUnpaid && booking.paymentStatus === "unpaid") return describeExpired(booking, hint);
      const title = isUnpaid ? `Booking ${id} has expired` : `Booking ${id} is cancelled`;
      return { title, text: [...money, "To try again, make a new booking."] };
    }
    default:
      return { title: `Booking ${id} is over`, text: [...money, "Nothing can be paid here any more."] };
  }
}

function describePending({ booking, isClosed }: CheckoutView, now: Date, hint?: Hint): Outcome {
  const { id } = booking;
  if (hint === "paid") {
    return {
      title: `The payment of booking ${id} is being confirmed`,
      text: ["The payment provider has not reported it yet. Load this page again in a moment."],
    };
  }
  if (!isWaiting(booking, now)) return describeExpired(booking, hint);
  if (isClosed) {
    return {
      title: `Booking ${id} is not paid yet`,
      text: [
        "This checkout is closed, because the booking was moved or has a newer checkout.",
        "Open its newest checkout, or ask for another one in the app where you booked.",
        timeLeft(booking, now),
      ],
    };
  }
  return hint === "declined"
    ? {
      title: `The payment of booking ${id} was declined`,
      text: ["Nothing was paid. You can try again.", timeLeft(booking, now)],
    }
    : {
      title: `Booking ${id} is not paid yet`,
      text: ["It is not cancelled, and you can still pay.", timeLeft(booking, now)],
    };
}

function describeExpired({ id }: Booking, hint?: Hint): Outcome {
  return {
    title: `Booking ${id} has expired`,
    text: [
      "It was not paid in time, so it no longer holds its timeslot.",
      // The provider may report a payment late.
      hint === "paid"
        ? "A payment that arrives now confirms the booking if the timeslot is still free. Otherwise it is refunded."
        : "Nothing was paid.",
      "To try again, make a new booking.",
    ],
  };
}

function describeMoney({ amountPaid, amountRefunded, paymentStatus, currency }: Booking): string[] {
  const text = [];
  if (amountPaid > 0) text.push(`${formatMoney(amountPaid, currency)} was paid.`);
  else if (paymentStatus === "unpaid") text.push("Nothing was paid.");
  if (amountRefunded > 0) text.push(`${formatMoney(amountRefunded, currency)} was refunded.`);
  if (paymentStatus === "refund_pending") text.push("A refund is on its way.");
  if (paymentStatus === "refund_failed") text.push("A refund has failed. Ask the operator for it.");
  return text;
}

/** Returns how long the timeslot is still held. */
export function timeLeft({ holdExpiresAt, timeslot }: Booking, now: Date): string {
  const until = new Date(holdExpiresAt ?? timeslot.startTime);
  const seconds = Math.max(0, Math.floor((until.getTime() - now.getTime()) / 1_000));
  const minutes = Math.floor(seconds / 60);
  const hours = Math.floor(minutes / 60);
  const counted = (count: number, unit: string) => `${count} ${unit}${count === 1 ? "" : "s"}`;
  const left = hours >= 2 ? counted(hours, "hour") : minutes >= 1 ? counted(minutes, "minute") : "less than a minute";
  return `The timeslot is held for you for ${left} more.`;
}
