/** Who may make how many requests: the classes of the contract, by user, or by address where nobody is known. */
import type { Context, MiddlewareHandler } from "hono";
import type { rateLimits } from "../../generated/contract.ts";
import type { Caller } from "../contract/caller.ts";
import { catalogue, Problem } from "../contract/problems.ts";
import { clientAddress } from "./client_address.ts";
import type { Log } from "../log.ts";
import { rateLimitHeaders, type RateLimits, type Standing } from "./rate_limits.ts";
import type { AppEnv } from "./context.ts";

export type RateLimitClass = keyof typeof rateLimits;

/** How somebody says who they are. */
export type CredentialKind = "token" | "key" | "ticket";

export interface RequestLimiterOptions {
  /** Undefined when nothing is limited. */
  limits: RateLimits<RateLimitClass> | undefined;
  /** Proxies in front of this server, each of which adds to X-Forwarded-For. */
  trustedProxies: number;
  log: Log;
}

export class RequestLimiter {
  private hasWarned = false;

  constructor(private readonly options: RequestLimiterOptions) {}

  /**
   * Counts a request, and says in the headers of its answer how many are left.
   *
   * @throws {Problem} `rate_limited`.
   */
  async admit(c: Context<AppEnv>, name: RateLimitClass | "none", caller?: Caller): Promise<void> {
    const who = caller === undefined ? this.addressOf(c) : `user:${caller.userId}`;
    if (name === "none" || who === undefined) return;
    const standing = await this.count(c, name, who);
    if (standing?.isOver !== true) return;
    const { quota, windowSeconds, resetSeconds } = standing;
    const detail = `More than ${quota} requests in ${windowSeconds} seconds. Try again in ${resetSeconds} seconds.`;
    throw new Problem("rate_limited", detail, { retryAfter: resetSeconds });
  }

  /** Counts each request of a page or file as `public`. */
  readonly page: MiddlewareHandler<AppEnv> = async (c, next) => {
    await this.admit(c, "public");
    await next();
  };

  /**
   * Finds out who is calling. Credentials that are refused are counted by address and kind. Beyond the quota each refusal is
   * `rate_limited`; and where it takes a look at the database, as with keys and tickets, no new one is looked at until the
   * time is over: only those that are known to be good (`isKnown`).
   *
   * @throws {Problem} what `identify` throws, or `rate_limited`.
   */
  async guard(
    c: Context<AppEnv>,
    identify: () => Promise<Caller>,
    { kind, isKnown }: { kind: CredentialKind; isKnown: boolean },
  ): Promise<Caller> {
    const address = this.addressOf(c);
    const who = `${address}:${kind}`;
    const isCostly = kind !== "token" && !isKnown;
    if (isCostly && address !== undefined && this.options.limits?.isSpent("auth", who)) await this.countGuess(c, who);
    try {
      return await identify();
    } catch (failure) {
      if (failure instanceof Problem && catalogue[failure.code].status === 401) {
        // Who sends nothing, or what was good once, guesses nothing.
        const isGuess = failure.code !== "token_missing" && failure.code !== "token_expired";
        if (!isGuess) await this.admit(c, "public");
        else if (address !== undefined) await this.countGuess(c, who);
      }
      throw failure;
    }
  }

  private async countGuess(c: Context<AppEnv>, who: string): Promise<void> {
    const standing = await this.count(c, "auth", who);
    if (standing?.isOver !== true) return;
    const { resetSeconds } = standing;
    const detail = "Too many tokens, API keys or tickets that are not valid came from your address. " +
      `Try again in ${resetSeconds} seconds.`;
    throw new Problem("rate_limited", detail, { retryAfter: resetSeconds });
  }

  private async count(c: Context<AppEnv>, name: RateLimitClass, who: string): Promise<Standing | undefined> {
    const standing = await this.options.limits?.take(name, who);
    if (standing === undefined) return undefined;
    for (const [header, value] of Object.entries(rateLimitHeaders(standing))) c.header(header, value);
    return standing;
  }

  /** Undefined for a request that the server makes to itself. */
  private addressOf(c: Context<AppEnv>): string | undefined {
    const remoteAddress = c.env?.remoteAddr?.hostname;
    if (remoteAddress === undefined) return undefined;
    const forwardedFor = c.req.header("X-Forwarded-For") ?? null;
    const { limits, trustedProxies, log } = this.options;
    if (forwardedFor !== null && trustedProxies === 0 && limits !== undefined && !this.hasWarned) {
      this.hasWarned = true;
      log.warn(
        "X-Forwarded-For is ignored: behind a proxy set TRUST_PROXY, or all callers share the limits of one address",
      );
    }
    return `address:${clientAddress({ remoteAddress, forwardedFor, trustedProxies })}`;
  }
}
