/** The client: every operation of the contract by its path, lists page by page, subscriptions. */
import createFetchClient, { type Client as FetchClient } from "openapi-fetch";
import type { paths } from "../../generated/api.d.ts";
import { type Item, itemsOf, type ItemsOptions, type ListPath } from "./items.ts";
import type { SocketConstructor } from "./live_connection.ts";
import { retryingFetch } from "./retries.ts";
import { subscribe, type Subscription, type SubscriptionOptions } from "./subscription.ts";
import { systemTiming, type Timing } from "./timing.ts";

/** An option that is undefined has its default. */
export interface ClientOptions {
  /** Address of the server, for example `https://rooms.example`. */
  baseUrl: string;
  /**
   * A token, an API key, or a function that returns one. The function is called before each attempt, so tokens may expire.
   * Listing rooms and free timeslots needs no token.
   */
  token?: string | (() => string | Promise<string>) | undefined;
  /** Maximum retries of one request. The default is 6, which takes about 10 seconds. */
  retries?: number | undefined;
  /** Time limit of one attempt, in milliseconds. The default is one minute. */
  timeoutMs?: number | undefined;
  /** Replaces the global `fetch`. */
  fetch?: ((request: Request) => Promise<Response>) | undefined;
  /** Replaces the global `WebSocket`, which Node has from version 22 on. */
  WebSocket?: SocketConstructor | undefined;
}

/**
 * `client.GET("/api/v1/bookings/{bookingId}", { params: { path: { bookingId: 42 } } })` resolves to
 * `{ data, error, response }` with either `data` or `error`. Failed attempts are retried, see {@link ClientOptions.retries}.
 */
export interface Client extends FetchClient<paths> {
  /**
   * Reads a list page by page: `for await (const booking of client.items("/api/v1/bookings"))`. Yields each item once that
   * belongs to the list all the time. A `sort` by `name` or `start` cannot promise this, because items change their place.
   */
  items<Path extends ListPath>(path: Path, options?: ItemsOptions<Path>): AsyncGenerator<Item<Path>, void, undefined>;
  /** Follows events, from now on or after a cursor: `for await (const event of client.subscribe())`. */
  subscribe(options?: SubscriptionOptions): Subscription;
}

/** Time limit of a request for a ticket, in milliseconds. */
const longestTicketMs = 10_000;

/** Creates a client of the Slotkeeper at `baseUrl`. It connects with the first request. */
export function createClient(options: ClientOptions): Client {
  return createClientWithTiming(options, systemTiming);
}

/** `createClient` with another clock and other timers. It is for tests and not exported from the package. */
export function createClientWithTiming(options: ClientOptions, timing: Timing): Client {
  const { baseUrl, token, retries = 6, timeoutMs = 60_000 } = options;
  const fetch = options.fetch ?? ((request) => globalThis.fetch(request));
  const client = createFetchClient<paths>({
    baseUrl,
    fetch: retryingFetch({ fetch, token, retries, timeoutMs, timing }),
  });
  // A subscription retries on its own and reports each attempt.
  const ticketLimits = { retries: 0, timeoutMs: Math.min(timeoutMs, longestTicketMs) };
  const ticketFetch = retryingFetch({ fetch, token, timing, ...ticketLimits });
  const ticketClient = createFetchClient<paths>({ baseUrl, fetch: ticketFetch });
  const WebSocket = options.WebSocket ?? globalThis.WebSocket;
  return {
    ...client,
    items: (path, itemsOptions = {}) => itemsOf(client, path, itemsOptions),
    subscribe: (subscriptionOptions = {}) =>
      subscribe({ client: ticketClient, baseUrl, WebSocket, timing }, subscriptionOptions),
  };
}
