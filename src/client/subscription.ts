/** Following the feed of events over a WebSocket, across everything that breaks one. */
import type { Client as FetchClient } from "openapi-fetch";
import type { components, paths } from "../../generated/api.d.ts";
import { backoffMs, sleep } from "./backoff.ts";
import { openLine, type SocketConstructor } from "./line.ts";
import { ProblemError, unwrap } from "./problems.ts";
import { longestRetryAfterMs, retryAfterMs } from "./retries.ts";

type Schemas = components["schemas"];

/** `gap`: what happened before it is no longer kept, so read afresh; events behind its cursor follow. */
export type SubscriptionEvent =
  | Schemas["BookingUpdate"]
  | Schemas["BookingReminder"]
  | Schemas["TimeslotUpdate"]
  | Schemas["Gap"];

export type SubscriptionStatus = "connecting" | "live" | "waiting" | "closed";

export interface SubscriptionState {
  status: SubscriptionStatus;
  /** Why it waits to connect again. */
  reason?: string;
}

export interface SubscriptionOptions {
  /** Whose bookings: your own unless given. An admin names anybody, or `"all"`. */
  userId?: number | "all" | undefined;
  /** The room whose timeslots to follow, in the place of bookings. */
  roomId?: number | undefined;
  /** The `cursor` of the last event that was dealt with. What came behind it comes first. From now on unless given. */
  after?: string | undefined;
  /** Ends the subscription; the loop over it then ends, too. */
  signal?: AbortSignal | undefined;
  /** Told of each change of the state. */
  onState?: ((state: SubscriptionState) => void) | undefined;
}

/**
 * What happens, in order: `for await (const event of subscription)`, once. Nothing is lost and nothing comes twice while
 * connections break and servers restart; it goes on by itself until it is closed.
 *
 * The loop throws a `ProblemError` when the token is refused, and a {@link SubscriptionError} when it may not join.
 */
export interface Subscription extends AsyncIterable<SubscriptionEvent> {
  readonly state: SubscriptionState;
  /** That of the last event that was given out, for `after`. Undefined until it is live. */
  readonly cursor: string | undefined;
  /** Ends the subscription, and the loop over it. So does leaving the loop. */
  close(): void;
}

/** The server does not let you join, or does not understand the `after`. */
export class SubscriptionError extends Error {
  override readonly name = "SubscriptionError";
  readonly code: Schemas["SocketErrorCode"];

  constructor({ code, message }: Schemas["SocketError"]) {
    super(message);
    this.code = code;
  }
}

/** Whether another attempt would come to the same. */
function isFinal(failure: unknown): boolean {
  if (failure instanceof SubscriptionError) return true;
  return failure instanceof ProblemError && failure.status < 500 && ![408, 409, 429].includes(failure.status);
}

/** In words. Runtimes tell why a connection failed in the cause, or not at all. */
function reasonOf(failure: unknown): string {
  if (!(failure instanceof Error)) return String(failure);
  const { message, cause } = failure;
  return cause instanceof Error && !message.includes(cause.message) ? `${message}: ${cause.message}` : message;
}

interface Context {
  client: FetchClient<paths>;
  baseUrl: string;
  WebSocket: SocketConstructor | undefined;
  /** See {@link LineOptions.patienceMs}; 20 seconds unless given. */
  patienceMs?: number;
}

/** A connection that has held for so long, or told something, was a good one: the next attempt comes soon. In milliseconds. */
const goodConnectionMs = 5_000;

