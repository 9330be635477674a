/** Pages of lists, and the number of rows on all pages. */
import { type Expression, type Kysely, type RawBuilder, sql } from "kysely";
import type { Database } from "./connect.ts";
import { type Buildable, preparedFilter } from "./prepared.ts";

export interface PageRange {
  limit: number;
  offset: number;
}

export interface PageQueries<Row> {
  /** The rows of one page, in `order`. */
  page: Expression<Row>;
  /** The order by names of selected columns. */
  order: RawBuilder<unknown>;
  /** A query for the number of rows on all pages. */
  count: Expression<{ total: number }> & Buildable<{ total: number }>;
}

/**
 * Returns a function that reads one page and the number of rows on all pages. `build` works as in {@link preparedFilter}.
 *
 * One statement does both. A page after the last one has no row with the number, so it needs a second statement.
 */
export function preparedPage<Filter extends PageRange, Row>(
  build: (db: Kysely<Database>, filter: Filter) => PageQueries<Row>,
): (db: Kysely<Database>, filter: Filter) => Promise<{ rows: Row[]; total: number }> {
  const page = preparedFilter((db, filter: Filter) => {
    const { page, order, count } = build(db, filter);
    return sql<Row & { total: number }>`select page.*, ${count} as total from ${page} as page order by ${order}`;
  });
  const count = preparedFilter((db, filter: Filter) => build(db, filter).count);

  return async (db, filter) => {
    const rows = await page(db, filter);
    const [first] = rows;
    if (first !== undefined) return { rows, total: first.total };
    return { rows, total: filter.offset === 0 ? 0 : (await count(db, filter))[0]?.total ?? 0 };
  };
}
