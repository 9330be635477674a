/** Opens checkouts at the payment provider. */
import type { Kysely } from "kysely";
import type { Booking } from "../../generated/contract.ts";
import type { Database } from "../database/connect.ts";
import { describeFailure, type Log } from "../log.ts";
import { toCents } from "../money.ts";
import type { Clock } from "../time/clock.ts";
import { askProvider } from "./ask.ts";
import { abandonCheckout, setCheckoutReference } from "./checkout_writes.ts";
import { type PaymentProvider, ProviderRefusal } from "./provider.ts";

export interface CheckoutRules {
  db: Kysely<Database>;
  clock: Clock;
  log: Log;
}

/** The page where a booking is paid, or the reason why there is none. */
export type OpenedCheckout = { url: string } | { url: null; because: "refused" | "unavailable" };

/**
 * Asks the provider for the page of the checkout `id` of `booking`. The row of the checkout exists already. If the provider
 * fails, the booking stays and a new checkout may be requested.
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
      payments.openCheckoutPage({ id, booking, cents: toCents(price), heldForMs })
    );
    await setCheckoutReference(db, { id, reference });
    return { url };
  } catch (failure) {
    log.warn("checkout could not be opened", { bookingId: booking.id, failure: describeFailure(failure) });
    await abandonCheckout(db, { id, now }).catch(() => {
      // The checkout closes with its booking.
    });
    return { url: null, because: failure instanceof ProviderRefusal ? "refused" : "unavailable" };
  }
}
