/** The WebSockets of this process: who may open one, how many there are, and when they end. */
import type { Kysely } from "kysely";
import type { Caller } from "../contract/caller.ts";
import { KeyWatch } from "../auth/key_watch.ts";
import type { Config } from "../config.ts";
import type { Database } from "../database/connect.ts";
import type { Log } from "../log.ts";
import { Problem } from "../contract/problems.ts";
import type { EventFeed } from "../events/feed.ts";
import { closeCodes, SocketSession } from "./socket_session.ts";

export interface SocketLimits {
  /** Sockets of one user. */
  perUser: number;
  /** Sockets in all. */
  total: number;
}

const defaultLimits: SocketLimits = { perUser: 20, total: 20_000 };
/** The runtime pings a socket after half of so many seconds without a word, and closes it when no answer comes. */
const idleTimeoutSeconds = 30;
/** Milliseconds. So often it is looked for tokens and API keys that have expired. */
const expiryCheckMs = 500;
const restarts = "The server restarts";

export interface SocketOptions {
  db: Kysely<Database>;
  feed: EventFeed;
  log: Log;
  config: Pick<Config, "corsOrigins" | "publicUrl">;
  limits?: SocketLimits | undefined;
}

export class Sockets {
  private readonly sessions = new Map<WebSocket, SocketSession>();
  private readonly perUser = new Map<number, number>();
  private readonly limits: SocketLimits;
  private readonly keys: KeyWatch;
  private expiry: ReturnType<typeof setInterval> | undefined;
  private isClosing = false;
  private whenEmpty: () => void = () => {};

  constructor(private readonly options: SocketOptions) {
    this.limits = options.limits ?? defaultLimits;
    this.keys = new KeyWatch(options);
    options.feed.onBreak = () => this.closeAll("The feed of events broke off");
  }

  /**
   * Turns `request` into a WebSocket of `caller`.
   *
   * @throws {Problem} `origin_not_allowed`, `upgrade_required`, `too_many_sockets`, or `service_unavailable` when there is
   * no room for more.
   */
  openSocket(request: Request, caller: Caller): Response {
    this.assertOrigin(request);
    if (!asksForWebSocket(request)) throw upgradeRequired();
    const { perUser, total } = this.limits;
    if ((this.perUser.get(caller.userId) ?? 0) >= perUser) {
      const detail = `You have ${perUser} open sockets on this server, the limit for one user. Close one first.`;
      throw new Problem("too_many_sockets", detail, { retryAfter: 5 });
    }
    if (this.sessions.size >= total) {
      throw new Problem("service_unavailable", "This server holds as many sockets as it can. Try again in a moment.");
    }
    const { socket, response } = upgrade(request);
    socket.addEventListener("open", () => this.add(socket, caller));
    return response;
  }

  /** Asks every client to come back later, and resolves when all have gone, or after `limitMs`. */
  async close(limitMs: number): Promise<void> {
    this.isClosing = true;
    const { promise: empty, resolve } = Promise.withResolvers<void>();
    this.whenEmpty = resolve;
    this.closeAll(restarts);
    if (this.sessions.size === 0) return;
    const limit = setTimeout(resolve, limitMs);
    await empty.finally(() => clearTimeout(limit));
  }

  private closeAll(reason: string): void {
    for (const session of this.sessions.values()) session.close(closeCodes.restarting, reason);
  }

  private add(socket: WebSocket, caller: Caller): void {
    const { userId, apiKey } = caller;
    const held = this.perUser.get(userId) ?? 0;
    const session = new SocketSession({ ...this.options, socket, caller });
    this.sessions.set(socket, session);
    this.expiry ??= setInterval(() => this.closeExpired(), expiryCheckMs);
    this.perUser.set(userId, held + 1);
    socket.addEventListener("message", ({ data }) => session.receive(data));
    socket.addEventListener("close", () => this.remove(socket, userId));
    if (apiKey !== undefined) {
      // From here on the looks include it, so a revocation that came before, while the socket was opened, is seen too.
      const end = () => session.close(closeCodes.notAuthorized, "The API key was revoked");
      socket.addEventListener("close", this.keys.watch(apiKey.id, end));
    }
    if (this.isClosing) session.close(closeCodes.restarting, restarts);
    // Several may have been let in at the same time.
    else if (held >= this.limits.perUser || this.sessions.size > this.limits.total) {
      session.close(closeCodes.tryLater, "Too many sockets");
    }
  }

  private remove(socket: WebSocket, userId: number): void {
    const session = this.sessions.get(socket);
    if (session === undefined) return;
    session.end();
    this.sessions.delete(socket);
    const left = (this.perUser.get(userId) ?? 1) - 1;
    if (left === 0) this.perUser.delete(userId);
    else this.perUser.set(userId, left);
    if (this.sessions.size > 0) return;
    clearInterval(this.expiry);
    this.expiry = undefined;
    this.whenEmpty();
  }

  private closeExpired(): void {
    const now = Date.now() / 1_000;
    for (const session of this.sessions.values()) {
      const { expiresAt, apiKey } = session.caller;
      const what = apiKey === undefined ? "token" : "API key";
      if (expiresAt <= now) session.close(closeCodes.notAuthorized, `The ${what} has expired`);
    }
  }

  /** Programs send no origin. A page has to be on this server, or where the operator allows it. */
  private assertOrigin(request: Request): void {
    const origin = request.headers.get("Origin");
    if (origin === null) return;
    const { corsOrigins, publicUrl } = this.options.config;
    const own = publicUrl === undefined ? [] : [new URL(publicUrl).origin];
    if ([...corsOrigins, ...own].includes(origin)) return;
    const host = request.headers.get("Host");
    if (origin === `http://${host}` || origin === `https://${host}`) return;
    throw new Problem("origin_not_allowed", `Pages of ${origin} may not open a WebSocket here.`);
  }
}

/** RFC 6455, 4.2.1; what else belongs to a handshake the runtime looks at. */
function asksForWebSocket({ method, headers }: Request): boolean {
  const protocols = headers.get("Upgrade")?.toLowerCase().split(",").map((each) => each.trim()) ?? [];
  return method === "GET" && protocols.includes("websocket") && headers.get("Sec-WebSocket-Version") === "13";
}

function upgradeRequired(): Problem {
  return new Problem(
    "upgrade_required",
    "Open a WebSocket of version 13 here: send `Connection: Upgrade` and `Upgrade: websocket`.",
  );
}

function upgrade(request: Request): Deno.WebSocketUpgrade {
  try {
    return Deno.upgradeWebSocket(request, { idleTimeout: idleTimeoutSeconds });
  } catch (failure) {
    // Headers that do not make up a handshake.
    if (failure instanceof TypeError) throw upgradeRequired();
    throw failure;
  }
}
