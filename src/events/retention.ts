/** Events are kept for a while, not for ever. */
import type { Kysely } from "kysely";
import type { Config } from "../config.ts";
import type { Database } from "../database/connect.ts";
import { sweepInChunks } from "../database/sweep.ts";
import { retryConflicts } from "../database/transactions.ts";
import type { Clock } from "../time/clock.ts";
import { removeEvents } from "./queries.ts";

export interface RetentionRules {
  db: Kysely<Database>;
  clock: Clock;
  config: Pick<Config, "eventRetentionDays">;
}

/** Events a statement. */
const chunkSize = 5_000;

/** Removes events that are older than `EVENT_RETENTION_DAYS`. */
export async function removeOldEvents({ db, clock, config }: RetentionRules): Promise<void> {
  const before = new Date(clock.now().getTime() - config.eventRetentionDays * 24 * 3_600_000);
  await sweepInChunks(chunkSize, (limit) => retryConflicts(db, () => removeEvents(db, { before, limit })));
}
