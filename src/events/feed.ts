/**
 * Follows the feed of events: one reader per process, which sends each event to its listeners. While nobody listens, it
 * reads no event.
 */
import type { Kysely } from "kysely";
import pLimit from "p-limit";
import type { FeedEvent } from "../../generated/contract.ts";
import { serializeFeedEvent } from "../../generated/serializers.ts";
import type { Database } from "../database/connect.ts";
import { describeFailure, type Log } from "../log.ts";
import { beginning, formatCursor, isAfter, type Position } from "./cursors.ts";
import { Hints } from "./hints.ts";
import { adoptFeed, type EventBatch, type EventFilter, type EventRow, hasGap, readEvents } from "./queries.ts";

/** Milliseconds between two polls of the feed without a hint. */
const defaultPollMs = 1_000;
/** Milliseconds between two polls while hints arrive. Events committed meanwhile are read together. */
const pauseMs = 3;
/** Longest pause between two polls, in ms, while events wait for an older transaction. It doubles from 2 ms. */
const longestDelayMs = 100;
/** Milliseconds after which the log warns of a transaction that delays all subscribers. */
const delayWarningMs = 30_000;
/** Queries of resuming subscribers that run at once. */
const replaysAtOnce = 4;
/** Events per poll. */
const batchSize = 500;
/** Events delivered in a row. Then sockets can write, so that a burst delays none of them. */
const burstSize = 50;

/** Renders a stored event in the form of the contract. May throw if the stored event is not valid. */
export type RenderEvent = (row: EventRow, generation: string) => FeedEvent;

/** An event for live listeners. It is serialized once, not per listener. */
export class LiveEvent {
  readonly position: Position;
  private text: string | undefined;

  constructor(
    private readonly row: EventRow,
    private readonly generation: string,
    private readonly render: RenderEvent,
  ) {
    this.position = { transactionId: row.transaction_id, id: row.id };
  }

  get cursor(): string {
    return formatCursor(this.generation, this.position);
  }

  /** The frame for a socket. Throws if the event breaks the contract. */
  get frame(): string {
    return this.text ??= serializeFeedEvent(this.render(this.row, this.generation));
  }

  matches({ userId, roomId, about }: EventFilter): boolean {
    const { user_id, room_id } = this.row;
    return (userId === undefined || user_id === userId) && (roomId === undefined || room_id === roomId) &&
      (about === undefined || (about === "bookings") === (user_id !== null));
  }

  /** The keys of the listeners that the event may match. */
  get keys(): string[] {
    const { user_id, room_id } = this.row;
    return user_id === null ? [`room ${room_id}`, "all"] : [`user ${user_id}`, "all"];
  }
}

/** Returns the key of listeners with this filter, so that an event is not matched against every listener. */
function keyOf({ userId, roomId, about }: EventFilter): string {
  if (userId !== undefined) return `user ${userId}`;
  return about === "timeslots" && roomId !== undefined ? `room ${roomId}` : "all";
}

/** A pending wait for an event. */
export interface NextEvent {
  /** Resolves to true if a matching event arrives within `ms`, also if it arrived before the call. */
  within(ms: number): Promise<boolean>;
  /** Stops listening. */
  cancel(): void;
}

export type Listener = (event: LiveEvent) => void;

export interface FeedOptions {
  db: Kysely<Database>;
  /** URL of the same database, to listen for hints of other servers. */
  url: string;
  log: Log;
  render: RenderEvent;
  /** Milliseconds between two polls without a hint. Default: one second. */
  pollMs?: number | undefined;
}

