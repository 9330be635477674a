/**
 * How many requests a caller may make. Counted in this process, and with Redis by all servers together; without Redis
 * for a while, each server goes on by itself.
 */
import { Redis } from "ioredis";
import { RateLimiterRedis, RateLimiterRes } from "rate-limiter-flexible";
import { describeFailure, type Log } from "../log.ts";

export interface RateLimit {
  quota: number;
  /** Whole seconds. The window of a caller begins with its first request. */
  windowSeconds: number;
}

/** What is left of a caller's quota. */
export interface Standing extends RateLimit {
  /** Of the limit. */
  name: string;
  remaining: number;
  /** Until the quota is whole again; at least 1. */
  resetSeconds: number;
  /** Whether the request that was counted is one too many. */
  isOver: boolean;
}

export interface RateLimitsOptions<Name extends string> {
  limits: Record<Name, RateLimit>;
  /** `redis://` or `rediss://`; undefined counts in this process only. */
  redisUrl: string | undefined;
  log: Log;
  /** Milliseconds on a clock that never goes back, for the windows of this process. */
  now?: () => number;
}

/** How long a request waits for Redis, and for the first connection to it. */
export const redisPatienceMs = 500;
/** How long an attempt to reach Redis takes at most, and the pause between two. No request waits for them. */
const redisAttemptMs = 3_000;
const redisPauseMs = 1_000;
/** Of each limit; they take some 13 MB. Of more callers, those that made no request for longest are forgotten. */
const rememberedCallers = 100_000;

export class RateLimits<Name extends string> {
  private readonly limits: Record<Name, RateLimit>;
  private readonly windows: Record<Name, Windows>;
  private readonly shared: SharedCounts<Name> | undefined;
  private readonly now: () => number;

  constructor({ limits, redisUrl, log, now = () => performance.now() }: RateLimitsOptions<Name>) {
    this.limits = limits;
    this.now = now;
    const windows = Object.entries<RateLimit>(limits).map(([name, { windowSeconds }]) => [
      name,
      new Windows(windowSeconds * 1_000),
    ]);
    // The keys are those of the limits.
    this.windows = Object.fromEntries(windows) as Record<Name, Windows>;
    if (redisUrl !== undefined) this.shared = new SharedCounts(redisUrl, limits, log);
  }

  /**
   * Counts one request of `caller` (such as "user:7" or "address:203.0.113.9"). Never fails because of Redis, and never
   * waits for it longer than {@link redisPatienceMs}.
   */
  async take(name: Name, caller: string): Promise<Standing> {
    const { quota, windowSeconds } = this.limits[name];
    const standing = ({ used, endsAt }: Window): Standing => ({
      name,
      quota,
      windowSeconds,
      remaining: Math.max(0, quota - used),
      resetSeconds: Math.min(windowSeconds, Math.max(1, Math.ceil((endsAt - this.now()) / 1_000))),
      isOver: used > quota,
    });
    const windows = this.windows[name];
    // A caller that goes on over its quota costs no round trip.
    const shared = this.isSpent(name, caller) ? undefined : await this.shared?.count(name, caller);
    const now = this.now();
    // What all servers have counted is kept too, so that without Redis this one goes on from there.
    const { used, endsAt } = shared === undefined
      ? windows.running(caller, now) ?? { used: 0, endsAt: now + windowSeconds * 1_000 }
      : { used: shared.used - 1, endsAt: now + shared.endsInMs };
    const window = { used: used + 1, endsAt };
    windows.remember(caller, window, now);
    return standing(window);
  }

  /** Whether `caller` has used its quota up, as far as this process knows, without counting and without asking Redis. */
  isSpent(name: Name, caller: string): boolean {
    const window = this.windows[name].running(caller, this.now());
    return window !== undefined && window.used >= this.limits[name].quota;
  }

  /** Lets go of Redis, whether it is there or not. */
  async close(): Promise<void> {
    await this.shared?.close();
  }
}

/** `endsAt` in milliseconds of `now`. */
interface Window {
  used: number;
  endsAt: number;
}

/**
 * The windows of callers that this process has heard of, in two generations, so that forgetting is no work. The library's
 * own limiter in memory sets a timer for each caller and has no bound: a million addresses took 800 MB, and held
 * everything up for half a second when they expired.
 */
class Windows {
  private recent = new Map<string, Window>();
  private older = new Map<string, Window>();
  private turnAt = 0;

  constructor(private readonly windowMs: number) {}

  running(caller: string, now: number): Window | undefined {
    const window = this.recent.get(caller) ?? this.older.get(caller);
    return window !== undefined && window.endsAt > now ? window : undefined;
  }

  remember(caller: string, window: Window, now: number): void {
    if (now >= this.turnAt || this.recent.size >= rememberedCallers / 2) {
      this.older = this.recent;
      this.recent = new Map();
      this.turnAt = now + this.windowMs;
    }
    this.recent.set(caller, window);
  }
}

