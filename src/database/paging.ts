/** Pages of lists, and the number of rows on all pages. */
import { type Expression, type Kysely, type RawBuilder, sql, type SqlBool } from "kysely";
import type { Database } from "./connect.ts";
import { type Buildable, preparedFilter } from "./prepared.ts";

export interface PageRange {
  limit: number;
  offset: number;
  /**
   * The row before the page: its value in the order of the list, and its id. Undefined for a page by its number. A place by
   * values stays where it is, also if rows before it come, go or change.
   */
  afterValue?: string | undefined;
  afterId?: number | undefined;
}

/** A page of rows, and the number of rows on all pages. */
export interface FoundPage<Row> {
  rows: Row[];
  total: number;
  /** Whether rows follow the page. */
  hasMore: boolean;
}

/** The condition of the rows that follow `range`, in an order by `id`, or by `value` and then by `id`. */
export function follows(
  { afterValue, afterId }: PageRange,
  { value, id, direction = "asc" }: {
    value?: RawBuilder<unknown>;
    id: RawBuilder<unknown>;
    direction?: "asc" | "desc";
  },
): RawBuilder<SqlBool>[] {
  if (afterId === undefined) return [];
  const operator = sql.raw(direction === "asc" ? ">" : "<");
  if (value === undefined) return [sql`${id} ${operator} ${afterId}`];
  // The first condition is part of the second one. An index on the value alone serves it.
  return [
    sql`${value} ${operator}= ${afterValue}`,
    sql`(${value}, ${id}) ${operator} (${afterValue}, ${afterId})`,
  ];
}

/** Splits off the row after a page, which was read to learn whether there is one. */
export function splitPage<Row>(
  rows: Row[],
  { limit }: Pick<PageRange, "limit">,
): Pick<FoundPage<Row>, "rows" | "hasMore"> {
  return { rows: rows.slice(0, limit), hasMore: rows.length > limit };
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
): (db: Kysely<Database>, filter: Filter) => Promise<FoundPage<Row>> {
  const page = preparedFilter((db, filter: Filter) => {
    const { page, order, count } = build(db, filter);
    return sql<Row & { total: number }>`select page.*, ${count} as total from ${page} as page order by ${order}`;
  });
  const count = preparedFilter((db, filter: Filter) => build(db, filter).count);

  return async (db, filter) => {
    const { limit, offset, afterId } = filter;
    const isFirst = offset === 0 && afterId === undefined;
    // The number of all rows shows whether rows follow a page by its number, but not after a place.
    const rows = await page(db, afterId === undefined ? filter : { ...filter, limit: limit + 1 });
    const total = rows[0]?.total ?? (isFirst ? 0 : (await count(db, filter))[0]?.total ?? 0);
    if (afterId !== undefined) return { ...splitPage(rows, { limit }), total };
    return { rows, total, hasMore: rows.length > 0 && offset + rows.length < total };
  };
}
