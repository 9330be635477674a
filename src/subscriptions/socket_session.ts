/** One WebSocket: the rooms that it has joined, and the frames sent to it. */
import type { Kysely } from "kysely";
import type { z } from "zod";
import { ClientFrame, type ServerFrame, type SocketErrorCode } from "../../generated/contract.ts";
import type { Caller } from "../contract/caller.ts";
import { validationProblem } from "../contract/validation.ts";
import type { Database } from "../database/connect.ts";
import { formatCursor, isAfter, parseCursor, type ParsedCursor, type Position } from "../events/cursors.ts";
import type { EventFeed, LiveEvent } from "../events/feed.ts";
import { type EventFilter, hasGap, readEvents } from "../events/queries.ts";
import { describeFailure, type Log } from "../log.ts";

/** Close codes of the server (RFC 6455, 7.4). Codes from 4000 are our own. */
export const closeCodes = {
  unsupported: 1003,
  tooManyFrames: 1008,
  tooBig: 1009,
  failed: 1011,
  restarting: 1012,
  tryLater: 1013,
  notAuthorized: 4401,
} as const;

/** Frames that a client may send per {@link frameWindowMs}. Each frame may cost a query. */
const maxFrames = 200;
const frameWindowMs = 10_000;
/** Bytes of a frame from a client. */
const maxFrameBytes = 4_096;
/** Bytes that may wait to be sent. The socket of a slower client is closed; the client can resume. */
const maxUnsentBytes = 1 << 20;
/** A replay pauses while more bytes than this wait to be sent. */
const replayPauseBytes = 1 << 16;
/** Events per query of a replay. The largest of them stay far below {@link maxUnsentBytes} together. */
const replaySize = 50;
/** Milliseconds between two checks whether a paused replay may continue, and its longest pause. */
const replayCheckMs = 5;
const maxReplayPauseMs = 30_000;
const maxRooms = 100;

/** A room to join: the bookings of a user or of all users, or the timeslots of a room. */
type Room = { userId: number | "all" } | { roomId: number };

interface Membership {
  /** All events up to here have been sent. */
  position: Position;
  /**
   * Live events that arrive while the last missed events are read; they are sent after those. `dropped` before that,
   * because a later query returns them. Undefined once the membership is live.
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
  /** Frames received in the current window. */
  private received = { count: 0, since: 0 };
  /** Replays of a socket run one after the other. */
  private replays: Promise<void> = Promise.resolve();

  constructor(private readonly options: SessionOptions) {
    this.caller = options.caller;
  }

  /** Handles a frame of the client. */
  receive(data: unknown): void {
    if (this.hasEnded) return;
    if (!this.mayReceive()) return this.close(closeCodes.tooManyFrames, "Too many frames");
    if (typeof data !== "string") return this.close(closeCodes.unsupported, "Send frames as text");
    if (data.length > maxFrameBytes || new TextEncoder().encode(data).length > maxFrameBytes) {
      return this.close(closeCodes.tooBig, `A frame has at most ${maxFrameBytes} bytes`);
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
    if (now - this.received.since >= frameWindowMs) this.received = { count: 0, since: now };
    return ++this.received.count <= maxFrames;
  }

  close(code: number, reason: string): void {
    this.end();
    this.options.socket.close(code, reason);
  }

  /** Leaves every room. Nothing is sent afterwards, even if the socket does not close. */
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
    if (this.memberships.size >= maxRooms && !this.memberships.has(key)) {
      return this.refuse("too_many_joins", `A socket may be in ${maxRooms} rooms at once. Leave one first.`);
    }
    this.memberships.get(key)?.leave();

    const { feed } = this.options;
    const start = after === undefined ? "latest" : parseCursor(after);
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
    if (start === "latest") {
      this.send({ event: "joined", ...room, cursor: formatCursor(feed.generation, feed.position) });
      return;
    }
    membership.pending = "dropped";
    this.replays = this.replays.then(() => this.replay(membership, { room, filter, start }))
      .catch((failure: unknown) => {
        this.options.log.error("replay failed", { failure: describeFailure(failure) });
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
    // An event that belongs to two rooms of this socket is sent once.
    else if (event !== this.lastLive && this.sendEvent(event, membership)) this.lastLive = event;
  }

  /** Sends all events after the cursor. Then the membership is live, without a gap and without a repetition. */
  private async replay(
    membership: Membership,
    { room, filter, start }: { room: Room; filter: EventFilter; start: ParsedCursor },
  ): Promise<void> {
    const { db, feed } = this.options;
    membership.position = start.position;
    let { generation } = start;
    let hasJoined = false;
    let isLast = false;
    while (!isLast) {
      if (!await this.canReplay(membership)) return;
      const upTo = feed.position;
      const arriving: LiveEvent[] = membership.pending = [];
      const batch = await feed.replay(() =>
        readEvents(db, { ...filter, after: membership.position, upTo, limit: replaySize })
      );
      if (membership.hasLeft) return;
      // Checked for each batch: retention may remove events while a slow client reads.
      const isGap = hasGap({ generation, position: membership.position }, batch);
      if (isGap) [generation, membership.position] = [batch.generation, batch.settled];
      const cursor = formatCursor(generation, membership.position);
      if (!hasJoined) this.send({ event: "joined", ...room, cursor });
      hasJoined = true;
      if (isGap) this.send({ event: "gap", ...room, cursor });
      for (const row of batch.events) this.sendEvent(feed.liveEvent(row, batch.generation), membership);
      // Many events that arrived meanwhile are read like those before them, a few at a time.
      isLast = batch.events.length < replaySize && arriving.length < replaySize;
      membership.pending = isLast ? undefined : "dropped";
      if (isLast) arriving.forEach((event) => this.sendEvent(event, membership));
    }
  }

  /** Waits until the client has read enough. Returns false if it has left or was closed as too slow. */
  private async canReplay(membership: Membership): Promise<boolean> {
    const deadline = performance.now() + maxReplayPauseMs;
    while (!membership.hasLeft && this.options.socket.bufferedAmount > replayPauseBytes) {
      if (performance.now() > deadline) this.close(closeCodes.tryLater, "Too slow");
      await new Promise((done) => setTimeout(done, replayCheckMs));
    }
    return !membership.hasLeft;
  }

  /** Sends an event unless it was already sent. Returns whether it was sent. */
  private sendEvent(event: LiveEvent, membership: Membership): boolean {
    if (!isAfter(event.position, membership.position)) return false;
    membership.position = event.position;
    let frame: string;
    try {
      frame = event.frame;
    } catch (failure) {
      // After `gap` the client reads its bookings again.
      this.options.log.error("event cannot be rendered", { cursor: event.cursor, failure: describeFailure(failure) });
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
    if (socket.bufferedAmount > maxUnsentBytes) {
      this.close(closeCodes.tryLater, "Too slow: over 1 MiB waits to be read");
    }
  }
}

function filterOf(room: Room): EventFilter {
  if ("roomId" in room) return { roomId: room.roomId, about: "timeslots" };
  return room.userId === "all" ? { about: "bookings" } : { userId: room.userId };
}

const actions = ClientFrame.options.map((option) => option.shape.action.value);

/** Describes the first error of a frame in one sentence. */
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