/** What all servers have counted together, as long as Redis answers. */
class SharedCounts<Name extends string> {
  private readonly client: Redis;
  private readonly limiters: Map<string, RateLimiterRedis>;
  private readonly firstAttempt = Promise.withResolvers<void>();
  private waiting = 0;
  private answers = 0;
  private watching: ReturnType<typeof setInterval> | undefined;
  private state: "starting" | "up" | "away" | "closed" = "starting";

  constructor(url: string, limits: Record<Name, RateLimit>, private readonly log: Log) {
    this.client = new Redis(url, {
      connectTimeout: redisAttemptMs,
      socketTimeout: redisAttemptMs,
      disconnectTimeout: 0,
      retryStrategy: () => redisPauseMs,
      // Nothing waits for a connection, and nothing is counted twice.
      enableOfflineQueue: false,
      maxRetriesPerRequest: 0,
      autoResendUnfulfilledCommands: false,
    });
    this.limiters = new Map(
      Object.entries<RateLimit>(limits).map(([name, { quota, windowSeconds }]) => {
        const keyPrefix = `slotkeeper:rate:${name}`;
        return [
          name,
          new RateLimiterRedis({ storeClient: this.client, keyPrefix, points: quota, duration: windowSeconds }),
        ];
      }),
    );
    this.client.on("ready", () => this.tryOut());
    this.client.on("error", (failure) => this.goOnWithout(failure));
    this.client.on("close", () => this.goOnWithout(new Error("the connection was closed")));
    const patience = setTimeout(this.firstAttempt.resolve, redisPatienceMs);
    this.firstAttempt.promise.then(() => clearTimeout(patience));
  }

  /** Counts one request of `caller`. Undefined when Redis is away. */
  async count(name: Name, caller: string): Promise<{ used: number; endsInMs: number } | undefined> {
    if (this.state === "starting") await this.firstAttempt.promise;
    if (this.state !== "up") return undefined;
    this.waiting++;
    this.watch();
    try {
      return await this.consume(name, caller);
    } catch (failure) {
      // The first of those that failed together is enough.
      if (this.state === "up") this.reconnect(failure);
      return undefined;
    } finally {
      this.waiting--;
      this.answers++;
    }
  }

  close(): Promise<void> {
    const isConnected = this.client.status !== "reconnecting" && this.client.status !== "end";
    this.state = "closed";
    this.firstAttempt.resolve();
    clearInterval(this.watching);
    const ended = Promise.withResolvers<void>();
    this.client.once("end", ended.resolve);
    this.client.disconnect();
    // Between two attempts there is nothing to end.
    return isConnected ? ended.promise : Promise.resolve();
  }

  private async consume(name: string, caller: string): Promise<{ used: number; endsInMs: number }> {
    const result = await this.limiters.get(name)?.consume(caller).catch((refusal) => {
      if (refusal instanceof RateLimiterRes) return refusal;
      throw refusal;
    });
    if (result === undefined) throw new Error(`There is no limit ${name}`);
    return { used: result.consumedPoints, endsInMs: result.msBeforeNext };
  }

  /**
   * Lets go of a Redis that hangs, together with all requests that wait for it. It has to be silent when it is looked at,
   * and still the next time: when it is this process that was held up, its answers are read in between.
   */
  private watch(): void {
    if (this.watching !== undefined) return;
    let answers = this.answers;
    let wasSilent = false;
    const look = () => {
      const isSilent = this.waiting > 0 && this.answers === answers;
      if (isSilent && wasSilent) this.reconnect(new Error("no answer in time"));
      if (this.waiting === 0 || isSilent && wasSilent) {
        clearInterval(this.watching);
        this.watching = undefined;
      }
      wasSilent = isSilent;
      answers = this.answers;
    };
    this.watching = setInterval(look, redisPatienceMs / 3);
  }

  /** A Redis that is there may still not count: it may be a replica, be full, or not allow it. No request has to find out. */
  private async tryOut(): Promise<void> {
    try {
      const [name = ""] = this.limiters.keys();
      await this.consume(name, "trial");
    } catch (failure) {
      this.reconnect(failure);
      return;
    }
    if (this.state === "closed") return;
    if (this.state === "away") this.log.info("rate limits are shared again");
    this.state = "up";
    this.firstAttempt.resolve();
  }

  private reconnect(failure: unknown): void {
    this.goOnWithout(failure);
    if (this.client.status === "ready") this.client.disconnect(true);
  }

  /** Is told of every failure while Redis is away, and logs the first. */
  private goOnWithout(failure: unknown): void {
    if (this.state === "away" || this.state === "closed") return;
    this.state = "away";
    this.firstAttempt.resolve();
    this.log.warn("redis is away, rate limits are of this server alone", { failure: describeFailure(failure) });
  }
}

/** The headers of draft-ietf-httpapi-ratelimit-headers: `"user";r=599;t=42` of the policy `"user";q=600;w=60`. */
export function rateLimitHeaders(
  { name, quota, windowSeconds, remaining, resetSeconds }: Standing,
): { RateLimit: string; "RateLimit-Policy": string } {
  return {
    RateLimit: `"${name}";r=${remaining};t=${resetSeconds}`,
    "RateLimit-Policy": `"${name}";q=${quota};w=${windowSeconds}`,
  };
}