export class EventFeed {
  /** All events up to here are delivered. */
  position: Position = beginning;
  generation = "";
  /** Called if live listeners may have missed events. A subscriber that resumes with a cursor gets `gap`. */
  onBreak: () => void = () => {};
  private readonly listeners = new Map<string, Set<{ filter: EventFilter; listener: Listener }>>();
  private readonly replays = pLimit(replaysAtOnce);
  /** Reads the feed once at a time. */
  private readonly turns = pLimit(1);
  private followers = 0;
  /** Resolves when the position is current. Undefined while nobody follows. */
  private current: Promise<void> | undefined;
  /** Whether polls read events. Otherwise they only move the position. */
  private isReading = false;
  private readonly waiting = new Set<{ stop(): void }>();
  private readonly hints: Hints;
  private readonly pollMs: number;
  private reading: Promise<void> | undefined;
  private isWanted = false;
  private isClosed = false;
  private isFailing = false;
  private timer: ReturnType<typeof setTimeout> | undefined;
  private delayMs = 0;
  /** The oldest running transaction while events wait for it, and when it was first seen. */
  private delay: { transactionId: number; since: number } | undefined;

  constructor(private readonly options: FeedOptions) {
    this.pollMs = options.pollMs ?? defaultPollMs;
    this.hints = new Hints({ ...options, onHint: () => this.wakeFollowed() });
  }

  /** Follows the feed from its current end. */
  async start(): Promise<void> {
    const { generation, settled } = await readEvents(this.options.db, { after: beginning, limit: 0 });
    [this.generation, this.position] = [generation, settled];
    this.hints.listen();
    this.schedule(this.pollMs);
  }

  /** Reads the feed at once if somebody follows it, and notifies other servers. Call it after a commit with new events. */
  announce(): void {
    this.wakeFollowed();
    this.hints.send();
  }

  /**
   * Reads the feed for a listener until the returned function is called. Resolves when {@link position} is current.
   * Follow first, then listen or read {@link position}, so that no event is missed and none is too old.
   *
   * @throws If the database cannot be read.
   */
  async follow(): Promise<() => void> {
    this.followers++;
    const unfollow = () => {
      if (--this.followers === 0) [this.current, this.isReading] = [undefined, false];
    };
    const current = this.current ??= this.turns(() => this.catchUp());
    try {
      await current;
    } catch (failure) {
      if (this.current === current) this.current = undefined;
      unfollow();
      throw failure;
    }
    let isFollowing = true;
    return () => {
      if (isFollowing) unfollow();
      isFollowing = false;
    };
  }

  /** Returns a stored event in the form that listeners get. */
  liveEvent(row: EventRow, generation: string): LiveEvent {
    return new LiveEvent(row, generation, this.options.render);
  }

  /** Calls `listener` for every new event that matches, until the returned function is called. */
  listen(filter: EventFilter, listener: Listener): () => void {
    const key = keyOf(filter);
    const entry = { filter, listener };
    const entries = this.listeners.get(key) ?? new Set();
    this.listeners.set(key, entries.add(entry));
    return () => {
      entries.delete(entry);
      if (entries.size === 0 && this.listeners.get(key) === entries) this.listeners.delete(key);
    };
  }

  /** Runs a query of a resuming subscriber. Few run at once, so that other requests keep their connections. */
  replay<Result>(query: () => Promise<Result>): Promise<Result> {
    return this.replays(query);
  }

  /** Returns a wait for the next event that matches. */
  next(filter: EventFilter): NextEvent {
    const { promise, resolve } = Promise.withResolvers<boolean>();
    const cancel = this.listen(filter, () => resolve(true));
    const wait = { stop: () => resolve(false) };
    this.waiting.add(wait);
    return {
      within: (ms) => {
        if (this.isClosed) resolve(false);
        const limit = setTimeout(() => resolve(false), ms);
        return promise.finally(() => clearTimeout(limit));
      },
      cancel: () => {
        this.waiting.delete(wait);
        cancel();
      },
    };
  }

  /** Stops following the feed. Every pending wait resolves to false. */
  async close(): Promise<void> {
    this.isClosed = true;
    clearTimeout(this.timer);
    for (const { stop } of this.waiting) stop();
    await Promise.all([this.reading, this.hints.close()]);
  }

  private wakeFollowed(): void {
    if (this.followers > 0) this.wake();
  }

  private wake(): void {
    this.isWanted = true;
    this.reading ??= this.read();
  }

  private schedule(ms: number): void {
    clearTimeout(this.timer);
    if (!this.isClosed) this.timer = setTimeout(() => this.wake(), ms);
  }