export function subscribe(context: Context, options: SubscriptionOptions): Subscription {
  const { client, baseUrl, WebSocket, patienceMs = 20_000 } = context;
  if (WebSocket === undefined) {
    throw new TypeError("There is no WebSocket here. Use Node 22 or later, or give `createClient` one, as of `ws`.");
  }
  if (options.userId !== undefined && options.roomId !== undefined) {
    throw new TypeError("A subscription is to a user's bookings or to a room: give `userId` or `roomId`, not both.");
  }
  const closing = new AbortController();
  const signal = options.signal === undefined ? closing.signal : AbortSignal.any([options.signal, closing.signal]);
  let cursor = options.after;
  let state: SubscriptionState = { status: "connecting" };
  /** How long to wait at least before another ticket is asked for, as the server said. */
  let askedMs = 0;
  /** What `onState` threw, which ends the subscription. */
  let thrown: { failure: unknown } | undefined;
  const report = (next: SubscriptionState) => {
    state = next;
    try {
      options.onState?.(next);
    } catch (failure) {
      thrown ??= { failure };
      closing.abort();
    }
  };

  /** One connection, from its ticket to its end. Comes to whether it was of any use, and why it ended. */
  async function* listen(): AsyncGenerator<SubscriptionEvent, { wasGood: boolean; reason: string }, undefined> {
    askedMs = 0;
    const answer = await client.POST("/api/v1/ws/tickets", { signal });
    askedMs = Math.min(longestRetryAfterMs, retryAfterMs(answer.response));
    const { ticket } = await unwrap(answer);
    const address = new URL(`${baseUrl.replace(/\/$/, "")}/api/v1/ws`, globalThis.location?.href);
    address.protocol = address.protocol.replace("http", "ws");
    address.searchParams.set("ticket", ticket);
    const line = openLine(new WebSocket!(address), { join: joinFrame(), signal, patienceMs });
    let joinedAt = Infinity;
    let hasEvents = false;
    try {
      for (let frame = await line.next(); frame !== undefined; frame = await line.next()) {
        switch (frame.event) {
          case "joined":
            joinedAt = Date.now();
            // With a gap it is another one than asked for, which the frame of the gap tells.
            if (cursor === undefined || cursor === "latest") cursor = frame.cursor;
            report({ status: "live" });
            break;
          case "error":
            throw new SubscriptionError(frame);
          case "booking_update":
          case "booking_reminder":
          case "timeslot_update":
          case "gap":
            hasEvents = true;
            cursor = frame.cursor;
            yield frame;
        }
      }
      return { wasGood: hasEvents || Date.now() - joinedAt >= goodConnectionMs, reason: line.reason };
    } finally {
      line.close();
    }
  }

  function joinFrame(): Schemas["JoinBookingRoom"] | Schemas["JoinRoom"] {
    const after = cursor === undefined ? {} : { after: cursor };
    const { roomId, userId } = options;
    if (roomId !== undefined) return { action: "join_room", roomId, ...after };
    return { action: "join_booking_room", ...(userId === undefined ? {} : { userId }), ...after };
  }

  /** One connection after the other. */
  async function* attempts(): AsyncGenerator<SubscriptionEvent, void, undefined> {
    // A token may expire on its way to the server, so who is refused for it may ask for another one, once.
    let wasUnauthorized = false;
    for (let failures = 0; !signal.aborted; failures++) {
      report({ status: "connecting" });
      let reason: string;
      try {
        const end = yield* listen();
        reason = end.reason;
        wasUnauthorized = false;
        if (end.wasGood) failures = 0;
      } catch (failure) {
        if (signal.aborted) return;
        const isUnauthorized = failure instanceof ProblemError && failure.status === 401;
        if (isFinal(failure) && (!isUnauthorized || wasUnauthorized)) throw failure;
        wasUnauthorized ||= isUnauthorized;
        reason = reasonOf(failure);
      }
      if (signal.aborted) return;
      report({ status: "waiting", reason });
      await sleep(Math.max(backoffMs(failures), askedMs + Math.random() * 250), signal).catch(() => {});
    }
  }

  async function* events(): AsyncGenerator<SubscriptionEvent, void, undefined> {
    try {
      yield* attempts();
    } finally {
      closing.abort();
      report({ status: "closed" });
    }
    if (thrown !== undefined) throw thrown.failure;
  }

  const generator = events();
  return {
    [Symbol.asyncIterator]: () => generator,
    get state() {
      return state;
    },
    get cursor() {
      return cursor;
    },
    close: () => closing.abort(),
  };
}
