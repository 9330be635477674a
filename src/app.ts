/** Puts the features together into one app. The tests build it in the same way. */
import type { OpenAPIHono } from "@hono/zod-openapi";
import type { Kysely } from "kysely";
import { rateLimits as contractLimits } from "../generated/contract.ts";
import { auditHandlers } from "./audit/handlers.ts";
import { createAuthenticator } from "./auth/callers.ts";
import { authHandlers } from "./auth/handlers.ts";
import type { VerifyToken } from "./auth/tokens.ts";
import { bookingHandlers, counts } from "./bookings/handlers.ts";
import type { Clock } from "./time/clock.ts";
import type { Config } from "./config.ts";
import type { Database } from "./database/connect.ts";
import { addDocs } from "./docs/docs.ts";
import type { EventFeed } from "./events/feed.ts";
import { eventHandlers } from "./subscriptions/handlers.ts";
import { type SocketLimits, Sockets } from "./subscriptions/sockets.ts";
import { redeemTicket } from "./subscriptions/tickets.ts";
import { Deadlines } from "./http/deadlines.ts";
import type { Scope } from "./execution/execution.ts";
import type { Handlers } from "./contract/handlers.ts";
import { Intake } from "./http/intake.ts";
import type { Log } from "./log.ts";
import { type RateLimit, RateLimits } from "./http/rate_limits.ts";
import { type RateLimitClass, RequestLimiter } from "./http/request_limiter.ts";
import type { AppEnv } from "./http/context.ts";
import { createRouter } from "./http/router.ts";
import type { WorkerOptions } from "./jobs/worker.ts";
import { operationsHandlers } from "./operations/handlers.ts";
import { paymentHandlers } from "./settlement/handlers.ts";
import { paymentTasks } from "./settlement/payments.ts";
import type { PaymentProvider } from "./payments/provider.ts";
import { openPaymentProvider, paymentLinks } from "./payments/providers.ts";
import { isSandboxPayments } from "./payments/sandbox.ts";
import { roomHandlers } from "./rooms/handlers.ts";
import { addCheckoutPage } from "./sandbox/checkout_page.ts";
import { SandboxClock } from "./sandbox/clock.ts";
import { sandboxHandlers } from "./sandbox/handlers.ts";
import { sweep } from "./sweeps.ts";
import { searches, timeslotHandlers } from "./timeslots/handlers.ts";
import { turns } from "./turns.ts";

export interface AppOptions {
  config: Config;
  db: Kysely<Database>;
  /** One of the sandbox can be moved by an admin. */
  clock: Clock;
  log: Log;
  verify: VerifyToken;
  /** Followed by the sockets; whoever starts it closes it. */
  feed: EventFeed;
  /** Where the outside reaches this server, once it listens. */
  publicUrl: () => string;
  /** A token that the docs fill in for "try it"; undefined outside of the sandbox. */
  docsToken: string | undefined;
  /** For whoever shuts the server down. */
  intake?: Intake;
  socketLimits?: SocketLimits;
  /** Other limits than those of the contract. */
  rateLimits?: Record<RateLimitClass, RateLimit>;
}

export interface App {
  fetch: OpenAPIHono<AppEnv>["fetch"];
  /** Does what time has made due. For whoever runs it now and again. */
  sweep(): Promise<void>;
  /** What the queue of jobs asks for. */
  tasks: WorkerOptions["tasks"];
  /** Undefined when payments happen elsewhere. */
  payments: PaymentProvider | undefined;
  /** For whoever shuts the server down. */
  sockets: Sockets;
  /** Lets go of what the app itself has opened. */
  close(): Promise<void>;
}

export function createApp(options: AppOptions): App {
  const { config, db, clock, log, verify, feed, publicUrl, docsToken, intake = new Intake(), socketLimits } = options;
  const { rateLimits = contractLimits } = options;
  const links = paymentLinks(publicUrl, config.checkoutReturnUrl);
  const payments = openPaymentProvider(config, links);
  const rules = { config, db, clock, log, payments, announce: () => feed.announce() };
  const sweepAll = () => sweep(rules);
  const sockets = new Sockets({ db, feed, log, config, limits: socketLimits });
  const authenticator = createAuthenticator({ db, verify });
  const limits = config.rateLimit ? new RateLimits({ limits: rateLimits, redisUrl: config.redisUrl, log }) : undefined;
  const limiter = new RequestLimiter({ limits, trustedProxies: config.trustedProxies, log });
  const deadlines = new Deadlines();
  // Of the app, since each transaction has handlers of its own.
  const timeZones = new Set<string>();
  const inSearchTurn = turns(searches);
  const inCountTurn = turns(counts);
  const handlersIn = (scope: Scope): Handlers => {
    const within = { ...rules, ...scope };
    return {
      ...authHandlers(within),
      ...auditHandlers(within),
      ...roomHandlers(within),
      ...timeslotHandlers({ ...within, timeZones, inSearchTurn }),
      ...bookingHandlers({ ...within, inCountTurn }),
      ...paymentHandlers(within),
      ...eventHandlers({ ...within, feed, sockets, assertCurrent: authenticator.assertCurrent }),
      ...operationsHandlers(within),
      ...(clock instanceof SandboxClock ? sandboxHandlers({ ...within, sandboxClock: clock, sweep: sweepAll }) : {}),
    };
  };
  const app = createRouter({
    ...rules,
    intake,
    authenticator,
    redeemTicket: (ticket) => redeemTicket(db, ticket),
    handlersIn,
    isSandbox: clock instanceof SandboxClock,
    limiter,
    deadlines,
    corsOrigins: config.corsOrigins,
  });
  addDocs(app, { token: docsToken, publicUrl, limiter });
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
