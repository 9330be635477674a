/** The WebSockets of this process: access, limits and closing. */
import type { Kysely } from "kysely";
import { KeyWatch } from "../auth/key_watch.ts";
import type { Caller } from "../contract/caller.ts";
import { Problem } from "../contract/problems.ts";
import type { Database } from "../database/connect.ts";
import type { EventFeed } from "../events/feed.ts";
import type { Log } from "../log.ts";
import { closeCodes, SocketSession } from "./socket_session.ts";

export interface SocketLimits {
  /** Sockets of one user. */
  perUser: number;
  /** All sockets of this server. */
  total: number;
}

const defaultLimits: SocketLimits = { perUser: 20, total: 20_000 };
/** Milliseconds between two checks for expired tokens, and for expired or revoked API keys. */
export const accessCheckMs = 500;
const restartReason = "The server restarts";

export interface SocketOptions {
  db: Kysely<Database>;
  feed: EventFeed;
  log: Log;
  limits?: SocketLimits | undefined;
  /** Default: {@link accessCheckMs}. */
  checkMs?: number | undefined;
}

export class Sockets {
  private readonly sessions = new Map<WebSocket, SocketSession>();
  private readonly perUser = new Map<number, number>();
  private readonly limits: SocketLimits;
  private readonly checkMs: number;
  private readonly keys: KeyWatch;
  private expiry: ReturnType<typeof setInterval> | undefined;
  private isClosing = false;
  private whenEmpty: () => void = () => {};

  constructor(private readonly options: SocketOptions) {
    this.limits = options.limits ?? defaultLimits;
    this.checkMs = options.checkMs ?? accessCheckMs;
    this.keys = new KeyWatch({ ...options, pollMs: this.checkMs });
    options.feed.onBreak = () => this.closeAll("The feed of events broke off");
  }

  /** @throws {Problem} `too_many_sockets`, or `service_unavailable` when the server has its limit of sockets. */
  assertLimits({ userId }: Caller): void {
    const { perUser, total } = this.limits;
    if ((this.perUser.get(userId) ?? 0) >= perUser) {
      const detail = `You have ${perUser} open sockets on this server, the limit for one user. Close one first.`;
      throw new Problem("too_many_sockets", detail, { retryAfter: 5 });
    }
    if (this.sessions.size >= total) {
      throw new Problem("service_unavailable", "This server holds as many sockets as it can. Try again in a moment.");
    }
  }

  /** Starts the session of `caller` when `socket` is open. */
  add(socket: WebSocket, caller: Caller): void {
    socket.addEventListener("open", () => this.startSession(socket, caller));
  }

  /** Closes every socket, so clients reconnect later. Resolves when all are closed, or after `limitMs`. */
  async close(limitMs: number): Promise<void> {
    this.isClosing = true;
    const { promise: empty, resolve } = Promise.withResolvers<void>();
    this.whenEmpty = resolve;
    this.closeAll(restartReason);
    if (this.sessions.size === 0) return;
    const limit = setTimeout(resolve, limitMs);
    await empty.finally(() => clearTimeout(limit));
  }

  private closeAll(reason: string): void {
    for (const session of this.sessions.values()) session.close(closeCodes.restarting, reason);
  }

  private startSession(socket: WebSocket, caller: Caller): void {
    const { userId, apiKey } = caller;
    const openSockets = this.perUser.get(userId) ?? 0;
    const session = new SocketSession({ ...this.options, socket, caller });
    this.sessions.set(socket, session);
    this.expiry ??= setInterval(() => this.closeExpired(), this.checkMs);
    this.perUser.set(userId, openSockets + 1);
    socket.addEventListener("message", ({ data }) => session.receive(data));
    socket.addEventListener("close", () => this.remove(socket, userId));
    if (apiKey !== undefined) {
      // The next check includes this key. So it also finds a revocation that came while the socket was opened.
      const end = () => session.close(closeCodes.notAuthorized, "The API key was revoked");
      socket.addEventListener("close", this.keys.watch(apiKey.id, end));
    }
    if (this.isClosing) session.close(closeCodes.restarting, restartReason);
    // Several requests may have passed the limits at the same time.
    else if (openSockets >= this.limits.perUser || this.sessions.size > this.limits.total) {
      session.close(closeCodes.tryLater, "Too many sockets");
    }
  }

  private remove(socket: WebSocket, userId: number): void {
    const session = this.sessions.get(socket);
    if (session === undefined) return;
    session.end();
    this.sessions.delete(socket);
    const remaining = (this.perUser.get(userId) ?? 1) - 1;
    if (remaining === 0) this.perUser.delete(userId);
    else this.perUser.set(userId, remaining);
    if (this.sessions.size > 0) return;
    clearInterval(this.expiry);
    this.expiry = undefined;
    this.whenEmpty();
  }

  private closeExpired(): void {
    const now = Date.now() / 1_000;
    for (const session of this.sessions.values()) {
      const { expiresAt, apiKey } = session.caller;
      const credential = apiKey === undefined ? "token" : "API key";
      if (expiresAt <= now) session.close(closeCodes.notAuthorized, `The ${credential} has expired`);
    }
  }
}
