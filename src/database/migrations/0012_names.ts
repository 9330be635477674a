import { type Kysely, sql } from "kysely";
import { ianaName } from "../../time_zones.ts";

/**
 * One spelling and one order of names.
 *
 * - Time zones of rooms get their present IANA names. Earlier versions stored them as they were sent, such as
 *   `europe/berlin`. Other programs cannot read these.
 * - Names of rooms sort in the order of Unicode (`Äpfel` before `Zebra`), with every Postgres. The default collation depends
 *   on how the database was created. The queries name the collation, and `rooms_name_order_idx` serves them. A new type of
 *   the column would break the prepared statements of servers that still run.
 */
export async function up(db: Kysely<unknown>): Promise<void> {
  const { rows } = await sql<{ time_zone: string }>`select distinct time_zone from rooms`.execute(db);
  for (const { time_zone: stored } of rows) {
    const name = ianaName(stored) ?? stored;
    if (name !== stored) await sql`update rooms set time_zone = ${name} where time_zone = ${stored}`.execute(db);
  }
  await sql`create index rooms_name_order_idx on rooms (name collate "und-x-icu", id)`.execute(db);
}
