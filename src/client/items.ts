/** Walking through all pages of a list. */
import type { Client as FetchClient } from "openapi-fetch";
import type { paths } from "../../generated/api.d.ts";
import { unwrap } from "./problems.ts";

interface Page<Each = unknown> {
  items: Each[];
  total: number;
  page: number;
  limit: number;
}

type PageOf<Path extends keyof paths> = paths[Path] extends
  { get: { responses: { 200: { content: { "application/json": infer Body extends Page } } } } } ? Body : never;

/** The paths of lists that come in pages. */
export type ListPath = { [Path in keyof paths]: [PageOf<Path>] extends [never] ? never : Path }[keyof paths];

/** What the list at this path is of. */
export type Item<Path extends ListPath> = PageOf<Path>["items"][number];

type QueryOf<Path extends ListPath> = paths[Path] extends { get: { parameters: { query?: infer Query } } }
  ? NonNullable<Query>
  : never;

export interface ItemsOptions<Path extends ListPath> {
  /** Filters of the list, and the `limit` of each page, 100 unless given. */
  query?: Omit<QueryOf<Path>, "page"> | undefined;
  signal?: AbortSignal | undefined;
}

type GetPage<Path extends ListPath> = (path: Path, init: object) => Promise<
  | { data: Page<Item<Path>>; error?: never; response: Response }
  | { data?: never; error: unknown; response: Response }
>;

/**
 * Everything in a list, page by page as it is asked for. What moves to another page meanwhile, as when bookings are made or
 * those that were read no longer fit the filter, neither comes twice nor is left out.
 *
 * @throws {ProblemError} when a page is refused.
 */
export async function* itemsOf<Path extends ListPath>(
  client: FetchClient<paths>,
  path: Path,
  { query, signal }: ItemsOptions<Path>,
): AsyncGenerator<Item<Path>, void, undefined> {
  // The compiler cannot follow `GET` for all paths at once; that `path` is a list was checked where it was given.
  const get = client.GET as unknown as GetPage<Path>;
  const seen = new Set<unknown>();
  let before = 0;
  for (let page = 1;; page++) {
    const init = { params: { query: { limit: 100, ...query, page } }, ...(signal === undefined ? {} : { signal }) };
    const { items, total, limit } = await unwrap(get(path, init));
    const gone = before - total;
    before = total;
    if (gone > 0) {
      // What lay behind them has moved up, maybe onto pages that were read: back by as many.
      page = Math.max(0, page - 1 - Math.ceil(gone / limit));
      continue;
    }
    for (const item of items) {
      const id = idOf(item);
      if (seen.has(id)) continue;
      seen.add(id);
      yield item;
    }
    if (page * limit >= total || items.length === 0) return;
  }
}

/** What tells an item from others: its own id, or that of the room that it is about. */
function idOf(item: unknown): unknown {
  const { id, room } = item as { id?: number; room?: { id: number } };
  return id ?? room?.id ?? item;
}
