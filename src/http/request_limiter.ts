/** Applies the rate limits of the contract: by user, or by address without a user. */
import type { MiddlewareHandler } from "hono";
import { LRUCache } from "lru-cache";
import type { rateLimits } from "../../generated/contract.ts";
import type { Caller } from "../contract/caller.ts";
import { catalogue, Problem } from "../contract/problems.ts";
import type { Log } from "../log.ts";
import { clientAddress } from "./client_address.ts";
import type { AppEnv, Exchange } from "./context.ts";
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

/** Addresses in memory, with the header that they came from. Longer ones are parsed each time. */
const addressLimit = 1_000;
const addressLength = 100;

export class RequestLimiter {
  private hasWarned = false;
  private readonly addresses = new LRUCache<string, string>({ max: addressLimit });

  constructor(private readonly options: RequestLimiterOptions) {}

  /**
   * Counts a request, and adds the headers about its quota to the answer. Returns a promise only if it must wait.
   *
   * @throws {Problem} `rate_limited`.
   */
  admit(exchange: Exchange, name: RateLimitClass | "none", caller?: Caller): Promise<void> | undefined {
    const { limits } = this.options;
    if (limits === undefined || name === "none") return undefined;
    if (!this.hasWarned) this.warnOfProxy(exchange);
    const counted = caller === undefined ? this.addressOf(exchange) : `user:${caller.userId}`;
    if (counted === undefined) return undefined;
    const use = limits.take(name, counted);
    if (use instanceof Promise) return use.then((use) => assertWithin(exchange, use));
    assertWithin(exchange, use);
    return undefined;
  }

  /** Counts each request for a page or file as `public`. */
  readonly page: MiddlewareHandler<AppEnv> = async (c, next) => {
    await this.admit(c.var.exchange, "public");
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
    exchange: Exchange,
    identify: () => Promise<Caller>,
    { kind, isKnown }: { kind: CredentialKind; isKnown: boolean },
  ): Promise<Caller> {
    const needsLookup = kind !== "token" && !isKnown;
    if (needsLookup && this.isSpent(exchange, kind)) await this.countGuess(exchange, kind);
    try {
      return await identify();
    } catch (failure) {
      if (failure instanceof Problem && catalogue[failure.code].status === 401) {
        // A missing or expired token is not a guess.
        const isGuess = failure.code !== "token_missing" && failure.code !== "token_expired";
        if (isGuess) await this.countGuess(exchange, kind);
        else await this.admit(exchange, "public");
      }
      throw failure;
    }
  }

  private isSpent(exchange: Exchange, kind: CredentialKind): boolean {
    const { limits } = this.options;
    const address = limits && this.addressOf(exchange);
    return address !== undefined && limits?.isSpent("auth", `${address}:${kind}`) === true;
  }

  private async countGuess(exchange: Exchange, kind: CredentialKind): Promise<void> {
    const { limits } = this.options;
    const address = limits && this.addressOf(exchange);
    if (limits === undefined || address === undefined) return;
    const use = await limits.take("auth", `${address}:${kind}`);
    addQuotaHeaders(exchange, use);
    if (!use.isOver) return;
    const { resetSeconds } = use;
    const detail = "Your address sent too many tokens, API keys or tickets that are not valid. " +
      `Try again in ${resetSeconds} seconds.`;
    throw new Problem("rate_limited", detail, { retryAfter: resetSeconds });
  }

  private warnOfProxy({ request }: Exchange): void {
    const { trustedProxies, log } = this.options;
    if (trustedProxies > 0 || !request.headers.has("X-Forwarded-For")) return;
    this.hasWarned = true;
    log.warn("X-Forwarded-For is ignored, so callers behind a proxy share the limits of one address: set TRUST_PROXY");
  }

  /** Returns undefined for a request that the server sends to itself. */
  private addressOf({ remoteAddress, request }: Exchange): string | undefined {
    if (remoteAddress === undefined) return undefined;
    const forwardedFor = request.headers.get("X-Forwarded-For");
    const { trustedProxies } = this.options;
    const sent = trustedProxies === 0 || forwardedFor === null ? remoteAddress : `${remoteAddress} ${forwardedFor}`;
    const known = this.addresses.get(sent);
    if (known !== undefined) return known;
    const address = `address:${clientAddress({ remoteAddress, forwardedFor, trustedProxies })}`;
    if (sent.length <= addressLength) this.addresses.set(sent, address);
    return address;
  }
}

function addQuotaHeaders({ headers }: Exchange, use: QuotaUse): void {
  Object.assign(headers, rateLimitHeaders(use));
}

/** @throws {Problem} `rate_limited`. */
function assertWithin(exchange: Exchange, use: QuotaUse): void {
  addQuotaHeaders(exchange, use);
  if (!use.isOver) return;
  const { quota, windowSeconds, resetSeconds } = use;
  const detail = `More than ${quota} requests in ${windowSeconds} seconds. Try again in ${resetSeconds} seconds.`;
  throw new Problem("rate_limited", detail, { retryAfter: resetSeconds });
}
