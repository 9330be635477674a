/**
 * Kysely's dialect for postgres.js, with two differences from `kysely-postgres-js`:
 *
 * - Statements outside transactions are pipelined: the pool sends them on any connection without waiting for a free one.
 *   Transactions have a pool of their own. In postgres.js 3.4 they can be mixed up with statements in flight. `reserve()`
 *   may return a connection on which a statement is half described. `begin()` loses a connection that has no room left.
 * - If a connection breaks, the whole pool is replaced. A connection of postgres.js 3.4 that broke with unsent data never
 *   writes again. Using a reserved connection that broke ends the process (porsager/postgres#1066, #1208).
 */
import type { CompiledQuery, DatabaseConnection, Driver, QueryResult, TransactionSettings } from "kysely";
import { PostgresJSDialect } from "kysely-postgres-js";
import type postgres from "postgres";
import { isConnectionLost } from "./failures.ts";

type Client = postgres.Sql;

/** Seconds for the statements in flight of a pool that is replaced or closed. */
const graceSeconds = 5;

/** Holds the current client. */
class Pool {
  client: Client;

  constructor(private readonly open: () => Client) {
    this.client = open();
  }

  /** Replaces the client, unless another statement already did. */
  replace(broken: Client): void {
    if (broken !== this.client) return;
    this.client = this.open();
    // Closing fails if the server is gone, which is known already.
    broken.end({ timeout: graceSeconds }).catch(() => {});
  }
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
  /** The pool's client at the start. The pool may have replaced it by the time this connection breaks. */
  private client: Client;

  constructor(
    private pool: Pool,
    private readonly transactions: Pool,
    private readonly timeLimits: string | undefined,
  ) {
    this.client = pool.client;
  }

  /** Begins a transaction. `options` are text such as `isolation level serializable`. */
  async begin(options: string): Promise<void> {
    this.pool = this.transactions;
    this.client = this.pool.client;
    const opened = Promise.withResolvers<postgres.TransactionSql>();
    const finish = Promise.withResolvers<void>();
    const ended = this.client.begin(options, (sql) => {
      // Sent before the first statement. If it fails, the first statement fails too.
      if (this.timeLimits !== undefined) sql.unsafe(this.timeLimits, [], { prepare: true }).catch(() => {});
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

  async executeQuery<Row>({ sql, parameters }: CompiledQuery): Promise<QueryResult<Row>> {
    if (this.broken !== undefined) throw this.broken;
    // postgres.js accepts more parameters than its types say, and it cannot know the type of a row.
    const values = [...parameters] as postgres.ParameterOrJSON<never>[];
    const result = await this.watched((client) =>
      (this.transaction?.sql ?? client).unsafe(sql, values, { prepare: true })
    );
    return { rows: [...result] as Row[], numAffectedRows: BigInt(result.count ?? 0) };
  }

  // deno-lint-ignore require-yield -- Kysely's interface requires a generator, but nothing here streams.
  async *streamQuery<Row>(): AsyncIterableIterator<QueryResult<Row>> {
    throw new Error("streaming is not supported");
  }

  private async watched<Result>(use: (client: Client) => PromiseLike<Result>): Promise<Result> {
    try {
      return await use(this.client);
    } catch (failure) {
      if (isConnectionLost(failure)) {
        this.broken = failure;
        this.pool.replace(this.client);
      }
      throw failure;
    }
  }
}

class PoolDriver implements Driver {
  constructor(
    private readonly statements: Pool,
    private readonly transactions: Pool,
    private readonly timeLimits: string | undefined,
  ) {}

  init(): Promise<void> {
    return Promise.resolve();
  }

  acquireConnection(): Promise<PoolConnection> {
    return Promise.resolve(new PoolConnection(this.statements, this.transactions, this.timeLimits));
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
    await Promise.all([this.statements, this.transactions].map(({ client }) => client.end({ timeout: graceSeconds })));
  }
}

/**
 * The dialect over two clients of `open`, one for statements and one for transactions. It calls `open` again if a
 * connection breaks. A transaction stays on one connection, but Kysely's `connection()` does not.
 *
 * The parent gives the adapter, introspector and compiler. They never use its client.
 */
export class PoolDialect extends PostgresJSDialect {
  private readonly statements: Pool;
  private readonly transactions: Pool;

  /** `timeLimits` is a statement that sets the time limits of a transaction. It is sent when a transaction begins. */
  constructor(open: () => Client, private readonly timeLimits?: string) {
    const statements = new Pool(open);
    super({ postgres: statements.client });
    this.statements = statements;
    this.transactions = new Pool(open);
  }

  override createDriver(): Driver {
    return new PoolDriver(this.statements, this.transactions, this.timeLimits);
  }
}
