/**
 * What happens because time has passed. Each sweep is safe on every server at once, and what one run misses the next one
 * does, also after a restart.
 */
import { type HoldRules, releaseExpiredHolds } from "./bookings/holds.ts";
import { type BookingReminderRules, sendReminders } from "./bookings/reminders.ts";
import { removeOldEvents, type RetentionRules } from "./events/retention.ts";
import { removeOldTickets } from "./subscriptions/tickets.ts";
import { removeOldKeys } from "./execution/idempotency.ts";
import { describeFailure } from "./log.ts";
import { closeStrayCheckouts, type PaymentRules, tendJobs } from "./settlement/payments.ts";

export type SweepRules = BookingReminderRules & RetentionRules & HoldRules & PaymentRules;

/** Runs every sweep once. One that fails is logged, and does not keep the others. */
export async function sweep(rules: SweepRules): Promise<void> {
  const sweeps = {
    releaseExpiredHolds,
    closeStrayCheckouts,
    sendReminders,
    tendJobs,
    removeOldEvents,
    removeOldTickets: () => removeOldTickets(rules.db),
    removeOldKeys: () => removeOldKeys(rules.db),
  };
  for (const [name, run] of Object.entries(sweeps)) {
    try {
      await run(rules);
    } catch (failure) {
      rules.log.error("a sweep failed", { sweep: name, failure: describeFailure(failure) });
    }
  }
}
