/** Following a subscription from the beginning to the end, to hold it against the feed. */
import assert from "node:assert/strict";
import { sql } from "kysely";
import type { SubscriptionEvent } from "@slotkeeper/client";
import { eventually } from "../support/process.ts";
import type { TestServer } from "../support/server.ts";

/** By then what is waited for is not coming. */
const patienceMs = 30_000;

export interface Follower {
  /** What it was told. */
  events: SubscriptionEvent[];
  /** Waits for so many events in all. */
  until(count: number): Promise<void>;
  /** Resolves when the loop has ended, and rejects with what it threw. */
  ended: Promise<void>;
}

/** Runs the loop over `subscription`. */
export function follow(subscription: AsyncIterable<SubscriptionEvent>): Follower {
  const events: SubscriptionEvent[] = [];
  let wake = Promise.withResolvers<void>();
  const ended = (async () => {
    try {
      for await (const event of subscription) {
        events.push(event);
        wake.resolve();
        wake = Promise.withResolvers();
      }
    } finally {
      wake.resolve();
    }
  })();
  let hasEnded = false;
  ended.then(() => hasEnded = true, () => hasEnded = true);
  return {
    events,
    ended,
    async until(count) {
      const late = Promise.withResolvers<never>();
      const timer = setTimeout(
        () => late.reject(new Error(`${events.length} events, not ${count}, within ${patienceMs} ms`)),
        patienceMs,
      );
      try {
        while (events.length < count) {
          if (hasEnded) await ended.then(() => assert.fail(`it ended after ${events.length} of ${count} events`));
          await Promise.race([wake.promise, late.promise]);
        }
      } finally {
        clearTimeout(timer);
      }
    },
  };
}

/** The feed as it is read over HTTP, from its beginning or from a cursor on. */
export async function feedOf(server: TestServer, token: string, after?: string): Promise<SubscriptionEvent[]> {
  await server.settled();
  const events: SubscriptionEvent[] = [];
  for (let cursor = after;;) {
    const query = cursor === undefined ? {} : { after: cursor };
    const page = await server.ok("listEvents", { token, query });
    if (page.items.length === 0) return events;
    events.push(...page.items);
    cursor = page.cursor;
  }
}

/** Ends `follower` once it has all that the feed has, and fails unless it has just that. */
export async function assertTold(
  follower: Follower,
  { server, token, after, close }: { server: TestServer; token: string; after?: string; close: () => void },
): Promise<void> {
  const feed = await feedOf(server, token, after);
  await follower.until(feed.length);
  close();
  await follower.ended;
  assert.deepEqual(follower.events.map(({ cursor }) => cursor), feed.map(({ cursor }) => cursor));
  assert.deepEqual(follower.events, feed);
}

/** Lets the event that alice was told last happen `count` times more, at once. */
export async function repeatEvents(server: TestServer, count: number): Promise<void> {
  await sql`
    insert into booking_events (type, user_id, room_id, booking_id, occurred_at, data)
    select type, user_id, room_id, booking_id, occurred_at, data
    from (select * from booking_events where user_id is not null order by transaction_id desc, id desc limit 1) as last,
      generate_series(1, ${count}::int)
  `.execute(server.db);
  server.feed.announce();
}

/** Sockets whose openings and endings can be asked for. */
export class WatchedSocket extends WebSocket {
  static all: WatchedSocket[] = [];
  /** Frames that came, of which some may have been left unread. */
  frames = 0;
  #ended = Promise.withResolvers<void>();

  constructor(address: string | URL) {
    super(address);
    WatchedSocket.all.push(this);
    this.addEventListener("message", () => this.frames++);
    this.addEventListener("close", () => this.#ended.resolve());
  }

  get ended(): Promise<void> {
    return this.#ended.promise;
  }
}

/** Waits until all sockets are closed. */
export async function allEnded(sockets: WatchedSocket[]): Promise<void> {
  await eventually(() => Promise.resolve(sockets.every(({ readyState }) => readyState === WebSocket.CLOSED)));
}
