/** Reminding of bookings that start soon. */
import type { Kysely } from "kysely";
import type { Clock } from "../time/clock.ts";
import type { Config } from "../config.ts";
import type { Database } from "../database/connect.ts";
import { retryConflicts } from "../database/failures.ts";
import { remindOfBookings } from "./writes.ts";

export interface BookingReminderRules {
  db: Kysely<Database>;
  clock: Clock;
  config: Pick<Config, "reminderLeadMinutes">;
  announce: () => void;
}

/** Bookings a statement. */
const chunkSize = 1_000;

/**
 * Writes the reminder of each confirmed booking that starts within `REMINDER_LEAD_MINUTES`. A booking that is made or
 * confirmed later than that is reminded of at once.
 */
export async function sendReminders({ db, clock, config, announce }: BookingReminderRules): Promise<void> {
  const now = clock.now();
  const until = new Date(now.getTime() + config.reminderLeadMinutes * 60_000);
  if (config.reminderLeadMinutes === 0) return;
  for (;;) {
    const count = await retryConflicts(() => remindOfBookings(db, { now, until, limit: chunkSize }));
    if (count > 0) announce();
    if (count < chunkSize) return;
  }
}
