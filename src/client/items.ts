/** Reads all pages of a list. */
import type { Client as FetchClient } from "openapi-fetch";
import type { paths } from "../../generated/api.d.ts";
import { unwrap } from "./problems.ts";

interface Page<Element = unknown> {
  items: Element[];
  total: number;
  page: number;
  limit: number;
}

type PageOf<Path extends keyof paths> = paths[Path] extends
  { get: { responses: { 200: { content: { "application/json": infer Body extends Page } } } } } ? Body : never;

/** The paths of lists with pages. */
export type ListPath = { [Path in keyof paths]: [PageOf<Path>] extends [never] ? never : Path }[keyof paths];

/** The type of an item in the list at this path. */
export type Item<Path extends ListPath> = PageOf<Path>["items"][number];

type QueryOf<Path extends ListPath> = paths[Path] extends { get: { parameters: { query?: infer Query } } }
  ? NonNullable<Query>
  : never;

export interface ItemsOptions<Path extends ListPath> {
  /** Filters of the list, and the `limit` of each page. The default limit is 100. */
  query?: Omit<QueryOf<Path>, "page"> | undefined;
  signal?: AbortSignal | undefined;
}

type GetPage<Path extends ListPath> = (path: Path, init: object) => Promise<
  | { data: Page<Item<Path>>; error?: never; response: Response }
  | { data?: never; error: unknown; response: Response }
>;

/**
 * Yields each item of a list once. Requests a page when its first item is needed.
 * Items may move to another page while the list is read, for example after a new booking. They are neither repeated nor lost.
 *
 * @throws {ProblemError} if the server answers a page with a problem.
 */
export async function* itemsOf<Path extends ListPath>(
  client: FetchClient<paths>,
  path: Path,
  { query, signal }: ItemsOptions<Path>,
): AsyncGenerator<Item<Path>, void, undefined> {
  // TypeScript cannot infer `GET` for all list paths at once. The type of `path` ensures that it is a list.
  const getPage = client.GET as unknown as GetPage<Path>;
  const knownIds = new Set<unknown>();
  let lastTotal = 0;
  for (let page = 1;; page++) {
    const init = { params: { query: { limit: 100, ...query, page } }, ...(signal === undefined ? {} : { signal }) };
    const { items, total, limit } = await unwrap(getPage(path, init));
    const removed = lastTotal - total;
    lastTotal = total;
    if (removed > 0) {
      // Later items have moved up, perhaps to pages that were read. Read as many pages again.
      page = Math.max(0, page - 1 - Math.ceil(removed / limit));
      continue;
    }
    for (const item of items) {
      const id = idOf(item);
      if (knownIds.has(id)) continue;
      knownIds.add(id);
      yield item;
    }
    if (page * limit >= total || items.length === 0) return;
  }
}

/** Returns the id of an item, or the id of its room. */
function idOf(item: unknown): unknown {
  const { id, room } = item as { id?: number; room?: { id: number } };
  return id ?? room?.id ?? item;
}
