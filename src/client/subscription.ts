/** Follows events over a WebSocket, and reconnects after every failure. */
import type { Client as FetchClient } from "openapi-fetch";
import type { components, paths } from "../../generated/api.d.ts";
import { backoffMs, withExtraMs } from "./backoff.ts";
import { openLiveConnection, type SocketConstructor } from "./live_connection.ts";
import { ProblemError, unwrap } from "./problems.ts";
import { longestRetryAfterMs, retryAfterMs } from "./retries.ts";
import type { Timing } from "./timing.ts";

type Schemas = components["schemas"];

/** `gap`: events before its cursor are no longer stored. Read the bookings or timeslots again; later events follow. */
export type SubscriptionEvent =
  | Schemas["BookingUpdate"]
  | Schemas["BookingReminder"]
  | Schemas["TimeslotUpdate"]
  | Schemas["Gap"];

export type SubscriptionStatus = "connecting" | "live" | "waiting" | "closed";

export interface SubscriptionState {
  status: SubscriptionStatus;
  /** Why the last attempt ended, while `status` is `waiting`. */
  reason?: string;
}

export interface SubscriptionOptions {
  /** The user whose bookings to follow. The default is the caller. Admins may name any user, or `"all"`. */
  userId?: number | "all" | undefined;
  /** The room whose timeslots to follow, instead of bookings. */
  roomId?: number | undefined;
  /** The `cursor` of the last event that your program has processed. Later events follow. The default is from now on. */
  after?: string | undefined;
  /** Ends the subscription and its loop. */
  signal?: AbortSignal | undefined;
  /** Called with each new state. An exception ends the subscription and is thrown by its loop. */
  onState?: ((state: SubscriptionState) => void) | undefined;
}

/**
 * Events in order: `for await (const event of subscription)`, in one loop.
 * It reconnects after broken connections and restarts of servers until it is closed. No event is lost or repeated.
 *
 * The loop throws a `ProblemError` if the token is rejected, and a {@link SubscriptionError} if the caller may not join.
 */
export interface Subscription extends AsyncIterable<SubscriptionEvent> {
  readonly state: SubscriptionState;
  /** The cursor of the last event that the loop has received, for `after`. Undefined until the subscription is live. */
  readonly cursor: string | undefined;
  /** Ends the subscription and its loop. Leaving the loop also ends the subscription. */
  close(): void;
}

/** The caller may not join, or `after` is not a valid cursor. */
export class SubscriptionError extends Error {
  override readonly name = "SubscriptionError";
  readonly code: Schemas["SocketErrorCode"];

  constructor({ code, message }: Schemas["SocketError"]) {
    super(message);
    this.code = code;
  }
}

/** Returns whether a retry would fail again. */
function isFinal(failure: unknown): boolean {
  if (failure instanceof SubscriptionError) return true;
  return failure instanceof ProblemError && failure.status < 500 && ![408, 409, 429].includes(failure.status);
}

interface Context {
  client: FetchClient<paths>;
  baseUrl: string;
  WebSocket: SocketConstructor | undefined;
  timing: Timing;
  /** See {@link LiveConnectionOptions.heartbeatMs}. The default is 20 seconds. */
  heartbeatMs?: number;
}

interface ConnectionEnd {
  /** After a good connection, pauses start again from the shortest. */
  wasGood: boolean;
  reason: string;
}

/** A connection is good after its first event, or after it was live for this time in milliseconds. */
const goodConnectionMs = 5_000;

export function subscribe(context: Context, options: SubscriptionOptions): Subscription {
  const { client, baseUrl, WebSocket, timing, heartbeatMs = 20_000 } = context;
  if (WebSocket === undefined) {
    throw new TypeError(
      "This runtime has no WebSocket. Use Node 22 or later, or pass the WebSocket of `ws` to `createClient`.",
    );
  }
  if (options.userId !== undefined && options.roomId !== undefined) {
    throw new TypeError("A subscription follows a user's bookings or a room. Pass `userId` or `roomId`, not both.");
  }
  const closing = new AbortController();
  const signal = options.signal === undefined ? closing.signal : AbortSignal.any([options.signal, closing.signal]);
  let cursor = options.after;
  let state: SubscriptionState = { status: "connecting" };
  /** The `Retry-After` of the last request for a ticket, in milliseconds. */
  let askedMs = 0;
  /** The exception of `onState`, which ends the subscription. */
  let onStateFailure: { failure: unknown } | undefined;
  const report = (next: SubscriptionState) => {
    state = next;
    try {
      options.onState?.(next);
    } catch (failure) {
      onStateFailure ??= { failure };
      closing.abort();
    }
  };

  /** Follows one connection, from its ticket to its end. */
  async function* followConnection(): AsyncGenerator<SubscriptionEvent, ConnectionEnd, undefined> {
    askedMs = 0;
    const answer = await client.POST("/api/v1/ws/tickets", { signal });
    askedMs = Math.min(longestRetryAfterMs, retryAfterMs(answer.response, timing));
    const { ticket } = await unwrap(answer);
    const address = new URL(`${baseUrl.replace(/\/$/, "")}/api/v1/ws`, globalThis.location?.href);
    address.protocol = address.protocol.replace("http", "ws");
    address.searchParams.set("ticket", ticket);
    const socket = new WebSocket!(address);
    const connection = openLiveConnection(socket, { joinFrame: joinFrame(), signal, heartbeatMs, timing });
    let joinedAt = Infinity;
    let hasEvents = false;
    try {
      for (let frame = await connection.nextFrame(); frame !== undefined; frame = await connection.nextFrame()) {
        switch (frame.event) {
          case "joined":
            joinedAt = timing.now();
            // After a gap the server joins at a later cursor. The `gap` frame sets that one.
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
      const wasGood = hasEvents || timing.now() - joinedAt >= goodConnectionMs;
      return { wasGood, reason: connection.endReason };
    } finally {
      connection.close();
    }
  }

  function joinFrame(): Schemas["JoinBookingRoom"] | Schemas["JoinRoom"] {
    const after = cursor === undefined ? {} : { after: cursor };
    const { roomId, userId } = options;
    if (roomId !== undefined) return { action: "join_room", roomId, ...after };
    return { action: "join_booking_room", ...(userId === undefined ? {} : { userId }), ...after };
  }

  /** Connects again after each connection. */
  async function* attempts(): AsyncGenerator<SubscriptionEvent, void, undefined> {
    // A token may expire on its way to the server. So one more attempt follows a 401, with a new token.
    let wasUnauthorized = false;
    for (let failures = 0; !signal.aborted; failures++) {
      report({ status: "connecting" });
      let reason: string;
      try {
        const end = yield* followConnection();
        reason = end.reason;
        wasUnauthorized = false;
        if (end.wasGood) failures = 0;
      } catch (failure) {
        if (signal.aborted) return;
        const isUnauthorized = failure instanceof ProblemError && failure.status === 401;
        if (isFinal(failure) && (!isUnauthorized || wasUnauthorized)) throw failure;
        wasUnauthorized ||= isUnauthorized;
        reason = failure instanceof Error ? failure.message : String(failure);
      }
      if (signal.aborted) return;
      report({ status: "waiting", reason });
      const pauseMs = Math.max(backoffMs(failures, timing), withExtraMs(askedMs, timing));
      await timing.sleep(pauseMs, signal).catch(() => {});
    }
  }

  async function* events(): AsyncGenerator<SubscriptionEvent, void, undefined> {
    try {
      yield* attempts();
    } finally {
      closing.abort();
      report({ status: "closed" });
    }
    if (onStateFailure !== undefined) throw onStateFailure.failure;
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
