/** Assertions that all refusals share: the reason is in the answer, and the database is unchanged. */
import assert from "node:assert/strict";
import { type Kysely, sql } from "kysely";
import { Problem, type ProblemCode } from "../../generated/contract.ts";
import type { Database } from "../../src/database/connect.ts";
import type { TestServer } from "../support/server.ts";

export interface Refusal {
  status: number;
  headers: Headers;
  /** Text, or parsed JSON. */
  body: unknown;
}

/** Fails unless this is a 401 with the code, and with the header of RFC 6750. `source` names the request. */
export function assertUnauthorized({ status, headers, body }: Refusal, code: ProblemCode, source: string): void {
  assert.equal(status, 401, `${source} is answered ${status}: ${JSON.stringify(body)}`);
  assert.equal(Problem.parse(typeof body === "string" ? JSON.parse(body) : body).code, code, source);
  const challenge = code === "token_missing" ? "Bearer" : 'Bearer error="invalid_token"';
  assert.equal(headers.get("WWW-Authenticate"), challenge, source);
}

/** A summary of all tables: the number of rows, and a hash of their contents, for each table. */
interface Snapshot {
  tables: Record<string, string>;
  /** Transactions from this one on are not in it. */
  next: string;
}

/** The tables are the same in every database of the tests. */
let tableNames: string[] | undefined;

/** Summarizes the tables in one statement. The time of an API key's last use is left out. */
async function snapshot(db: Kysely<Database>): Promise<Snapshot> {
  tableNames ??= (await sql<{ name: string }>`
    select relname as name from pg_class where relnamespace = 'public'::regnamespace and relkind = 'r' order by relname
  `.execute(db)).rows.map(({ name }) => name);
  const summaries = tableNames.map((name) => {
    const row = name === "api_keys" ? sql`to_jsonb(t) - 'last_used_at'` : sql`t`;
    return sql`
      select ${
      sql.lit(name)
    } as name, count(*) || ' rows, hash ' || coalesce(sum(hashtextextended((${row})::text, 0)), 0)
        as summary, pg_snapshot_xmax(pg_current_snapshot())::text as next
      from ${sql.table(name)} t
    `;
  });
  const { rows } = await sql<{ name: string; summary: string; next: string }>`${sql.join(summaries, sql` union all `)}`
    .execute(db);
  return { tables: Object.fromEntries(rows.map(({ name, summary }) => [name, summary])), next: rows[0]?.next ?? "0" };
}

/** Fails unless all tables have the same rows after `check` as before. */
export async function assertNothingChanges(
  { db }: Pick<TestServer, "db">,
  check: () => Promise<void>,
): Promise<void> {
  const before = await snapshot(db);
  await check();
  const after = await snapshot(db);
  for (const [name, summary] of Object.entries(after.tables)) {
    if (summary === before.tables[name]) continue;
    const { rows } = await sql`
      select to_jsonb(t) as "row" from ${sql.table(name)} t where xmin::text::bigint >= ${before.next}::bigint
    `.execute(db);
    assert.fail(`${name} changed from ${before.tables[name]} to ${summary}. New rows: ${JSON.stringify(rows)}`);
  }
}

/** Waits for all of `checks`, so that none runs on. Fails with the first line of each failure. */
export async function assertAll(checks: Promise<unknown>[]): Promise<void> {
  const outcomes = await Promise.allSettled(checks);
  const failures = outcomes.flatMap((outcome) =>
    outcome.status === "rejected" ? [String(outcome.reason).split("\n")[0]] : []
  );
  assert.deepEqual(failures, []);
}
