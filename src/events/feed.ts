/** The feed of events as this process follows it: one reader, which hands each event to whoever listens. */
import type { Kysely } from "kysely";
import pLimit from "p-limit";
import type { FeedEvent } from "../../generated/contract.ts";
import type { Database } from "../database/connect.ts";
import { describeFailure, type Log } from "../log.ts";
import { beginning, formatCursor, isBehind, type Position } from "./cursors.ts";
import { Hints } from "./hints.ts";
import { adoptFeed, type EventBatch, type EventFilter, type EventRow, hasGap, readEvents } from "./queries.ts";

/** Milliseconds. Without any hint the feed is looked at so often. */
const pollMs = 1_000;
/** Between two looks while hints come in. What is committed meanwhile is read together. */
const pauseMs = 3;
/** Looks at events that wait for an older transaction come ever later, up to this. */
const longestHoldMs = 100;
/** After so long somebody should know that a transaction keeps all subscribers waiting. */
const holdWarningMs = 30_000;
/** Queries for those who come back, at a time. */
const replaysAtOnce = 4;
/** Events a look. */
const batchSize = 500;
/** Events that are handed on in a row; then sockets have their turn to write, so that a burst makes none of them slow. */
const burstSize = 50;

/** Renders a stored event as the contract has it. Throws if the stored event is not valid. */
export type RenderEvent = (row: EventRow, generation: string) => FeedEvent;

/** An event on its way to those who listen. It is put into words once, however many they are. */
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

  /** The frame for a socket. */
  get frame(): string {
    return this.text ??= JSON.stringify(this.render(this.row, this.generation));
  }

  matches({ userId, roomId, about }: EventFilter): boolean {
    const { user_id, room_id } = this.row;
    return (userId === undefined || user_id === userId) && (roomId === undefined || room_id === roomId) &&
      (about === undefined || (about === "bookings") === (user_id !== null));
  }

  /** The keys under which those stand who may be meant. */
  get keys(): string[] {
    const { user_id, room_id } = this.row;
    return user_id === null ? [`room ${room_id}`, "all"] : [`user ${user_id}`, "all"];
  }
}

/** Where to look for those whose filter this is, without asking everybody. */
function keyOf({ userId, roomId, about }: EventFilter): string {
  if (userId !== undefined) return `user ${userId}`;
  return about === "timeslots" && roomId !== undefined ? `room ${roomId}` : "all";
}

/** An event that may come. */
export interface NextEvent {
  /** Whether it came, since this was made, within so many milliseconds. */
  within(ms: number): Promise<boolean>;
  /** Stops listening. */
  cancel(): void;
}

export type Listener = (event: LiveEvent) => void;

export interface FeedOptions {
  db: Kysely<Database>;
  /** The same database, to be told of what other servers write. */
  url: string;
  log: Log;
  render: RenderEvent;
}

export class EventFeed {
  /** Everything up to here has been handed on. */
  position: Position = beginning;
  generation = "";
  /** Called when live listeners may have missed something. Whoever comes back with a cursor is told so. */
  onBreak: () => void = () => {};
  private readonly listeners = new Map<string, Set<{ filter: EventFilter; listener: Listener }>>();
  private readonly replays = pLimit(replaysAtOnce);
  private readonly waiting = new Set<{ stop(): void }>();
  private readonly hints: Hints;
  private reading: Promise<void> | undefined;
  private isWanted = false;
  private isClosed = false;
  private isFailing = false;
  private timer: ReturnType<typeof setTimeout> | undefined;
  private holdMs = 0;
  private heldSince: number | undefined;

  constructor(private readonly options: FeedOptions) {
    this.hints = new Hints({ ...options, onHint: () => this.wake() });
  }

  /** Begins to follow the feed, from now on. */
  async start(): Promise<void> {
    const { generation, settled } = await readEvents(this.options.db, { after: beginning, limit: 0 });
    [this.generation, this.position] = [generation, settled];
    this.hints.listen();
    this.schedule(pollMs);
  }

  /** We have committed something new. */
  announce(): void {
    this.wake();
    this.hints.send();
  }

