/** The migrations of the database, in order. */
import { type Kysely, sql } from "kysely";
import type { Migration } from "kysely/migration";
import type { Database } from "./connect.ts";
import { isMissingTable } from "./failures.ts";
import * as m0001 from "./migrations/0001_rooms_timeslots_bookings.ts";
import * as m0002 from "./migrations/0002_events.ts";
import * as m0003 from "./migrations/0003_payments.ts";
import * as m0004 from "./migrations/0004_access.ts";
import * as m0005 from "./migrations/0005_timeslots_search.ts";
import * as m0006 from "./migrations/0006_pending_limit.ts";
import * as m0007 from "./migrations/0007_keyed_requests.ts";
import * as m0008 from "./migrations/0008_drop_timeslots_index.ts";
import * as m0009 from "./migrations/0009_drop_waiting_index.ts";
import * as m0010 from "./migrations/0010_keyed_results.ts";
import * as m0011 from "./migrations/0011_end_of_waiting.ts";
import * as m0012 from "./migrations/0012_names.ts";
import * as m0013 from "./migrations/0013_withdrawn_timeslots.ts";
import * as m0014 from "./migrations/0014_drop_search_index.ts";
import * as m0015 from "./migrations/0015_drop_name_index.ts";

/** By name. Never edit the SQL of a migration that has landed. Add a new one. */
export const migrations: Record<string, Migration> = {
  "0001_rooms_timeslots_bookings": m0001,
  "0002_events": m0002,
  "0003_payments": m0003,
  "0004_access": m0004,
  "0005_timeslots_search": m0005,
  "0006_pending_limit": m0006,
  "0007_keyed_requests": m0007,
  "0008_drop_timeslots_index": m0008,
  "0009_drop_waiting_index": m0009,
  "0010_keyed_results": m0010,
  "0011_end_of_waiting": m0011,
  "0012_names": m0012,
  "0013_withdrawn_timeslots": m0013,
  "0014_drop_search_index": m0014,
  "0015_drop_name_index": m0015,
};

/**
 * Returns whether the database has every migration. They run in order, so the query looks for the last one only. Throws if
 * the database does not answer.
 */
export async function isMigrated(db: Kysely<Database>): Promise<boolean> {
  const last = Object.keys(migrations).at(-1) ?? "";
  try {
    const { rows } = await sql`select from kysely_migration where name = ${last}`.execute(db);
    return rows.length > 0;
  } catch (failure) {
    if (isMissingTable(failure)) return false;
    throw failure;
  }
}
