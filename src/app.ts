/** Composes the features into one app. Tests build it in the same way. */
import type { Hono } from "hono";
import type { Kysely } from "kysely";
import { rateLimits as contractLimits } from "../generated/contract.ts";
import { auditHandlers } from "./audit/handlers.ts";
import { createAuthenticator } from "./auth/callers.ts";
import { authHandlers } from "./auth/handlers.ts";
import type { VerifyToken } from "./auth/tokens.ts";
import { bookingHandlers, keyedBookingChanges } from "./bookings/handlers.ts";
import { addResultPage } from "./checkout/result_page.ts";
import type { Config } from "./config.ts";
import type { Handlers } from "./contract/handlers.ts";
import type { Database } from "./database/connect.ts";
import { addDocs, type DocsTokens } from "./docs/docs.ts";
import type { EventFeed } from "./events/feed.ts";
import type { AppEnv } from "./http/context.ts";
import { Deadlines } from "./http/deadlines.ts";
import { Intake } from "./http/intake.ts";
import { type RateLimit, RateLimits } from "./http/rate_limits.ts";
import { type RateLimitClass, RequestLimiter } from "./http/request_limiter.ts";
import { createRouter } from "./http/router.ts";
import type { WorkerOptions } from "./jobs/worker.ts";
import type { Log } from "./log.ts";
import type { PaymentProvider } from "./payments/provider.ts";
import { openPaymentProvider, paymentLinks } from "./payments/providers.ts";
import { isSandboxPayments } from "./payments/sandbox.ts";
import { probeHandlers } from "./probes/handlers.ts";
import { roomHandlers } from "./rooms/handlers.ts";
import { addCheckoutPage } from "./sandbox/checkout_page.ts";
import { SandboxClock } from "./sandbox/clock.ts";
import { sandboxHandlers } from "./sandbox/handlers.ts";
import { trialFor } from "./sandbox/trial.ts";
import { settlementHandlers } from "./settlement/handlers.ts";
import { paymentTasks } from "./settlement/jobs.ts";
import { subscriptionHandlers } from "./subscriptions/handlers.ts";
import { type SocketLimits, Sockets } from "./subscriptions/sockets.ts";
import { redeemTicket } from "./subscriptions/tickets.ts";
import { sweep } from "./sweeps.ts";
import type { Clock } from "./time/clock.ts";
import { timeslotHandlers } from "./timeslots/handlers.ts";

export interface AppOptions {
  config: Config;
  db: Kysely<Database>;
  /** An admin can move a sandbox clock. */
  clock: Clock;
  log: Log;
  verify: VerifyToken;
  /** The source of the sockets' events. The caller starts and closes it. */
  feed: EventFeed;
  /** The public URL of this server, known once it listens. */
  publicUrl: () => string;
  /** The tokens that the docs use for "Test request"; undefined outside the sandbox. */
  docsTokens: DocsTokens | undefined;
  /** Needed to drain the server. */
  intake?: Intake;
  socketLimits?: SocketLimits;
  /** Milliseconds between two checks whether the callers of open sockets still have access. */
  socketCheckMs?: number;
  /** Limits instead of those of the contract. */
  rateLimits?: Record<RateLimitClass, RateLimit>;
  /** Time limits of requests, on the machine's clock unless given. */
  deadlines?: Deadlines;
}

export interface App {
  fetch: Hono<AppEnv>["fetch"];
  /** Does the due work. The caller runs it regularly. */
  sweep(): Promise<void>;
  /** The tasks of the job queue. */
  tasks: WorkerOptions["tasks"];
  /** Undefined when payments happen elsewhere. */
  payments: PaymentProvider | undefined;
  /** Needed to drain the server. */
  sockets: Sockets;
  /** Closes the connections that the app itself has opened. */
  close(): Promise<void>;
}

export function createApp(options: AppOptions): App {
  const { config, db, clock, log, verify, feed, publicUrl, docsTokens, intake = new Intake() } = options;
  const { rateLimits = contractLimits, deadlines = new Deadlines(), socketLimits, socketCheckMs } = options;
  const links = paymentLinks(publicUrl, config.checkoutReturnUrl);
  const payments = openPaymentProvider(config, links);
  const rules = { config, db, clock, log, payments, announce: () => feed.announce() };
  const sweepAll = () => sweep(rules);
  const sockets = new Sockets({ db, feed, log, limits: socketLimits, checkMs: socketCheckMs });
  const authenticator = createAuthenticator({ db, verify });
  const limits = config.rateLimit ? new RateLimits({ limits: rateLimits, redisUrl: config.redisUrl, log }) : undefined;
  const limiter = new RequestLimiter({ limits, trustedProxies: config.trustedProxies, log });
  const isSandbox = clock instanceof SandboxClock;
  const handlers: Handlers = {
    ...authHandlers,
    ...auditHandlers(rules),
    ...roomHandlers(rules),
    ...timeslotHandlers(rules),
    ...bookingHandlers(rules),
    ...settlementHandlers(rules),
    ...subscriptionHandlers({ feed, log, sockets, config, assertCurrent: authenticator.assertCurrent }),
    ...probeHandlers(),
    ...(isSandbox ? sandboxHandlers({ sandboxClock: clock, sweep: sweepAll }) : {}),
  };
  const app = createRouter({
    ...rules,
    intake,
    authenticator,
    redeemTicket: (ticket) => redeemTicket(db, ticket),
    handlers,
    keyedChanges: keyedBookingChanges(rules),
    isSandbox,
    limiter,
    deadlines,
    corsOrigins: config.corsOrigins,
    corsHeaders: config.corsHeaders,
  });
  const hasTrial = docsTokens !== undefined && config.demoData && isSandboxPayments(payments);
  addDocs(app, {
    tokens: docsTokens,
    publicUrl,
    limiter,
    clock,
    trialValues: hasTrial ? trialFor(rules, docsTokens) : () => Promise.resolve({}),
  });
  if (payments !== undefined) {
    addResultPage(app, { ...rules, limiter, payPage: isSandboxPayments(payments) ? payments.payPage : undefined });
  }
  if (isSandboxPayments(payments)) {
    addCheckoutPage(app, { ...rules, payments, links, limiter, deadlines, deliver: (request) => app.fetch(request) });
  }
  return {
    fetch: app.fetch,
    sweep: sweepAll,
    tasks: paymentTasks(rules),
    payments,
    sockets,
    close: async () => await limits?.close(),
  };
}
