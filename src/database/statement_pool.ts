/** The pool for statements outside transactions, and how a statement is executed. See `driver.ts` for the reasons. */
import { setImmediate } from "node:timers";
import type { CompiledQuery } from "kysely";
import type postgres from "postgres";
import toFastProperties from "to-fast-properties";
import { isConnectionLost, isFatal } from "./failures.ts";

export type Client = postgres.Sql;

/** Seconds for the statements in flight of a pool that is replaced or closed. */
export const graceSeconds = 5;

/**
 * Statements stay prepared on their connection. Without `simple: false`, postgres.js sends a statement without parameters
 * as text, and Postgres plans it each time.
 */
export const preparedOnce = { prepare: true, simple: false };

/** Brief statements in flight on one connection, from which on the others of a turn take the next one. */
const briefLimit = 32;

type Statement = Pick<CompiledQuery, "sql" | "parameters">;

/** postgres.js accepts more parameters than its types say. */
type Parameters = postgres.ParameterOrJSON<never>[];

/** Rows, and the number of rows that the statement returned or changed. */
export interface Rows {
  rows: unknown[];
  count: number;
}

const noRows: unknown[] = [];

/** Whether V8 can optimize the constructors of postgres.js. See {@link optimizeConstructors}. */
let areConstructorsOptimizable = false;

/**
 * Lets V8 optimize the constructors of statements and results, which postgres.js 3.4 does not export.
 *
 * Both classes have a static member with a computed name. The V8 of Deno 2.9 keeps the members of such a class in a
 * dictionary. It compiles the constructor again and again, and throws the code away each time ("dependency change" in
 * `--trace-opt`). The constructor that is not optimized allocates two functions of each statement as long-lived. They keep
 * all that belongs to the statement until the next full garbage collection.
 */
function optimizeConstructors(statement: object, result: object): void {
  toFastProperties(statement.constructor);
  toFastProperties(result.constructor);
  areConstructorsOptimizable = true;
}

/**
 * Executes a statement. `onEnd` gets its failure, or undefined.
 *
 * It takes the rows one by one, so that the statement of postgres.js does not hold them. Such a statement often lives longer
 * than its rows. A list of 19 bookings takes 6 % less CPU this way.
 */
export function execute(
  client: Pick<Client, "unsafe">,
  { sql, parameters }: Statement,
  onEnd: (failure: unknown) => void,
): Promise<Rows> {
  let rows: unknown[] = [];
  const statement = client.unsafe(sql, parameters as Parameters, preparedOnce);
  const take = (row: unknown) => void rows.push(row);
  return statement.forEach(take).then(
    (result) => {
      if (!areConstructorsOptimizable) optimizeConstructors(statement, result);
      const all = rows;
      rows = noRows;
      onEnd(undefined);
      // Null after a statement such as `create table`, although its type says number.
      return { rows: all, count: result.count ?? 0 };
    },
    (failure: unknown) => {
      onEnd(failure);
      throw failure;
    },
  );
}

export interface RunOptions {
  /**
   * Whether the statement usually takes well below a millisecond, and waits for no lock. It may wait for other brief ones,
   * which share a connection. In a transaction it makes no difference. Default: false.
   */
  isBrief?: boolean;
}

/** A client with one connection. */
interface Connection {
  client: Client;
  /** Statements in flight. */
  inFlight: number;
  /** Those of them that are not brief, and may take long. */
  lasting: number;
}

/** Connections for statements outside transactions. They open on demand. */
export class StatementPool {
  private connections: Connection[] = [];
  /** The connection of the brief statements of this turn of the event loop. */
  private brief: Connection | undefined;
  private isClosed = false;

  constructor(private readonly open: () => Client, private readonly max: number) {}

  /** Runs one statement on the connection with the fewest in flight. Brief ones of one turn share a connection. */
  run(statement: Statement, { isBrief = false }: RunOptions = {}): Promise<Rows> {
    if (this.isClosed) return Promise.reject(new Error("the pool is closed"));
    const connection = isBrief ? this.chooseForBrief() : this.choose();
    const lasting = isBrief ? 0 : 1;
    connection.inFlight++;
    connection.lasting += lasting;
    return execute(connection.client, statement, (failure) => {
      connection.inFlight--;
      connection.lasting -= lasting;
      if (failure !== undefined) this.onFailure(connection, failure);
    });
  }

  async close(): Promise<void> {
    this.isClosed = true;
    await Promise.all(this.connections.map(({ client }) => client.end({ timeout: graceSeconds })));
  }

  /** The brief statements of a turn need few system calls together, and wake one process of Postgres. */
  private chooseForBrief(): Connection {
    const { brief } = this;
    if (brief !== undefined && brief.lasting === 0 && brief.inFlight < briefLimit) return brief;
    // postgres.js sends what it has collected at the same time.
    if (brief === undefined) setImmediate(() => this.brief = undefined);
    return this.brief = this.choose();
  }

  private choose(): Connection {
    let chosen = this.connections[0];
    for (const connection of this.connections) {
      if (connection.inFlight === 0) return connection;
      if (chosen === undefined || connection.inFlight < chosen.inFlight) chosen = connection;
    }
    if (chosen !== undefined && this.connections.length >= this.max) return chosen;
    const opened = { client: this.open(), inFlight: 0, lasting: 0 };
    this.connections.push(opened);
    return opened;
  }

  /** Replaces all connections if one broke, unless another statement already did. */
  private onFailure(connection: Connection, failure: unknown): void {
    if (this.isClosed || !this.connections.includes(connection)) return;
    if (isConnectionLost(failure)) {
      abandon(this.connections);
      this.connections = [];
      this.brief = undefined;
    } else if (isFatal(failure)) {
      // Postgres refused this connection. Without it, the next statement takes an open one.
      abandon([connection]);
      this.connections = this.connections.filter((each) => each !== connection);
      this.brief = undefined;
    }
  }
}

/** Closes clients after their statements in flight. Closing fails if the server is gone, which is known already. */
export function abandon(clients: { client: Client }[]): void {
  for (const { client } of clients) client.end({ timeout: graceSeconds }).catch(() => {});
}
