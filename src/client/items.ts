/** Reads all pages of a list. */
import type { Client as FetchClient } from "openapi-fetch";
import type { paths } from "../../generated/api.d.ts";
import { UnexpectedAnswerError, unwrap } from "./problems.ts";

interface Page<Element = unknown> {
  items: Element[];
  /** Where the next page begins. Null after the last one. */
  nextCursor: string | null;
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
  /** Filters and order of the list, and the `limit` of each page. The default limit is 100. */
  query?: Omit<QueryOf<Path>, "page" | "after"> | undefined;
  signal?: AbortSignal | undefined;
}

type GetPage<Path extends ListPath> = (path: Path, init: object) => Promise<
  | { data: Page<Item<Path>>; error?: never; response: Response }
  | { data?: never; error: unknown; response: Response }
>;

/** Rooms may be renamed while a list is read. Their creation never changes. */
const defaults: { [Path in ListPath]?: { sort: "created" } } = {
  "/api/v1/bookings/rooms": { sort: "created" },
  "/api/v1/bookings/rooms/available": { sort: "created" },
};

/**
 * Yields each item of a list once. Requests a page when its first item is needed.
 *
 * Each page begins after the last item of the page before. So every item that belongs to the list all the time is yielded.
 * Others may come, go or change meanwhile. A `sort` by `name` or `start` cannot promise this. There an item may move to a
 * place that was read: its room is renamed, or its booking rescheduled. Without a `sort`, rooms are in the order of
 * their creation.
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
  for (let after: { after?: string } = {};;) {
    const init = {
      params: { query: { limit: 100, ...defaults[path], ...query, ...after } },
      ...(signal === undefined ? {} : { signal }),
    };
    const answer = await getPage(path, init);
    const page = await unwrap(answer);
    // An older server would end every list after its first page.
    if (page.nextCursor === undefined) throw new UnexpectedAnswerError(answer.response.status, { cause: page });
    for (const item of page.items) {
      // An item that has moved to a later place was yielded already.
      const id = idOf(item);
      if (knownIds.has(id)) continue;
      knownIds.add(id);
      yield item;
    }
    if (page.nextCursor === null) return;
    after = { after: page.nextCursor };
  }
}

/** Returns the id of an item, or the id of its room. */
function idOf(item: unknown): unknown {
  const { id, room } = item as { id?: number; room?: { id: number } };
  return id ?? room?.id ?? item;
}
