/** Sweeps: regular work on due rows. */
import { type RawBuilder, sql } from "kysely";
import type { Database } from "./connect.ts";

/**
 * Returns the condition for up to `limit` rows of `table` with `column` before `before`, the earliest. It skips rows that
 * another server has locked.
 */
export function isAmongEarliest<Table extends keyof Database & string>(
  table: Table,
  column: keyof Database[Table] & string,
  { before, limit }: { before: Date; limit: number },
): RawBuilder<boolean> {
  return sql<boolean>`ctid = any(array(
    select ctid from ${sql.table(table)} where ${sql.ref(column)} < ${before}
    order by ${sql.ref(column)} limit ${limit} for update skip locked
  ))`;
}

/**
 * Works on due rows in chunks of `chunkSize`, one statement each, until a chunk is not full. `run` returns the number of
 * due rows in its chunk, or 0 if it changed none. It skips rows that another server has locked; the next sweep finds what
 * is left.
 */
export async function sweepInChunks(chunkSize: number, run: (limit: number) => Promise<number>): Promise<void> {
  while (await run(chunkSize) === chunkSize);
}
