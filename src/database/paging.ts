/** Pages of lists, and the number of rows on all pages. */
import { type Expression, type Kysely, sql } from "kysely";
import type { Database } from "./connect.ts";
import { preparedFilter } from "./prepared.ts";

export interface PageRange {
  limit: number;
  offset: number;
}

export interface PageQueries<Row> {
  /** The rows of one page, in their order. */
  page: Expression<Row>;
  /** A query for the number of rows on all pages. */
  count: Expression<{ total: number }>;
}

/**
 * Returns a function that reads one page and the number of rows on all pages. `build` works as in {@link preparedFilter}.
 * Rows are those of {@link preparedJson}.
 *
 * One statement does both. It counts only if the page is full, or empty after the last one.
 */
export function preparedPage<Filter extends PageRange, Row>(
  build: (db: Kysely<Database>, filter: Filter) => PageQueries<Row>,
): (db: Kysely<Database>, filter: Filter) => Promise<{ rows: Row[]; total: number }> {
  const statement = preparedFilter((db, filter: Filter) => {
    const { page, count } = build(db, filter);
    const { limit, offset } = filter;
    const isCounted = sql`count(*) = ${limit} or (count(*) = 0 and ${offset}::bigint > 0)`;
    const statement = sql<{ rows: Row[]; total: number }>`
      select coalesce(json_agg(page), '[]') as rows,
        case when ${isCounted} then ${count} else ${offset} + count(*) end as total
      from ${page} as page`;
    return { compile: () => statement.compile(db) };
  });
  return async (db, filter) => {
    const [page] = await statement(db, filter);
    if (page === undefined) throw new Error("an aggregate returned no row");
    return page;
  };
}
