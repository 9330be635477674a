/**
 * Kysely's dialect for postgres.js, with three differences from `kysely-postgres-js`:
 *
 * - Statements outside transactions are pipelined: the pool sends them without waiting for a free connection.
 *   Transactions have a pool of their own. In postgres.js 3.4 they can be mixed up with statements in flight. `reserve()`
 *   may return a connection on which a statement is half described. `begin()` loses a connection that has no room left.
 * - The pool for statements is our own, over clients with one connection each. A client of postgres.js 3.4 with more keeps
 *   a list that grows with each statement until all are idle, and searches the list for each statement.
 * - If a connection breaks, the whole pool is replaced. A connection of postgres.js 3.4 that broke with unsent data never
 *   writes again. Using a reserved connection that broke ends the process (porsager/postgres#1066, #1208).
 */
import {
  type CompiledQuery,
  type DatabaseConnection,
  type Driver,
  type Kysely,
  type LogEvent,
  PostgresAdapter,
  type QueryResult,
  type Transaction,
  type TransactionSettings,
} from "kysely";
import { PostgresJSDialect } from "kysely-postgres-js";
import type postgres from "postgres";
import type { DB as Database } from "../../generated/database.d.ts";
import { isConnectionLost } from "./failures.ts";
import {
  abandon,
  type Client,
  execute,
  graceSeconds,
  preparedOnce,
  type Rows,
  type RunOptions,
  StatementPool,
} from "./statement_pool.ts";

/** Holds the current client for transactions. */
class TransactionPool {
  client: Client;
  private isClosed = false;

  constructor(private readonly open: () => Client) {
    this.client = open();
  }

  /** Replaces the client, unless another transaction already did. */
  replace(broken: Client): void {
    if (broken !== this.client || this.isClosed) return;
    this.client = this.open();
    abandon([{ client: broken }]);
  }

  async close(): Promise<void> {
    this.isClosed = true;
    await this.client.end({ timeout: graceSeconds });
  }
}

interface Pools {
  /** For statements outside transactions. */
  statements: StatementPool;
  transactions: TransactionPool;
  log: Log | undefined;
}

type Log = (event: LogEvent) => void;

/** Logs a statement after its end, if there is a log. */
function logged({ log }: Pools, query: CompiledQuery, rows: Promise<Rows>): Promise<Rows> {
  if (log === undefined) return rows;
  const start = performance.now();
  const duration = () => ({ queryDurationMillis: performance.now() - start });
  return rows.then((rows) => {
    log({ level: "query", query, ...duration() });
    return rows;
  }, (error: unknown) => {
    log({ level: "error", error, query, ...duration() });
    throw error;
  });
}

/** An open transaction on its own connection. */
interface OpenTransaction {
  sql: postgres.TransactionSql;
  /** Resolving it commits, rejecting it rolls back. */
  finish: PromiseWithResolvers<void>;
  /** Resolves after the commit, rejects after the rollback. */
  ended: Promise<void>;
}

const rollback = new Error("rolled back");

class PoolConnection implements DatabaseConnection {
  private transaction: OpenTransaction | undefined;
  private broken: unknown;
  /** The client of the transaction. Its pool may have replaced it by the time this connection breaks. */
  private client: Client;

  constructor(private readonly pools: Pools, private readonly timeLimits: string | undefined) {
    this.client = pools.transactions.client;
  }

  /** Begins a transaction. `options` are text such as `isolation level serializable`. */
  async begin(options: string): Promise<void> {
    this.client = this.pools.transactions.client;
    const opened = Promise.withResolvers<postgres.TransactionSql>();
    const finish = Promise.withResolvers<void>();
    const ended = this.client.begin(options, (sql) => {
      // Sent before the first statement. If it fails, the first statement fails too.
      if (this.timeLimits !== undefined) sql.unsafe(this.timeLimits, [], preparedOnce).catch(() => {});
      opened.resolve(sql);
      return finish.promise;
    }).then(() => {});
    ended.catch(opened.reject);
    const sql = await this.watched(() => opened.promise);
    this.transaction = { sql, finish, ended };
  }

  async commit(): Promise<void> {
    const { transaction } = this;
    this.transaction = undefined;
    transaction?.finish.resolve();
    await this.watched(() => transaction?.ended ?? Promise.resolve());
  }

  async rollback(): Promise<void> {
    const { transaction } = this;
    this.transaction = undefined;
    // Postgres rolled back when the connection broke. Nothing may be sent on it.
    if (this.broken !== undefined) return;
    transaction?.finish.reject(rollback);
    await transaction?.ended.catch((failure: unknown) => {
      if (failure !== rollback) throw failure;
    });
  }

  async executeQuery<Row>(query: CompiledQuery): Promise<QueryResult<Row>> {
    const { rows, count } = this.transaction === undefined
      ? await logged(this.pools, query, this.pools.statements.run(query))
      : await this.runInside(query);
    // postgres.js cannot know the type of a row.
    return { rows: rows as Row[], numAffectedRows: BigInt(count) };
  }

