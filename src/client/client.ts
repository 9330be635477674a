/** The client: every operation of the contract by its path, walks through lists, subscriptions. */
import createFetchClient, { type Client as FetchClient } from "openapi-fetch";
import type { paths } from "../../generated/api.d.ts";
import { type Item, itemsOf, type ItemsOptions, type ListPath } from "./items.ts";
import type { SocketConstructor } from "./line.ts";
import { retryingFetch } from "./retries.ts";
import { subscribe, type Subscription, type SubscriptionOptions } from "./subscription.ts";

/** What is undefined is as if it were not given, also where the compiler tells the two apart. */
export interface ClientOptions {
  /** Where Slotkeeper is, for example `https://rooms.example`. */
  baseUrl: string;
  /**
   * A token or an API key; or what gets one, which is asked before each attempt, so that tokens may expire. None is needed for
   * the rooms and their free timeslots.
   */
  token?: string | (() => string | Promise<string>) | undefined;
  /** How often a request that was not answered is sent again at most; 6 unless given, over some 10 seconds. */
  retries?: number | undefined;
  /** How long an attempt may take, in milliseconds; a minute unless given. */
  timeoutMs?: number | undefined;
  /** In the place of the global `fetch`. */
  fetch?: ((request: Request) => Promise<Response>) | undefined;
  /** In the place of the global `WebSocket`, which Node has from version 22 on. */
  WebSocket?: SocketConstructor | undefined;
}

/**
 * `client.GET("/api/v1/bookings/{bookingId}", { params: { path: { bookingId: 42 } } })` comes to `{ data, error, response }`,
 * where `data` or `error` is there. What was not answered is sent again, see {@link ClientOptions.retries}.
 */
export interface Client extends FetchClient<paths> {
  /** Everything in a list, page by page as it is asked for: `for await (const booking of client.items("/api/v1/bookings"))`. */
  items<Path extends ListPath>(path: Path, options?: ItemsOptions<Path>): AsyncGenerator<Item<Path>, void, undefined>;
  /** What happens from now on, or from a cursor on: `for await (const event of client.subscribe())`. */
  subscribe(options?: SubscriptionOptions): Subscription;
}

/** How long a subscription waits for its ticket, in milliseconds, before it takes the connection for dead. */
const longestTicketMs = 10_000;

/** A client of the Slotkeeper at `baseUrl`. It connects to nothing before it is asked for something. */
export function createClient(options: ClientOptions): Client {
  const { baseUrl, token, retries = 6, timeoutMs = 60_000 } = options;
  const fetch = options.fetch ?? ((request) => globalThis.fetch(request));
  const client = createFetchClient<paths>({ baseUrl, fetch: retryingFetch({ fetch, token, retries, timeoutMs }) });
  // A subscription tries again by itself, and tells so.
  const asked = { fetch, token, retries: 0, timeoutMs: Math.min(timeoutMs, longestTicketMs) };
  const subscriber = createFetchClient<paths>({ baseUrl, fetch: retryingFetch(asked) });
  return {
    ...client,
    items: (path, itemsOptions = {}) => itemsOf(client, path, itemsOptions),
    subscribe: (subscriptionOptions = {}) =>
      subscribe(
        { client: subscriber, baseUrl, WebSocket: options.WebSocket ?? globalThis.WebSocket },
        subscriptionOptions,
      ),
  };
}
