/**
 * Counts of requests that all servers share in Redis. Imported only with `REDIS_URL`, because the libraries cost each start
 * 80 ms of CPU.
 */
import { Redis } from "ioredis";
import { RateLimiterRedis, RateLimiterRes } from "rate-limiter-flexible";
import { describeFailure, type Log } from "../log.ts";

/** Most milliseconds of an attempt to reach Redis, and the pause between two. No request waits for them. */
const attemptMs = 3_000;
const pauseMs = 1_000;

interface Limit {
  quota: number;
  /** Whole seconds. */
  windowSeconds: number;
}

export interface SharedCountsOptions<Name extends string> {
  /** `redis://` or `rediss://`. */
  url: string;
  limits: Record<Name, Limit>;
  /** Milliseconds without any answer after which Redis counts as down. */
  patienceMs: number;
  log: Log;
}

export class SharedCounts<Name extends string> {
  private readonly client: Redis;
  private readonly limiters: Map<string, RateLimiterRedis>;
  private readonly patienceMs: number;
  private readonly log: Log;
  private readonly firstAttempt = Promise.withResolvers<void>();
  private waiting = 0;
  private answers = 0;
  private watching: ReturnType<typeof setInterval> | undefined;
  private state: "starting" | "up" | "down" | "closed" = "starting";

  constructor({ url, limits, patienceMs, log }: SharedCountsOptions<Name>) {
    this.patienceMs = patienceMs;
    this.log = log;
    this.client = new Redis(url, {
      connectTimeout: attemptMs,
      socketTimeout: attemptMs,
      disconnectTimeout: 0,
      retryStrategy: () => pauseMs,
      // No request waits for a connection, and none is counted twice.
      enableOfflineQueue: false,
      maxRetriesPerRequest: 0,
      autoResendUnfulfilledCommands: false,
    });
    this.limiters = new Map(
      Object.entries<Limit>(limits).map(([name, { quota, windowSeconds }]) => {
        const keyPrefix = `slotkeeper:rate:${name}`;
        return [
          name,
          new RateLimiterRedis({ storeClient: this.client, keyPrefix, points: quota, duration: windowSeconds }),
        ];
      }),
    );
    this.client.on("ready", () => this.tryToCount());
    this.client.on("error", (failure) => this.countAlone(failure));
    this.client.on("close", () => this.countAlone(new Error("the connection was closed")));
  }

  /** Resolves after the first attempt to count, successful or not. */
  get isReady(): Promise<void> {
    return this.firstAttempt.promise;
  }

  /** Counts one request of `caller`. Returns undefined while Redis is down. */
  async count(name: Name, caller: string): Promise<{ used: number; endsInMs: number } | undefined> {
    if (this.state !== "up") return undefined;
    this.waiting++;
    this.watch();
    try {
      return await this.consume(name, caller);
    } catch (failure) {
      // The first failure of several requests is enough.
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
    // Between two attempts no connection is open.
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
   * Disconnects from a Redis that hangs, which ends all waiting requests. Redis must be silent for two checks in a row. If
   * this process was blocked, it reads the answers between the two.
   */
  private watch(): void {
    if (this.watching !== undefined) return;
    let answers = this.answers;
    let wasSilent = false;
    const check = () => {
      const isSilent = this.waiting > 0 && this.answers === answers;
      if (isSilent && wasSilent) this.reconnect(new Error("no answer in time"));
      if (this.waiting === 0 || isSilent && wasSilent) {
        clearInterval(this.watching);
        this.watching = undefined;
      }
      wasSilent = isSilent;
      answers = this.answers;
    };
    this.watching = setInterval(check, this.patienceMs / 3);
  }

  /** Counts once before any request does. A connected Redis may be a read-only replica, be full, or not allow it. */
  private async tryToCount(): Promise<void> {
    try {
      const [name = ""] = this.limiters.keys();
      await this.consume(name, "trial");
    } catch (failure) {
      this.reconnect(failure);
      return;
    }
    if (this.state === "closed") return;
    if (this.state === "down") this.log.info("rate limits are shared again");
    this.state = "up";
    this.firstAttempt.resolve();
  }

  private reconnect(failure: unknown): void {
    this.countAlone(failure);
    if (this.client.status === "ready") this.client.disconnect(true);
  }

  /** Called for every failure while Redis is down. Logs the first one. */
  private countAlone(failure: unknown): void {
    if (this.state === "down" || this.state === "closed") return;
    this.state = "down";
    this.firstAttempt.resolve();
    this.log.warn("redis is down, each server counts rate limits alone", { failure: describeFailure(failure) });
  }
}

/** Returns why Redis refuses the credentials or the database of `url`. Undefined if it accepts them or cannot be reached. */
export async function findRefusal(url: string, patienceMs: number): Promise<string | undefined> {
  const limits = { connectTimeout: patienceMs, commandTimeout: patienceMs, maxRetriesPerRequest: 0 };
  const client = new Redis(url, { ...limits, lazyConnect: true, retryStrategy: () => null });
  let refusal: string | undefined;
  const note = (failure: unknown) => {
    if (failure instanceof Error && failure.name === "ReplyError") refusal ??= failure.message;
  };
  client.on("error", note);
  try {
    await client.connect();
    await client.ping();
  } catch (failure) {
    // Another failure means that Redis is down, which the counts report.
    note(failure);
  } finally {
    client.disconnect();
  }
  if (refusal?.startsWith("NOAUTH")) return "it wants a password";
  // Redis answers so while it reads its file.
  return refusal?.startsWith("LOADING") ? undefined : refusal;
}
