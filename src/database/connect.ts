/** The connection to Postgres: Kysely over postgres.js. */
import { Kysely, type LogConfig } from "kysely";
import postgres from "postgres";
import type { DB } from "../../generated/database.d.ts";
import { PoolDialect } from "./driver.ts";

export type Database = DB;

export interface ConnectOptions {
  url: string;
  /** Connections at most for statements, and for transactions. They are opened when needed. */
  pool: number;
  /** Lets a transaction take any time, as a migration may. */
  isPatient?: boolean;
  /** Kysely's log, for tests that look at statements. */
  log?: LogConfig;
}

/**
 * A server that freezes or loses its network within a transaction would hold its locks, and the feed of events for all
 * servers, until TCP notices after two hours. A lock that does not come in time is better asked for again.
 */
const timeLimits = `select set_config('idle_in_transaction_session_timeout', '10s', true),
  set_config('statement_timeout', '30s', true), set_config('lock_timeout', '5s', true)`;

/**
 * A pool that connects when it is first used. `destroy()` closes it.
 *
 * Options in the URL's query reach postgres.js (`?prepare=false` for a PgBouncer that cannot keep prepared statements).
 */
export function connect({ url, pool, isPatient = false, log }: ConnectOptions): Kysely<Database> {
  const open = () =>
    postgres(url, {
      max: pool,
      connect_timeout: 10,
      // Whoever asks is told at once that the database is gone, and may ask again.
      backoff: () => 0,
      connection: { application_name: "slotkeeper", TimeZone: "UTC" },
      // Ids and counts stay far below 2^53, where numbers are exact.
      types: { bigint: { to: 20, from: [20], parse: Number, serialize: String } },
      // postgres.js would ask for them on each new connection, and end the process when that breaks meanwhile: nobody awaits
      // its answer. Without them arrays are sent and read as text.
      fetch_types: false,
      onnotice: () => {},
    });
  return new Kysely<Database>({
    dialect: new PoolDialect(open, isPatient ? undefined : timeLimits),
    ...(log === undefined ? {} : { log }),
  });
}
