/**
 * Runs the work that becomes due with time. Servers may run the same sweep at the same time. A later run does the work
 * that an earlier one has missed, also after a restart.
 */
import { expirePendingBookings, type ExpiryRules } from "./bookings/expiry.ts";
import { type BookingReminderRules, sendReminders } from "./bookings/reminders.ts";
import { removeOldEvents, type RetentionRules } from "./events/retention.ts";
import { removeOldKeys } from "./idempotency/answers.ts";
import { describeFailure } from "./log.ts";
import { closeStrayCheckouts, tendJobs } from "./settlement/jobs.ts";
import type { SettlementRules } from "./settlement/rules.ts";
import { removeOldTickets } from "./subscriptions/tickets.ts";

export type SweepRules = BookingReminderRules & RetentionRules & ExpiryRules & SettlementRules;

/** Runs every sweep once. A failed sweep is logged and does not stop the others. */
export async function sweep(rules: SweepRules): Promise<void> {
  const sweeps = {
    expirePendingBookings,
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
      rules.log.error("sweep failed", { sweep: name, failure: describeFailure(failure) });
    }
  }
}
