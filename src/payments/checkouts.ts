/** Opening the place where a booking is paid. */
import type { Kysely } from "kysely";
import type { Booking } from "../../generated/contract.ts";
import type { Clock } from "../clock.ts";
import type { Database } from "../database/connect.ts";
import { describeFailure, type Log } from "../http/log.ts";
import { askProvider } from "./ask.ts";
import { toCents } from "../money.ts";
import type { PaymentProvider } from "./provider.ts";
import { abandonCheckout, setCheckoutReference } from "./writes.ts";

export interface CheckoutRules {
  db: Kysely<Database>;
  clock: Clock;
  log: Log;
}

/**
 * Asks the provider for the page where `booking` is paid by the checkout `id`, which is written already. Undefined when the
 * provider fails: the booking stands all the same, and another checkout may be asked for.
 */
export async function openCheckout(
  { db, clock, log }: CheckoutRules,
  payments: PaymentProvider,
  { id, booking }: { id: string; booking: Booking },
): Promise<string | undefined> {
  const now = clock.now();
  const { price, holdExpiresAt } = booking;
  const heldForMs = holdExpiresAt === null ? null : new Date(holdExpiresAt).getTime() - now.getTime();
  try {
    const { url, reference } = await askProvider(() =>
      payments.createCheckout({ id, booking, cents: toCents(price), heldForMs })
    );
    await setCheckoutReference(db, { id, reference });
    return url;
  } catch (failure) {
    log.warn("a checkout could not be opened", { bookingId: booking.id, failure: describeFailure(failure) });
    await abandonCheckout(db, { id, now }).catch(() => {
      // It closes with its booking.
    });
    return undefined;
  }
}
