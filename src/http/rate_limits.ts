/**
 * Rate limits. Requests are counted in this process, and with Redis by all servers together. While Redis is down, each
 * server counts alone.
 */
import type { Log } from "../log.ts";
import type { SharedCounts } from "./shared_counts.ts";

export interface RateLimit {
  quota: number;
  /** Whole seconds. The window of a caller begins with its first request. */
  windowSeconds: number;
}

/** A caller's use of its quota, after a request was counted. */
export interface QuotaUse extends RateLimit {
  /** Name of the limit. */
  name: string;
  remaining: number;
  /** Seconds until the quota is full again, at least 1. */
  resetSeconds: number;
  /** Whether the counted request exceeds the quota. */
  isOver: boolean;
}

export interface RateLimitsOptions<Name extends string> {
  limits: Record<Name, RateLimit>;
  /** `redis://` or `rediss://`. Undefined counts in this process only. */
  redisUrl: string | undefined;
  log: Log;
  /** Milliseconds of a monotonic clock, for the windows of this process. */
  now?: () => number;
}

/** Requests in a caller's window so far, and the milliseconds until it ends. */
interface SharedCount {
  used: number;
  endsInMs: number;
}

/** Most milliseconds that a request waits for Redis, and for its first connection. */
export const redisPatienceMs = 500;
/** Callers of each limit in memory, about 13 MB. The callers without a request for longest are removed first. */
const callerLimit = 100_000;

export class RateLimits<Name extends string> {
  private readonly limits: Record<Name, RateLimit>;
  private readonly windows: Record<Name, Windows>;
  private readonly now: () => number;
  private readonly opening: Promise<SharedCounts<Name>> | undefined;
  private shared: SharedCounts<Name> | undefined;
  /** Undefined once requests no longer wait for the first connection to Redis. */
  private starting: Promise<void> | undefined;

  constructor({ limits, redisUrl, log, now = () => performance.now() }: RateLimitsOptions<Name>) {
    this.limits = limits;
    this.now = now;
    const windows = Object.entries<RateLimit>(limits).map(([name, { windowSeconds }]) => [
      name,
      new Windows(windowSeconds * 1_000),
    ]);
    // The keys are those of the limits.
    this.windows = Object.fromEntries(windows) as Record<Name, Windows>;
    if (redisUrl === undefined) return;
    this.opening = import("./shared_counts.ts").then(({ SharedCounts }) =>
      this.shared = new SharedCounts({ url: redisUrl, limits, patienceMs: redisPatienceMs, log })
    );
    this.starting = this.firstConnection(this.opening);
  }

  /**
   * Counts one request of `caller` (such as "user:7" or "address:203.0.113.9"). A failure of Redis never fails it. It waits
   * for Redis at most {@link redisPatienceMs}, and without Redis it does not wait.
   */
  take(name: Name, caller: string): QuotaUse | Promise<QuotaUse> {
    // A caller over its quota costs no round trip.
    if (this.opening === undefined || this.isSpent(name, caller)) return this.store(name, caller, undefined);
    return this.countShared(name, caller).then((shared) => this.store(name, caller, shared));
  }

  /** Stores shared counts too, so that this server continues from them if Redis fails. */
  private store(name: Name, caller: string, shared: SharedCount | undefined): QuotaUse {
    const { quota, windowSeconds } = this.limits[name];
    const windows = this.windows[name];
    const now = this.now();
    const { used, endsAt } = shared === undefined
      ? windows.current(caller, now) ?? { used: 0, endsAt: now + windowSeconds * 1_000 }
      : { used: shared.used - 1, endsAt: now + shared.endsInMs };
    const window = { used: used + 1, endsAt };
    windows.store(caller, window, now);
    return {
      name,
      quota,
      windowSeconds,
      remaining: Math.max(0, quota - window.used),
      resetSeconds: Math.min(windowSeconds, Math.max(1, Math.ceil((endsAt - now) / 1_000))),
      isOver: window.used > quota,
    };
  }

  /** Returns whether `caller` has no quota left, by the counts of this process. Does not count and does not ask Redis. */
  isSpent(name: Name, caller: string): boolean {
    const window = this.windows[name].current(caller, this.now());
    return window !== undefined && window.used >= this.limits[name].quota;
  }

  /** Closes the connection to Redis, if there is one. */
  async close(): Promise<void> {
    await (await this.opening)?.close();
    await this.starting;
  }

  private async countShared(name: Name, caller: string): Promise<SharedCount | undefined> {
    if (this.starting !== undefined) await this.starting;
    return await this.shared?.count(name, caller);
  }

  /** Resolves after the first attempt to count in Redis, and at the latest after {@link redisPatienceMs}. */
  private async firstConnection(opening: Promise<SharedCounts<Name>>): Promise<void> {
    const patience = Promise.withResolvers<void>();
    const timer = setTimeout(patience.resolve, redisPatienceMs);
    try {
      await Promise.race([opening.then((shared) => shared.isReady), patience.promise]);
    } finally {
      clearTimeout(timer);
      this.starting = undefined;
    }
  }
}

/** `endsAt` in milliseconds of the clock of the limits. */
interface Window {
  used: number;
  endsAt: number;
}

/**
 * The windows of callers in this process, in two generations, so that removal costs nothing. The guide on decisions says
 * why no library does this ("Limits without Redis belong to one server").
 */
class Windows {
  private recent = new Map<string, Window>();
  private older = new Map<string, Window>();
  private turnAt = 0;

  constructor(private readonly windowMs: number) {}

  /** Returns the window of `caller`, unless it has ended. */
  current(caller: string, now: number): Window | undefined {
    const window = this.recent.get(caller) ?? this.older.get(caller);
    return window !== undefined && window.endsAt > now ? window : undefined;
  }

  store(caller: string, window: Window, now: number): void {
    if (now >= this.turnAt || this.recent.size >= callerLimit / 2) {
      this.older = this.recent;
      this.recent = new Map();
      this.turnAt = now + this.windowMs;
    }
    this.recent.set(caller, window);
  }
}

/** Returns the headers of draft-ietf-httpapi-ratelimit-headers: `"user";r=599;t=42` for the policy `"user";q=600;w=60`. */
export function rateLimitHeaders(
  { name, quota, windowSeconds, remaining, resetSeconds }: QuotaUse,
): { RateLimit: string; "RateLimit-Policy": string } {
  return {
    RateLimit: `"${name}";r=${remaining};t=${resetSeconds}`,
    "RateLimit-Policy": `"${name}";q=${quota};w=${windowSeconds}`,
  };
}
