/** A client of the API and its sockets. */
import pLimit from "p-limit";
import {
  BookingCreated,
  type BookingEventType,
  type ClientFrame,
  FreeTimeslots,
  Me,
  Room,
  type ServerFrame,
} from "../../generated/contract.ts";
import { mintToken } from "../../src/auth/tokens.ts";
import type { Role } from "../../src/contract/caller.ts";

const requestLimitMs = 20_000;
const openLimitMs = 20_000;
const opensAtOnce = 50;
/** The day of the timeslots, far ahead. */
const day = (number: number) => `2090-01-${String(number).padStart(2, "0")}`;

export interface Client {
  url: string;
  secret: string;
}

export function tokenOf({ secret }: Client, subject: string, role: Role = "user"): Promise<string> {
  const auth = { secret, jwksUrl: undefined, issuer: undefined, audience: undefined };
  return mintToken(auth, { subject, role, lifetimeSeconds: 3_600 });
}

interface Call {
  method?: "GET" | "POST" | "PUT";
  token?: string;
  body?: unknown;
}

/** Calls the API and reads the whole answer. Throws the answer when it is a problem. */
export async function call({ url }: Client, path: string, { method = "GET", token, body }: Call): Promise<unknown> {
  const response = await fetch(`${url}/api/v1${path}`, {
    method,
    headers: {
      ...(token === undefined ? {} : { Authorization: `Bearer ${token}` }),
      ...(body === undefined ? {} : { "Content-Type": "application/json" }),
    },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    signal: AbortSignal.timeout(requestLimitMs),
  });
  const text = await response.text();
  if (!response.ok) throw new Error(`${method} ${path} answered ${response.status}: ${text}`);
  return JSON.parse(text);
}

export interface BenchRoom {
  id: number;
  /** Ids of free timeslots. */
  timeslots: number[];
}

/** Creates a free room with automatic confirmation and 288 timeslots of five minutes a day. */
export async function makeRoom(client: Client, days: number): Promise<BenchRoom> {
  const token = await tokenOf(client, "bench-admin", "admin");
  const room = { name: "Bench", roomType: "meeting", hourlyRate: null, autoConfirm: true };
  const { id } = Room.parse(await call(client, "/admin/rooms", { method: "POST", token, body: room }));
  const workingHours = { start: "00:00", end: "24:00" };
  const wanted = { roomId: id, startDate: day(1), endDate: day(days), slotDuration: 5, workingHours };
  await call(client, "/admin/timeslots/generate", { method: "POST", token, body: wanted });
  const timeslots: number[] = [];
  for (let number = 1; number <= days; number++) {
    const path = `/bookings/rooms/${id}/timeslots?date=${day(number)}&duration=5`;
    timeslots.push(...FreeTimeslots.parse(await call(client, path, {})).timeslots.map((slot) => slot.id));
  }
  return { id, timeslots };
}

export async function bookTimeslot(
  client: Client,
  { token, roomId, timeslotId }: { token: string; roomId: number; timeslotId: number },
): Promise<number> {
  const answer = await call(client, "/bookings", { method: "POST", token, body: { roomId, timeslotId } });
  return BookingCreated.parse(answer).booking.id;
}

export async function userIdOf(client: Client, token: string): Promise<number> {
  return Me.parse(await call(client, "/me", { token })).id;
}

/** Opens a socket and joins a room. Resolves after `joined`; later frames go to `receive`. */
export function joinSocket(
  { url }: Client,
  { token, join, receive }: { token: string; join: ClientFrame; receive: (text: string) => void },
): Promise<WebSocket> {
  const socket = new WebSocket(`${url.replace("http", "ws")}/api/v1/ws`, {
    headers: { Authorization: `Bearer ${token}` },
  });
  const { promise, resolve, reject } = Promise.withResolvers<WebSocket>();
  const fail = (why: string) => {
    socket.close();
    reject(new Error(why));
  };
  const limit = setTimeout(() => fail(`not joined after ${openLimitMs} ms`), openLimitMs);
  socket.onopen = () => socket.send(JSON.stringify(join));
  socket.onerror = (event) => fail(event instanceof ErrorEvent ? event.message : "the socket failed");
  socket.onclose = ({ code, reason }) => fail(`closed with ${code} ${reason}`);
  socket.onmessage = ({ data }: MessageEvent<string>) => {
    if (!data.includes('"joined"')) return fail(`answered ${data}`);
    socket.onmessage = ({ data }: MessageEvent<string>) => receive(data);
    resolve(socket);
  };
  return promise.finally(() => clearTimeout(limit));
}

