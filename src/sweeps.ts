/**
 * What happens because time has passed. Each sweep is a set-based statement that is safe on every server at once, and what
 * one run misses the next one does, also after a restart.
 */
import { type BookingReminderRules, sendReminders } from "./bookings/reminders.ts";
import { removeOldEvents, type RetentionRules } from "./events/retention.ts";
import { removeOldTickets } from "./events/tickets.ts";
import { describeFailure, type Log } from "./http/log.ts";

/** Milliseconds between two runs. */
const intervalMs = 5_000;

export type SweepRules = BookingReminderRules & RetentionRules & { log: Log };

/** Runs every sweep once. One that fails is logged, and does not keep the others. */
export async function sweep(rules: SweepRules): Promise<void> {
  const sweeps = { sendReminders, removeOldEvents, removeOldTickets: () => removeOldTickets(rules.db) };
  for (const [name, run] of Object.entries(sweeps)) {
    try {
      await run(rules);
    } catch (failure) {
      rules.log.error("a sweep failed", { sweep: name, failure: describeFailure(failure) });
    }
  }
}

/** Sweeps now and again. */
export class Sweeper {
  private readonly stopped = Promise.withResolvers<void>();
  private isStopped = false;
  private running: Promise<void> = Promise.resolve();

  constructor(private readonly rules: SweepRules) {}

  start(): void {
    this.running = this.run();
  }

  /** Resolves when the last run has ended. */
  async stop(): Promise<void> {
    this.isStopped = true;
    this.stopped.resolve();
    await this.running;
  }

  private async run(): Promise<void> {
    while (!this.isStopped) {
      await sweep(this.rules);
      const pause = Promise.withResolvers<void>();
      const timer = setTimeout(pause.resolve, intervalMs);
      await Promise.race([pause.promise, this.stopped.promise]);
      clearTimeout(timer);
    }
  }
}
