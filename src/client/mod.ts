/**
 * The client of Slotkeeper, for Deno, Node and browsers. Its types come from the contract of the API.
 *
 * ```ts
 * import { createClient, unwrap } from "@slotkeeper/client";
 *
 * const client = createClient({ baseUrl: "https://rooms.example", token });
 * const { items } = await unwrap(client.GET("/api/v1/bookings/rooms"));
 * ```
 */
export { type Client, type ClientOptions, createClient } from "./client.ts";
export { ConnectionError, TimeoutError, TokenError } from "./connection_error.ts";
export type { Item, ItemsOptions, ListPath } from "./items.ts";
export {
  isProblem,
  type Problem,
  type ProblemCode,
  ProblemError,
  type ProblemOf,
  UnexpectedAnswerError,
  unwrap,
} from "./problems.ts";
export {
  type Subscription,
  SubscriptionError,
  type SubscriptionEvent,
  type SubscriptionOptions,
  type SubscriptionState,
  type SubscriptionStatus,
} from "./subscription.ts";
export type { components, operations, paths } from "../../generated/api.d.ts";
export type { Booking, BookingStatus, Room, Timeslot } from "./schemas.ts";
