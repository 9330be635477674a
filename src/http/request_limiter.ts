/** Applies the rate limits of the contract: by user, or by address without a user. */
import type { Context, MiddlewareHandler } from "hono";
import type { rateLimits } from "../../generated/contract.ts";
import type { Caller } from "../contract/caller.ts";
import { catalogue, Problem } from "../contract/problems.ts";
import type { Log } from "../log.ts";
import { clientAddress } from "./client_address.ts";
import type { AppEnv } from "./context.ts";
import { type QuotaUse, rateLimitHeaders, type RateLimits } from "./rate_limits.ts";

export type RateLimitClass = keyof typeof rateLimits;

/** The kind of credential of a request. */
export type CredentialKind = "token" | "key" | "ticket";

export interface RequestLimiterOptions {
  /** Undefined if requests are not limited. */
  limits: RateLimits<RateLimitClass> | undefined;
  /** Number of proxies in front of this server. Each adds to X-Forwarded-For. */
  trustedProxies: number;
  log: Log;
}

export class RequestLimiter {
  private hasWarned = false;

  constructor(private readonly options: RequestLimiterOptions) {}

  /**
   * Counts a request, and adds the headers about its quota to the answer.
   *
   * @throws {Problem} `rate_limited`.
   */
  async admit(c: Context<AppEnv>, name: RateLimitClass | "none", caller?: Caller): Promise<void> {
    const counted = caller === undefined ? this.addressOf(c) : `user:${caller.userId}`;
    if (name === "none" || counted === undefined) return;
    const use = await this.count(c, name, counted);
    if (use?.isOver !== true) return;
    const { quota, windowSeconds, resetSeconds } = use;
    const detail = `More than ${quota} requests in ${windowSeconds} seconds. Try again in ${resetSeconds} seconds.`;
    throw new Problem("rate_limited", detail, { retryAfter: resetSeconds });
  }

  /** Counts each request for a page or file as `public`. */
  readonly page: MiddlewareHandler<AppEnv> = async (c, next) => {
    await this.admit(c, "public");
    await next();
  };

  /**
   * Authenticates the caller with `identify`. Refused credentials are counted by address and kind. Over the quota each
   * refusal is `rate_limited`. Keys and tickets need a database lookup, so over the quota only those with `isKnown` are
   * still looked up. A new window starts after the seconds of the limit.
   *
   * @throws {Problem} of `identify`, or `rate_limited`.
   */
  async guard(
    c: Context<AppEnv>,
    identify: () => Promise<Caller>,
    { kind, isKnown }: { kind: CredentialKind; isKnown: boolean },
  ): Promise<Caller> {
    const address = this.addressOf(c);
    const guesser = `${address}:${kind}`;
    const needsLookup = kind !== "token" && !isKnown;
    if (needsLookup && address !== undefined && this.options.limits?.isSpent("auth", guesser)) {
      await this.countGuess(c, guesser);
    }
    try {
      return await identify();
    } catch (failure) {
      if (failure instanceof Problem && catalogue[failure.code].status === 401) {
        // A missing or expired token is not a guess.
        const isGuess = failure.code !== "token_missing" && failure.code !== "token_expired";
        if (!isGuess) await this.admit(c, "public");
        else if (address !== undefined) await this.countGuess(c, guesser);
      }
      throw failure;
    }
  }

  private async countGuess(c: Context<AppEnv>, guesser: string): Promise<void> {
    const use = await this.count(c, "auth", guesser);
    if (use?.isOver !== true) return;
    const { resetSeconds } = use;
    const detail = "Your address sent too many tokens, API keys or tickets that are not valid. " +
      `Try again in ${resetSeconds} seconds.`;
    throw new Problem("rate_limited", detail, { retryAfter: resetSeconds });
  }

  private async count(c: Context<AppEnv>, name: RateLimitClass, counted: string): Promise<QuotaUse | undefined> {
    const use = await this.options.limits?.take(name, counted);
    if (use === undefined) return undefined;
    for (const [header, value] of Object.entries(rateLimitHeaders(use))) c.header(header, value);
    return use;
  }

  /** Returns undefined for a request that the server sends to itself. */
  private addressOf(c: Context<AppEnv>): string | undefined {
    const remoteAddress = c.env?.remoteAddr?.hostname;
    if (remoteAddress === undefined) return undefined;
    const forwardedFor = c.req.header("X-Forwarded-For") ?? null;
    const { limits, trustedProxies, log } = this.options;
    if (forwardedFor !== null && trustedProxies === 0 && limits !== undefined && !this.hasWarned) {
      this.hasWarned = true;
      log.warn(
        "X-Forwarded-For is ignored, so callers behind a proxy share the limits of one address: set TRUST_PROXY",
      );
    }
    return `address:${clientAddress({ remoteAddress, forwardedFor, trustedProxies })}`;
  }
}