  /** Polls the feed until no hint or full batch asks for another poll. Runs once at a time. */
  private async read(): Promise<void> {
    clearTimeout(this.timer);
    let next = this.pollMs;
    while (this.isWanted && !this.isClosed) {
      this.isWanted = false;
      next = await this.turns(() => this.poll());
      if (!this.isWanted) break;
      await new Promise((done) => setTimeout(done, pauseMs));
    }
    // Reset synchronously. If it were reset when the promise resolves, a wake-up in between would be lost.
    this.reading = undefined;
    this.schedule(next);
  }

  /** Polls once. Returns the milliseconds until the next poll, unless a hint comes earlier. */
  private async poll(): Promise<number> {
    try {
      const limit = this.isReading ? batchSize : 0;
      const batch = await readEvents(this.options.db, { after: this.position, limit });
      this.isFailing = false;
      await this.deliver(batch, limit);
      if (limit > 0 && batch.events.length === limit) this.isWanted = true;
      return this.nextPollMs(batch);
    } catch (failure) {
      // No event is lost, because the next poll begins at the same position.
      if (!this.isFailing) this.options.log.error("feed cannot be read", { failure: describeFailure(failure) });
      this.isFailing = true;
      return this.pollMs;
    }
  }

  /** Moves to the end of the feed. Each later event is read. */
  private async catchUp(): Promise<void> {
    const batch = await readEvents(this.options.db, { after: this.position, limit: 0 });
    await this.deliver(batch, 0);
    this.isReading = this.followers > 0;
    this.schedule(this.nextPollMs(batch));
  }

  /** Delivers a batch of at most `limit` events. */
  private async deliver(batch: EventBatch, limit: number): Promise<void> {
    const { events, generation, settled, removed } = batch;
    // Events that were removed while nobody listened are missed by nobody.
    if (limit === 0 && isAfter(removed, this.position)) this.position = removed;
    if (hasGap({ generation: this.generation, position: this.position }, batch)) return await this.restart(batch);
    for (const [index, row] of events.entries()) {
      if (index > 0 && index % burstSize === 0) await new Promise((turn) => setTimeout(turn));
      const event = this.liveEvent(row, generation);
      this.position = event.position;
      for (const key of event.keys) {
        for (const { filter, listener } of this.listeners.get(key) ?? []) {
          if (event.matches(filter)) this.call(listener, event);
        }
      }
    }
    const isEnd = events.length < limit || limit === 0;
    if (isEnd && isAfter(settled, this.position)) this.position = settled;
  }

  /** Restarts at the end of the feed. The database was replaced or set back, or unread events were removed. */
  private async restart({ settled }: EventBatch): Promise<void> {
    this.options.log.error("feed interrupted: the database was replaced or set back");
    await adoptFeed(this.options.db);
    const { generation } = await readEvents(this.options.db, { after: settled, limit: 0 });
    [this.generation, this.position] = [generation, settled];
    this.onBreak();
  }

  private call(listener: Listener, event: LiveEvent): void {
    try {
      listener(event);
    } catch (failure) {
      this.options.log.error("listener failed", { cursor: event.cursor, failure: describeFailure(failure) });
    }
  }

  /** Returns the milliseconds until the next poll. Warns of a transaction that delays events for long. */
  private nextPollMs({ isDelayed, events, settled: { transactionId } }: EventBatch): number {
    if (!isDelayed) {
      this.delay = undefined;
      this.delayMs = 0;
      return this.pollMs;
    }
    // While servers write, events wait for a moment all the time. Only one transaction that stays the oldest is long.
    if (this.delay?.transactionId !== transactionId) this.delay = { transactionId, since: Date.now() };
    if (Date.now() - this.delay.since > delayWarningMs) {
      const advice = "Look for it in pg_stat_activity, by backend_xid.";
      this.options.log.warn(`Events wait for a long transaction. ${advice}`);
      this.delay.since = Date.now();
    }
    if (!this.isReading) return this.pollMs;
    this.delayMs = events.length > 0 ? 2 : Math.min(Math.max(2, this.delayMs * 2), longestDelayMs);
    return this.delayMs;
  }
}
