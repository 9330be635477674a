/** One WebSocket: the rooms it has joined, and what is sent to it. */
import type { Kysely } from "kysely";
import type { z } from "zod";
import { ClientFrame, type ServerFrame, type SocketErrorCode } from "../../generated/contract.ts";
import type { Caller } from "../contract/caller.ts";
import type { Database } from "../database/connect.ts";
import { describeFailure, type Log } from "../log.ts";
import { validationProblem } from "../contract/validation.ts";
import { formatCursor, isBehind, parseCursor, type ParsedCursor, type Position } from "../events/cursors.ts";
import type { EventFeed, LiveEvent } from "../events/feed.ts";
import { type EventFilter, hasGap, readEvents } from "../events/queries.ts";

/** Why the server closes a socket (RFC 6455, 7.4); from 4000 on the codes are our own. */
export const closeCodes = {
  unsupported: 1003,
  tooManyFrames: 1008,
  tooBig: 1009,
  failed: 1011,
  restarting: 1012,
  tryLater: 1013,
  notAuthorized: 4401,
} as const;

/** Frames that a client may send in so many milliseconds. Each may cost a look at the database. */
const framesLimit = 200;
const framesWindowMs = 10_000;
/** Bytes of a frame that a client sends. */
const frameLimit = 4_096;
/** Bytes that may wait to be sent. Whoever reads so slowly is cut off, and can resume. */
const unsentLimit = 1 << 20;
/** While more waits than this, nothing is replayed. */
const replayMark = 1 << 16;
/** Events that are replayed at a time; the largest of them stay far below {@link unsentLimit} together. */
const replaySize = 50;
/** Milliseconds. How often it is looked whether a replay may go on, and for how long. */
const replayPauseMs = 5;
const replayPatienceMs = 30_000;
const joinLimit = 100;

/** A room that may be joined: the bookings of a user or of all, or the timeslots of a room. */
type Room = { userId: number | "all" } | { roomId: number };

interface Membership {
  /** Up to here everything has been sent. */
  position: Position;
  /**
   * What comes in while the last missed events are read is kept, to be sent behind them; before that it is dropped, since
   * it will be read. Undefined once the membership is live.
   */
  pending: LiveEvent[] | "dropped" | undefined;
  hasLeft: boolean;
  leave(): void;
}

export interface SessionOptions {
  socket: WebSocket;
  caller: Caller;
  db: Kysely<Database>;
  feed: EventFeed;
  log: Log;
}

export class SocketSession {
  readonly caller: Caller;
  private readonly memberships = new Map<string, Membership>();
  private lastLive: LiveEvent | undefined;
  private hasEnded = false;
  /** Frames received since a moment. */
  private received = { count: 0, since: 0 };
  /** Replays of a socket run one after the other. */
  private replays: Promise<void> = Promise.resolve();

  constructor(private readonly options: SessionOptions) {
    this.caller = options.caller;
  }

  /** Deals with what the client sent. */
  receive(data: unknown): void {
    if (this.hasEnded) return;
    if (!this.mayReceive()) return this.close(closeCodes.tooManyFrames, "Too many frames");
    if (typeof data !== "string") return this.close(closeCodes.unsupported, "Send frames as text");
    if (data.length > frameLimit || new TextEncoder().encode(data).length > frameLimit) {
      return this.close(closeCodes.tooBig, `A frame has at most ${frameLimit} bytes`);
    }
    const frame = this.parse(data);
    switch (frame?.action) {
      case "join_booking_room":
        return this.join({ userId: frame.userId ?? this.caller.userId }, frame.after);
      case "join_room":
        return this.join({ roomId: frame.roomId }, frame.after);
      case "leave_booking_room":
        return this.leave({ userId: frame.userId ?? this.caller.userId });
      case "leave_room":
        return this.leave({ roomId: frame.roomId });
      case "ping":
        return this.send({ event: "pong" });
    }
  }

  private mayReceive(): boolean {
    const now = performance.now();
    if (now - this.received.since >= framesWindowMs) this.received = { count: 0, since: now };
    return ++this.received.count <= framesLimit;
  }

  close(code: number, reason: string): void {
    this.end();
    this.options.socket.close(code, reason);
  }

  /** Leaves every room. Also when the socket cannot be brought to close, nothing is sent to it any more. */
  end(): void {
    this.hasEnded = true;
    for (const membership of this.memberships.values()) membership.leave();
    this.memberships.clear();
  }

  private parse(text: string): ClientFrame | undefined {
    let json: unknown;
    try {
      json = JSON.parse(text);
    } catch {
      this.refuse("malformed_json", "The frame is not valid JSON.");
      return undefined;
    }
    const { success, data, error } = ClientFrame.safeParse(json);
    if (success) return data;
    this.refuse("invalid_frame", explain(error, json));
    return undefined;
  }

