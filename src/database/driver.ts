/**
 * Kysely's dialect for postgres.js, with two differences from the one of `kysely-postgres-js`:
 *
 * - A statement of its own goes to the pool, which sends it down any connection without waiting for one to be free
 *   (pipelining). Only a transaction reserves a connection.
 * - When a connection breaks, the whole pool is replaced. A connection of postgres.js 3.4 that broke while something was
 *   waiting to be written can never write again, and using a reserved one that broke ends the process
 *   (porsager/postgres#1066, #1208).
 */
import {
  CompiledQuery,
  type DatabaseConnection,
  type Driver,
  type QueryResult,
  type TransactionSettings,
} from "kysely";
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

class PoolConnection implements DatabaseConnection {
  private reserved: postgres.ReservedSql | undefined;
  private broken: unknown;
  /** The pool's at the beginning; the pool may have another by the time that this one breaks. */
  private readonly client: Client;

  constructor(private readonly pool: Pool) {
    this.client = pool.client;
  }

  async reserve(): Promise<void> {
    this.reserved = await this.watched((client) => client.reserve());
  }

  release(): void {
    if (this.broken === undefined) this.reserved?.release();
  }

  async executeQuery<Row>({ sql, parameters }: CompiledQuery): Promise<QueryResult<Row>> {
    if (this.broken !== undefined) throw this.broken;
    // postgres.js types parameters more narrowly than it takes them, and rows as it cannot know them.
    const values = [...parameters] as postgres.ParameterOrJSON<never>[];
    const result = await this.watched((client) => (this.reserved ?? client).unsafe(sql, values, { prepare: true }));
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
  constructor(private readonly pool: Pool) {}

  init(): Promise<void> {
    return Promise.resolve();
  }

  acquireConnection(): Promise<PoolConnection> {
    return Promise.resolve(new PoolConnection(this.pool));
  }

  async beginTransaction(connection: PoolConnection, { isolationLevel }: TransactionSettings): Promise<void> {
    await connection.reserve();
    const level = isolationLevel === undefined ? "" : ` isolation level ${isolationLevel}`;
    await connection.executeQuery(CompiledQuery.raw(`start transaction${level}`));
  }

  async commitTransaction(connection: PoolConnection): Promise<void> {
    await connection.executeQuery(CompiledQuery.raw("commit"));
  }

  async rollbackTransaction(connection: PoolConnection): Promise<void> {
    await connection.executeQuery(CompiledQuery.raw("rollback"));
  }

  releaseConnection(connection: PoolConnection): Promise<void> {
    connection.release();
    return Promise.resolve();
  }

  async destroy(): Promise<void> {
    await this.pool.client.end({ timeout: graceSeconds });
  }
}

/**
 * The dialect over a client that `open` makes, and makes again when its connections broke. Only a transaction stays on one
 * connection; Kysely's `connection()` does not. Of the parent it takes adapter, introspector and compiler, which never use
 * the client that it is given.
 */
export class PoolDialect extends PostgresJSDialect {
  private readonly pool: Pool;

  constructor(open: () => Client) {
    const pool = new Pool(open);
    super({ postgres: pool.client });
    this.pool = pool;
  }

  override createDriver(): Driver {
    return new PoolDriver(this.pool);
  }
}
