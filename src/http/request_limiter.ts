/** Who may make how many requests: the classes of the contract, by user, or by address where nobody is known. */
import type { Context } from "hono";
import type { rateLimits } from "../../generated/contract.ts";
import type { Caller } from "../auth/callers.ts";
import { catalogue, Problem } from "../problems.ts";
import { clientAddress } from "./client_address.ts";
import { rateLimitHeaders, type RateLimits } from "./rate_limits.ts";
import type { AppEnv } from "./router.ts";

export type RateLimitClass = keyof typeof rateLimits;

export interface RequestLimiterOptions {
  /** Undefined when nothing is limited. */
  limits: RateLimits<RateLimitClass> | undefined;
  /** Proxies in front of this server, each of which adds to X-Forwarded-For. */
  trustedProxies: number;
}

export class RequestLimiter {
  constructor(private readonly options: RequestLimiterOptions) {}

  /**
   * Counts a request, and says in the headers of its answer how many are left.
   *
   * @throws {Problem} `rate_limited`.
   */
  async admit(c: Context<AppEnv>, name: RateLimitClass | "none", caller?: Caller): Promise<void> {
    const who = caller === undefined ? this.addressOf(c) : `user:${caller.userId}`;
    if (name === "none" || this.options.limits === undefined || who === undefined) return;
    const standing = await this.options.limits.take(name, who);
    for (const [header, value] of Object.entries(rateLimitHeaders(standing))) c.header(header, value);
    if (!standing.isOver) return;
    const { quota, windowSeconds, resetSeconds } = standing;
    const detail = `More than ${quota} requests in ${windowSeconds} seconds. Try again in ${resetSeconds} seconds.`;
    throw new Problem("rate_limited", detail, { retryAfter: resetSeconds });
  }

  /**
   * Finds out who is calling. Credentials that are refused are counted by address; where too many came from, no others are
   * looked at until the time is over, except for those that are known to be good (`isKnown`).
   *
   * @throws {Problem} what `identify` throws, or `rate_limited`.
   */
  async guard(
    c: Context<AppEnv>,
    identify: () => Promise<Caller>,
    { isKnown }: { isKnown: boolean },
  ): Promise<Caller> {
    const address = this.addressOf(c);
    if (!isKnown && address !== undefined && this.options.limits?.isSpent("auth", address)) await this.admit(c, "auth");
    try {
      return await identify();
    } catch (failure) {
      if (failure instanceof Problem && catalogue[failure.code].status === 401) {
        // Who sends nothing, or what was good once, guesses nothing.
        const isGuess = failure.code !== "token_missing" && failure.code !== "token_expired";
        await this.admit(c, isGuess ? "auth" : "public");
      }
      throw failure;
    }
  }

  /** Undefined for a request that the server makes to itself. */
  private addressOf(c: Context<AppEnv>): string | undefined {
    const remoteAddress = c.env?.remoteAddr?.hostname;
    if (remoteAddress === undefined) return undefined;
    const forwardedFor = c.req.header("X-Forwarded-For") ?? null;
    const { trustedProxies } = this.options;
    return `address:${clientAddress({ remoteAddress, forwardedFor, trustedProxies })}`;
  }
}