/** An admin who follows the bookings of all users, with the arrival time of each event. */
export class Observer {
  /** By `type bookingId`, on the clock of `performance.now()`. */
  readonly arrivals = new Map<string, number>();
  duplicates = 0;

  static key = (type: BookingEventType, bookingId: number): string => `${type} ${bookingId}`;

  async join(client: Client): Promise<void> {
    const token = await tokenOf(client, "bench-admin", "admin");
    const join = { action: "join_booking_room", userId: "all" } as const;
    await joinSocket(client, { token, join, receive: (text) => this.receive(text) });
  }

  private receive(text: string): void {
    const now = performance.now();
    // Not validated against the contract, because that would add to the measured time.
    const frame = JSON.parse(text) as ServerFrame;
    if (frame.event !== "booking_update") return;
    const key = Observer.key(frame.data.type, frame.data.booking.id);
    if (this.arrivals.has(key)) this.duplicates++;
    else this.arrivals.set(key, now);
  }
}

/** Arrival times of an event at a crowd, on the clock of `performance.now()`. */
export interface Spread {
  first: number;
  last: number;
  missing: number;
}

/** Many sockets in one room. */
export class Crowd {
  readonly failures: string[] = [];
  /** Joined sockets, and the number of frames that each has received. */
  private readonly frames: number[] = [];
  private spread: Spread = { first: 0, last: 0, missing: 0 };
  private complete: () => void = () => {};
  private sockets: WebSocket[] = [];

  get size(): number {
    return this.sockets.filter(({ readyState }) => readyState === WebSocket.OPEN).length;
  }

  /** Opens `perUser` sockets for each token, or fewer after `limitMs`. */
  async join(
    client: Client,
    { tokens, perUser, roomId, limitMs }: { tokens: string[]; perUser: number; roomId: number; limitMs: number },
  ): Promise<void> {
    const limit = pLimit(opensAtOnce);
    const deadline = performance.now() + limitMs;
    const all = tokens.flatMap((token) => Array.from({ length: perUser }, () => token));
    await Promise.all(all.map((token) =>
      limit(async () => {
        if (performance.now() > deadline) return;
        try {
          const number = this.frames.push(0) - 1;
          const receive = () => this.receive(number);
          this.sockets.push(await joinSocket(client, { token, join: { action: "join_room", roomId }, receive }));
        } catch (failure) {
          this.failures.push(failure instanceof Error ? failure.message : String(failure));
        }
      })
    ));
  }

  /** Causes an event and waits until every socket has received it, at most for `limitMs`. */
  async hear(cause: () => Promise<unknown>, limitMs: number): Promise<Spread> {
    this.spread = { first: 0, last: 0, missing: this.size };
    const complete = Promise.withResolvers<void>();
    this.complete = complete.resolve;
    const limit = setTimeout(complete.resolve, limitMs);
    await Promise.all([cause(), complete.promise]).finally(() => clearTimeout(limit));
    return this.spread;
  }

  /** Counts the sockets that have received another number of frames. */
  countOther(frames: number): number {
    return this.frames.filter((count) => count !== frames).length - this.failures.length;
  }

  private receive(number: number): void {
    this.frames[number] = (this.frames[number] ?? 0) + 1;
    const { spread } = this;
    if (spread.first === 0) spread.first = performance.now();
    if (--spread.missing === 0) {
      spread.last = performance.now();
      this.complete();
    }
  }
}
