/** The connection to Postgres: Kysely over postgres.js. */
import { Kysely, type LogEvent } from "kysely";
import postgres from "postgres";
import type { DB } from "../../generated/database.d.ts";
import { PoolDialect } from "./driver.ts";
import { isoOf, textOf } from "./instants.ts";
import { transactionLimits } from "./time_limits.ts";

export type Database = DB;

export interface ConnectOptions {
  url: string;
  /** Most connections for statements, and as many for transactions. They open on demand. */
  pool: number;
  /** Whether transactions have {@link transactionLimits}. A migration has none. Default: true. */
  hasTimeLimits?: boolean;
  /** Gets each statement after its end, for tests. */
  log?: (event: LogEvent) => void;
}

/**
 * Returns a pool that connects on first use. `destroy()` closes it.
 *
 * Options in the URL's query reach postgres.js, such as `?prepare=false` for a PgBouncer without prepared statements.
 */
export function connect({ url, pool, hasTimeLimits = true, log }: ConnectOptions): Kysely<Database> {
  const open = (max: number) =>
    postgres(url, {
      max,
      connect_timeout: 10,
      // If the database is down, a statement fails at once and the client may retry.
      backoff: () => 0,
      connection: { application_name: "slotkeeper", TimeZone: "UTC" },
      types: {
        // Ids and counts stay far below 2^53, so a number holds them exactly.
        bigint: { to: 20, from: [20], parse: Number, serialize: String },
        // Rows have instants as texts. Parameters may be texts or dates.
        timestamptz: {
          to: 1184,
          from: [1184],
          parse: isoOf,
          serialize: textOf,
        },
      },
      // postgres.js does not await this query. If the connection breaks meanwhile, the rejection ends the process.
      // Without the types it sends and reads arrays as text.
      fetch_types: false,
      onnotice: () => {},
    });
  return new Kysely<Database>({
    dialect: new PoolDialect(open, {
      max: pool,
      timeLimits: hasTimeLimits ? transactionLimits : undefined,
      log,
    }),
  });
}
