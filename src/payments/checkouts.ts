/** Opening the place where a booking is paid. */
import type { Kysely } from "kysely";
import type { Booking } from "../../generated/contract.ts";
import type { Clock } from "../time/clock.ts";
import type { Database } from "../database/connect.ts";
import { describeFailure, type Log } from "../log.ts";
import { askProvider } from "./ask.ts";
import { toCents } from "../money.ts";
import { type PaymentProvider, ProviderRefusal } from "./provider.ts";
import { abandonCheckout, setCheckoutReference } from "./checkout_writes.ts";

export interface CheckoutRules {
  db: Kysely<Database>;
  clock: Clock;
  log: Log;
}

/** Where a booking is paid, or why there is no such place. */
export type OpenedCheckout = { url: string } | { url: null; because: "refused" | "unavailable" };

/**
 * Asks the provider for the page where `booking` is paid by the checkout `id`, which is written already. When the provider
 * fails the booking stands all the same, and another checkout may be asked for.
 */
export async function openCheckout(
  { db, clock, log }: CheckoutRules,
  payments: PaymentProvider,
  { id, booking }: { id: string; booking: Booking },
): Promise<OpenedCheckout> {
  const now = clock.now();
  const { price, holdExpiresAt } = booking;
  const heldForMs = holdExpiresAt === null ? null : new Date(holdExpiresAt).getTime() - now.getTime();
  try {
    const { url, reference } = await askProvider(() =>
      payments.createCheckout({ id, booking, cents: toCents(price), heldForMs })
    );
    await setCheckoutReference(db, { id, reference });
    return { url };
  } catch (failure) {
    log.warn("a checkout could not be opened", { bookingId: booking.id, failure: describeFailure(failure) });
    await abandonCheckout(db, { id, now }).catch(() => {
      // It closes with its booking.
    });
    return { url: null, because: failure instanceof ProviderRefusal ? "refused" : "unavailable" };
  }
}