  /** A stored event in the form that listeners get. */
  liveEvent(row: EventRow, generation: string): LiveEvent {
    return new LiveEvent(row, generation, this.options.render);
  }

  /** Hands every event that matches from now on to `listener`, until the returned function is called. */
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

  /** Runs a query of somebody who comes back. Many may come back at once; what goes on meanwhile keeps its connections. */
  replaying<Result>(query: () => Promise<Result>): Promise<Result> {
    return this.replays(query);
  }

  /** The next event that matches, to be waited for. */
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

  /** Follows the feed no longer. Whoever waits is told that nothing comes any more. */
  async close(): Promise<void> {
    this.isClosed = true;
    clearTimeout(this.timer);
    for (const { stop } of this.waiting) stop();
    await Promise.all([this.reading, this.hints.close()]);
  }

  private wake(): void {
    this.isWanted = true;
    this.reading ??= this.read();
  }

  private schedule(ms: number): void {
    clearTimeout(this.timer);
    if (!this.isClosed) this.timer = setTimeout(() => this.wake(), ms);
  }

  /** Looks at the feed until there is nothing more to look for. Only one of these runs at a time. */
  private async read(): Promise<void> {
    clearTimeout(this.timer);
    let next = pollMs;
    while (this.isWanted && !this.isClosed) {
      this.isWanted = false;
      next = await this.look();
      if (!this.isWanted) break;
      await new Promise((done) => setTimeout(done, pauseMs));
    }
    // At once, not when the promise is done: a wake-up in between would be lost.
    this.reading = undefined;
    this.schedule(next);
  }

  /** One look. Returns after how many milliseconds the next one is due if nobody asks for one earlier. */
  private async look(): Promise<number> {
    try {
      const batch = await readEvents(this.options.db, { after: this.position, limit: batchSize });
      this.isFailing = false;
      await this.handOn(batch);
      if (batch.events.length === batchSize) this.isWanted = true;
      return this.hold(batch);
    } catch (failure) {
      // Nothing is lost: the next look begins where this one did.
      if (!this.isFailing) this.options.log.error("the feed cannot be read", { failure: describeFailure(failure) });
      this.isFailing = true;
      return pollMs;
    }
  }

  private async handOn(batch: EventBatch): Promise<void> {
    const { events, generation, settled } = batch;
    if (hasGap({ generation: this.generation, position: this.position }, batch)) return await this.startAnew(batch);
    for (const [index, row] of events.entries()) {
      if (index > 0 && index % burstSize === 0) await new Promise((turn) => setTimeout(turn));
      const event = this.liveEvent(row, generation);
      this.position = event.position;
      for (const key of event.keys) {
        for (const { filter, listener } of this.listeners.get(key) ?? []) {
          if (event.matches(filter)) this.tell(listener, event);
        }
      }
    }
    if (events.length < batchSize && isBehind(settled, this.position)) this.position = settled;
  }

  /** The database behind us is another one now, or has lost its last transactions, or the feed was removed before we read it. */
  private async startAnew({ settled }: EventBatch): Promise<void> {
    this.options.log.error("the feed broke off: another database, or one that was set back");
    await adoptFeed(this.options.db);
    const { generation } = await readEvents(this.options.db, { after: settled, limit: 0 });
    [this.generation, this.position] = [generation, settled];
    this.onBreak();
  }

  private tell(listener: Listener, event: LiveEvent): void {
    try {
      listener(event);
    } catch (failure) {
      this.options.log.error("a listener failed", { cursor: event.cursor, failure: describeFailure(failure) });
    }
  }

  private hold({ isHeld, events }: EventBatch): number {
    if (!isHeld) {
      this.heldSince = undefined;
      this.holdMs = 0;
      return pollMs;
    }
    this.heldSince ??= Date.now();
    if (Date.now() - this.heldSince > holdWarningMs) {
      const advice = "Look for it in pg_stat_activity, by backend_xid.";
      this.options.log.warn(`Events wait for a transaction that has run for long. ${advice}`);
      this.heldSince = Date.now();
    }
    this.holdMs = events.length > 0 ? 2 : Math.min(Math.max(2, this.holdMs * 2), longestHoldMs);
    return this.holdMs;
  }
}