  /** Sends a statement of the transaction at once, behind those that were sent before. */
  runInside(query: CompiledQuery): Promise<Rows> {
    const { transaction, broken } = this;
    if (broken !== undefined) return Promise.reject(broken);
    if (transaction === undefined) return Promise.reject(new Error("a statement after the end of its transaction"));
    return logged(this.pools, query, execute(transaction.sql, query, (failure) => this.onEnd(failure)));
  }

  // deno-lint-ignore require-yield -- Kysely's interface requires a generator, but nothing here streams.
  async *streamQuery<Row>(): AsyncIterableIterator<QueryResult<Row>> {
    throw new Error("streaming is not supported");
  }

  private async watched<Result>(use: () => PromiseLike<Result>): Promise<Result> {
    try {
      return await use();
    } catch (failure) {
      this.onEnd(failure);
      throw failure;
    }
  }

  private onEnd(failure: unknown): void {
    if (!isConnectionLost(failure)) return;
    this.broken = failure;
    this.pools.transactions.replace(this.client);
  }
}

/** Leads from Kysely to its pools, because Kysely hands out the adapter of its dialect. */
class PoolAdapter extends PostgresAdapter {
  /** Undefined until Kysely has initialized the driver. Only then does it close the pools at the end. */
  pools: Pools | undefined;
}

/** The connections of pipelined transactions. */
const pipelined = new WeakMap<object, PoolConnection>();

/**
 * Pipelines the prepared statements of a transaction: each is sent without waiting for those before. Kysely alone sends one
 * after the answer to the other.
 */
export async function pipeline(trx: Transaction<Database>): Promise<void> {
  await trx.getExecutor().provideConnection((connection) => {
    if (connection instanceof PoolConnection) pipelined.set(trx, connection);
    return Promise.resolve();
  });
}

/** Runs a compiled statement and returns its rows, without Kysely where that is possible. */
export function runStatement<Row>(
  db: Kysely<Database>,
  statement: CompiledQuery<Row>,
  options: RunOptions,
): Promise<Row[]> {
  const connection = pipelined.get(db);
  if (connection !== undefined) return rowsOf(connection.runInside(statement));
  const { adapter } = db.getExecutor();
  const pools = adapter instanceof PoolAdapter && !db.isTransaction ? adapter.pools : undefined;
  if (pools === undefined) return db.executeQuery(statement).then(({ rows }) => rows);
  return rowsOf(logged(pools, statement, pools.statements.run(statement, options)));
}

/** postgres.js cannot know the type of a row. */
function rowsOf<Row>(result: Promise<Rows>): Promise<Row[]> {
  return result.then(({ rows }) => rows as Row[]);
}

class PoolDriver implements Driver {
  constructor(
    private readonly pools: Pools,
    private readonly timeLimits: string | undefined,
    private readonly onInit: () => void,
  ) {}

  init(): Promise<void> {
    this.onInit();
    return Promise.resolve();
  }

  acquireConnection(): Promise<PoolConnection> {
    return Promise.resolve(new PoolConnection(this.pools, this.timeLimits));
  }

  beginTransaction(connection: PoolConnection, { isolationLevel }: TransactionSettings): Promise<void> {
    return connection.begin(isolationLevel === undefined ? "" : `isolation level ${isolationLevel}`);
  }

  commitTransaction(connection: PoolConnection): Promise<void> {
    return connection.commit();
  }

  rollbackTransaction(connection: PoolConnection): Promise<void> {
    return connection.rollback();
  }

  releaseConnection(): Promise<void> {
    return Promise.resolve();
  }

  async destroy(): Promise<void> {
    const { statements, transactions } = this.pools;
    await Promise.all([statements.close(), transactions.close()]);
  }
}

export interface PoolOptions {
  /** Most connections for statements, and as many for transactions. */
  max: number;
  /** A statement that sets the time limits of a transaction. It is sent when a transaction begins. */
  timeLimits?: string | undefined;
  /** Gets each statement. Kysely's own log does not see those that are run without it. */
  log?: Log | undefined;
}

/**
 * The dialect over clients of `open`, which gets their number of connections. A transaction stays on one connection, but
 * Kysely's `connection()` does not.
 *
 * The parent gives the introspector and compiler. They never use its client.
 */
export class PoolDialect extends PostgresJSDialect {
  private readonly pools: Pools;
  private readonly adapter = new PoolAdapter();

  constructor(open: (connections: number) => Client, private readonly options: PoolOptions) {
    const { max, log } = options;
    const transactions = new TransactionPool(() => open(max));
    super({ postgres: transactions.client });
    this.pools = { statements: new StatementPool(() => open(1), max), transactions, log };
  }

  override createAdapter(): PoolAdapter {
    return this.adapter;
  }

  override createDriver(): Driver {
    return new PoolDriver(this.pools, this.options.timeLimits, () => this.adapter.pools = this.pools);
  }
}
