/** Sends reminders of bookings that start soon. */
import type { Kysely } from "kysely";
import type { Config } from "../config.ts";
import type { Database } from "../database/connect.ts";
import { sweepInChunks } from "../database/sweep.ts";
import { retryConflicts } from "../database/transactions.ts";
import type { Clock } from "../time/clock.ts";
import { insertReminders } from "./sweep_writes.ts";

export interface BookingReminderRules {
  db: Kysely<Database>;
  clock: Clock;
  config: Pick<Config, "reminderLeadMinutes">;
  announce: () => void;
}

/** Bookings per statement. */
const chunkSize = 1_000;

/**
 * Writes the reminder of each confirmed booking that starts within `REMINDER_LEAD_MINUTES`. A booking that is made or
 * confirmed later gets its reminder at once.
 */
export async function sendReminders({ db, clock, config, announce }: BookingReminderRules): Promise<void> {
  if (config.reminderLeadMinutes === 0) return;
  const now = clock.now();
  const until = new Date(now.getTime() + config.reminderLeadMinutes * 60_000);
  await sweepInChunks(chunkSize, async (limit) => {
    const count = await retryConflicts(db, () => insertReminders(db, { now, until, limit }));
    if (count > 0) announce();
    return count;
  });
}