  private join(room: Room, after: string | undefined): void {
    if ("userId" in room && room.userId !== this.caller.userId && this.caller.role !== "admin") {
      return this.refuse("forbidden", "You may join your own booking room only. Leave out userId.");
    }
    const key = JSON.stringify(room);
    if (this.memberships.size >= joinLimit && !this.memberships.has(key)) {
      return this.refuse("too_many_joins", `A socket may be in ${joinLimit} rooms at once. Leave one first.`);
    }
    this.memberships.get(key)?.leave();

    const { feed } = this.options;
    const given = after === undefined ? "latest" : parseCursor(after);
    const membership: Membership = {
      position: feed.position,
      pending: undefined,
      hasLeft: false,
      leave: () => {
        membership.hasLeft = true;
        stopListening();
      },
    };
    const filter = filterOf(room);
    const stopListening = feed.listen(filter, (event) => this.onLive(event, membership));
    this.memberships.set(key, membership);
    if (given === "latest") {
      this.send({ event: "joined", ...room, cursor: formatCursor(feed.generation, feed.position) });
      return;
    }
    membership.pending = "dropped";
    this.replays = this.replays.then(() => this.replay(membership, { room, filter, given }))
      .catch((failure: unknown) => {
        this.options.log.error("a replay failed", { failure: describeFailure(failure) });
        this.close(closeCodes.failed, "The server failed");
      });
  }

  private leave(room: Room): void {
    const key = JSON.stringify(room);
    this.memberships.get(key)?.leave();
    this.memberships.delete(key);
    this.send({ event: "left", ...room });
  }

  private onLive(event: LiveEvent, membership: Membership): void {
    const { pending } = membership;
    if (pending === "dropped") return;
    if (pending !== undefined) pending.push(event);
    // One that belongs to two rooms of this socket comes once.
    else if (event !== this.lastLive && this.tell(event, membership)) this.lastLive = event;
  }

  /** Sends everything behind the cursor, and lets the membership go live without a gap and without a repetition. */
  private async replay(
    membership: Membership,
    { room, filter, given }: { room: Room; filter: EventFilter; given: ParsedCursor },
  ): Promise<void> {
    const { db, feed } = this.options;
    membership.position = given.position;
    let { generation } = given;
    let hasJoined = false;
    let isLast = false;
    while (!isLast) {
      if (!await this.canReplay(membership)) return;
      const upTo = feed.position;
      const arriving: LiveEvent[] = membership.pending = [];
      const batch = await feed.replaying(() =>
        readEvents(db, { ...filter, after: membership.position, upTo, limit: replaySize })
      );
      if (membership.hasLeft) return;
      // Also behind the first: what is old may be removed while a slow client reads.
      const isGap = hasGap({ generation, position: membership.position }, batch);
      if (isGap) [generation, membership.position] = [batch.generation, batch.settled];
      const cursor = formatCursor(generation, membership.position);
      if (!hasJoined) this.send({ event: "joined", ...room, cursor });
      hasJoined = true;
      if (isGap) this.send({ event: "gap", ...room, cursor });
      for (const row of batch.events) this.tell(feed.liveEvent(row, batch.generation), membership);
      // Many that came in meanwhile are read like those before them, a few at a time.
      isLast = batch.events.length < replaySize && arriving.length < replaySize;
      membership.pending = isLast ? undefined : "dropped";
      if (isLast) arriving.forEach((event) => this.tell(event, membership));
    }
  }

  /** Waits until the client has read enough. False when it has left, or was cut off because it never reads. */
  private async canReplay(membership: Membership): Promise<boolean> {
    const deadline = performance.now() + replayPatienceMs;
    while (!membership.hasLeft && this.options.socket.bufferedAmount > replayMark) {
      if (performance.now() > deadline) this.close(closeCodes.tryLater, "Too slow");
      await new Promise((done) => setTimeout(done, replayPauseMs));
    }
    return !membership.hasLeft;
  }

  /** Sends an event to a member who has not had it. Whether that was so. */
  private tell(event: LiveEvent, membership: Membership): boolean {
    if (!isBehind(event.position, membership.position)) return false;
    membership.position = event.position;
    let frame: string;
    try {
      frame = event.frame;
    } catch (failure) {
      // Nobody is left in the belief that nothing happened.
      this.options.log.error("an event cannot be told", { cursor: event.cursor, failure: describeFailure(failure) });
      this.send({ event: "gap", cursor: event.cursor });
      return true;
    }
    this.sendText(frame);
    return true;
  }

  private refuse(code: SocketErrorCode, message: string): void {
    this.send({ event: "error", code, message });
  }

  private send(frame: ServerFrame): void {
    this.sendText(JSON.stringify(frame));
  }

  private sendText(text: string): void {
    const { socket } = this.options;
    if (socket.readyState !== WebSocket.OPEN) return;
    socket.send(text);
    if (socket.bufferedAmount > unsentLimit) this.close(closeCodes.tryLater, "Too slow: over 1 MiB waits to be read");
  }
}

function filterOf(room: Room): EventFilter {
  if ("roomId" in room) return { roomId: room.roomId, about: "timeslots" };
  return room.userId === "all" ? { about: "bookings" } : { userId: room.userId };
}

const actions = ClientFrame.options.map((option) => option.shape.action.value);

/** What is wrong with a frame, in a sentence. */
function explain(error: z.core.$ZodError, json: unknown): string {
  const isObject = typeof json === "object" && json !== null && !Array.isArray(json);
  if (!isObject) return "The frame is not valid: it must be an object.";
  if (!actions.some((known) => "action" in json && known === json.action)) {
    return `The frame is not valid: action must be one of ${actions.join(", ")}.`;
  }
  const { errors: [{ path, message } = { path: "", message: "is not valid" }] = [] } = validationProblem({
    target: "json",
    data: json,
    error,
  });
  return `The frame is not valid: ${path.slice(0, 100)} ${message}.`;
}
