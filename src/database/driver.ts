/**
 * Kysely's dialect for postgres.js, with two differences from the one of `kysely-postgres-js`:
 *
 * - A statement of its own goes to a pool that sends it down any connection without waiting for one to be free
 *   (pipelining). Transactions have a pool of their own. In postgres.js 3.4 a transaction that begins on a connection with
 *   other statements under way can be mixed up with them: `reserve()` may hand out one on which a statement is half
 *   described, and `begin()` loses its connection when that has no room for more.
 * - When a connection breaks, the whole pool is replaced. A connection of postgres.js 3.4 that broke while something was
 *   waiting to be written can never write again, and using a reserved one that broke ends the process
 *   (porsager/postgres#1066, #1208).
 */
import type { CompiledQuery, DatabaseConnection, Driver, QueryResult, TransactionSettings } from "kysely";
import { PostgresJSDialect } from "kysely-postgres-js";
import type postgres from "postgres";
import { isConnectionLost } from "./failures.ts";

type Client = postgres.Sql;

/** Seconds that statements on a pool that is given up, or closed, still have. */
const graceSeconds = 5;

/** Holds the client that is in use. */
class Pool {
  client: Client;

  constructor(private readonly open: () => Client) {
    this.client = open();
  }

  /** Replaces the client, unless another statement has seen it break before. */
  replace(broken: Client): void {
    if (broken !== this.client) return;
    this.client = this.open();
    // Its statements end within the grace; that it cannot say goodbye to a server that is gone is no news.
    broken.end({ timeout: graceSeconds }).catch(() => {});
  }
}

/** A transaction that is open on a connection of its own. */
interface OpenTransaction {
  sql: postgres.TransactionSql;
  /** Lets it be committed, or rolled back when it is given a failure. */
  finish: PromiseWithResolvers<void>;
  /** Resolves when it is committed, rejects when it is rolled back. */
  ended: Promise<void>;
}

const rollback = new Error("rolled back");

class PoolConnection implements DatabaseConnection {
  private transaction: OpenTransaction | undefined;
  private broken: unknown;
  /** The pool's at the beginning; the pool may have another by the time that this one breaks. */
  private client: Client;

  constructor(
    private pool: Pool,
    private readonly transactions: Pool,
    private readonly timeLimits: string | undefined,
  ) {
    this.client = pool.client;
  }

  /** Begins a transaction, with options such as `isolation level serializable`. */
  async begin(options: string): Promise<void> {
    this.pool = this.transactions;
    this.client = this.pool.client;
    const opened = Promise.withResolvers<postgres.TransactionSql>();
    const finish = Promise.withResolvers<void>();
    const ended = this.client.begin(options, (sql) => {
      // Sent ahead of the first statement. If it fails, so will that.
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
    // A connection that broke has rolled back, and nothing may be sent to it any more.
    if (this.broken !== undefined) return;
    transaction?.finish.reject(rollback);
    await transaction?.ended.catch((failure: unknown) => {
      if (failure !== rollback) throw failure;
    });
  }

  async executeQuery<Row>({ sql, parameters }: CompiledQuery): Promise<QueryResult<Row>> {
    if (this.broken !== undefined) throw this.broken;
    // postgres.js types parameters more narrowly than it takes them, and rows as it cannot know them.
    const values = [...parameters] as postgres.ParameterOrJSON<never>[];
    const result = await this.watched((client) =>
      (this.transaction?.sql ?? client).unsafe(sql, values, { prepare: true })
    );
    return { rows: [...result] as Row[], numAffectedRows: BigInt(result.count ?? 0) };
  }

  // deno-lint-ignore require-yield -- Kysely asks for a generator; nothing here streams.
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
 * The dialect over clients that `open` makes, one for statements and one for transactions, and makes again when their
 * connections broke. Only a transaction stays on one connection; Kysely's `connection()` does not. Of the parent it takes
 * adapter, introspector and compiler, which never use the client that it is given.
 */
export class PoolDialect extends PostgresJSDialect {
  private readonly statements: Pool;
  private readonly transactions: Pool;

  /** `timeLimits` is a statement that sets the time limits of a transaction, sent when it begins. */
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
