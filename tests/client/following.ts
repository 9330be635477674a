/** Follows a subscription and compares it with the stored events. */
import assert from "node:assert/strict";
import { sql } from "kysely";
import type { SubscriptionEvent, SubscriptionState } from "@slotkeeper/client";
import type { Booking } from "../../generated/contract.ts";
import { newBooking, newRoom, newTimeslots } from "../support/builders.ts";
import type { TestServer } from "../support/server.ts";
import { Changes } from "./changes.ts";

export interface Follower {
  /** All events so far. */
  events: SubscriptionEvent[];
  /** Waits until the follower has this number of events. */
  until(count: number): Promise<void>;
  /** Resolves when the loop has ended, and rejects with its exception. */
  ended: Promise<void>;
}

/** Runs the loop over `subscription`. */
export function follow(subscription: AsyncIterable<SubscriptionEvent>): Follower {
  const events: SubscriptionEvent[] = [];
  const changes = new Changes();
  let hasEnded = false;
  const ended = (async () => {
    for await (const event of subscription) {
      events.push(event);
      changes.notify();
    }
  })();
  const markEnded = () => {
    hasEnded = true;
    changes.notify();
  };
  ended.then(markEnded, markEnded);
  return {
    events,
    ended,
    async until(count) {
      await changes.until(() => hasEnded || events.length >= count, () => `${count} events, not ${events.length}`);
      if (events.length >= count) return;
      await ended;
      assert.fail(`The loop ended after ${events.length} of ${count} events`);
    },
  };
}

export interface WatchedStates {
  /** All states so far. */
  states: SubscriptionState[];
  /** The statuses so far, separated by spaces. */
  statuses(): string;
  onState(state: SubscriptionState): void;
  /** Waits until `status` was reported this number of times. */
  until(status: SubscriptionState["status"], times?: number): Promise<void>;
}

/** Returns an `onState` that keeps the states. */
export function watchStates(): WatchedStates {
  const states: SubscriptionState[] = [];
  const changes = new Changes();
  return {
    states,
    statuses: () => states.map(({ status }) => status).join(" "),
    onState(state) {
      states.push(state);
      changes.notify();
    },
    async until(status, times = 1) {
      const count = () => states.filter((state) => state.status === status).length;
      await changes.until(() => count() >= times, () => `${status} ${times} times, not ${JSON.stringify(states)}`);
    },
  };
}

/** A user with a room of 8 free timeslots. */
export interface Subscriber {
  token: string;
  roomId: number;
  /** Books the next timeslot of the room, with another client. */
  book(): Promise<Booking>;
}

export async function newSubscriber(server: TestServer, subject: string): Promise<Subscriber> {
  const room = await newRoom(server, { name: `Room of ${subject}` });
  const slots = await newTimeslots(server, room, { date: "2026-03-09" });
  return {
    token: await server.token(subject),
    roomId: room.id,
    async book() {
      const slot = slots.pop();
      assert(slot);
      return await newBooking(server, subject, slot);
    },
  };
}

/** Returns the events of `listEvents`, from the first or after a cursor. */
export async function storedEvents(server: TestServer, token: string, after?: string): Promise<SubscriptionEvent[]> {
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

/** Waits until `follower` has all stored events, closes it, and fails unless it has exactly these. */
export async function assertFollowed(
  follower: Follower,
  { server, token, after, close }: { server: TestServer; token: string; after?: string; close: () => void },
): Promise<void> {
  const stored = await storedEvents(server, token, after);
  await follower.until(stored.length);
  close();
  await follower.ended;
  assert.deepEqual(follower.events.map(({ cursor }) => cursor), stored.map(({ cursor }) => cursor));
  assert.deepEqual(follower.events, stored);
}

/** Stores `count` more copies of the last event of a booking, in one transaction. */
export async function repeatEvent(server: TestServer, { id }: Booking, count: number): Promise<void> {
  await sql`
    insert into booking_events (type, user_id, room_id, booking_id, occurred_at, data)
    select type, user_id, room_id, booking_id, occurred_at, data
    from (
      select * from booking_events
      where booking_id = ${id} and user_id is not null
      order by transaction_id desc, id desc
      limit 1
    ) as last, generate_series(1, ${count}::int)
  `.execute(server.db);
  server.feed.announce();
}

/** A `WebSocket` that counts its frames and reports its end. */
export class WatchedSocket extends WebSocket {
  /** All sockets since a test has emptied it. */
  static all: WatchedSocket[] = [];
  /** Frames that arrived. The SDK may not have read all of them. */
  frames = 0;
  readonly #ended = Promise.withResolvers<void>();
  readonly #changes = new Changes();

  constructor(address: string | URL) {
    super(address);
    WatchedSocket.all.push(this);
    this.addEventListener("message", () => {
      this.frames++;
      this.#changes.notify();
    });
    this.addEventListener("close", () => this.#ended.resolve());
  }

  get ended(): Promise<void> {
    return this.#ended.promise;
  }

  async untilFrames(count: number): Promise<void> {
    await this.#changes.until(() => this.frames >= count, () => `${count} frames, not ${this.frames}`);
  }
}

// Runs for all tests of a shard, and costs nothing there.
Deno.test.beforeEach(() => {
  WatchedSocket.all = [];
});

/** Waits until all sockets are closed. */
export async function untilAllEnded(): Promise<void> {
  await Promise.all(WatchedSocket.all.map(({ ended }) => ended));
}
