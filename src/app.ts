/** Puts the features together into one app. The tests build it in the same way. */
import type { OpenAPIHono } from "@hono/zod-openapi";
import type { Kysely } from "kysely";
import { createAuthenticator } from "./auth/callers.ts";
import { authHandlers } from "./auth/handlers.ts";
import type { VerifyToken } from "./auth/tokens.ts";
import { bookingHandlers } from "./bookings/handlers.ts";
import type { Clock } from "./clock.ts";
import type { Config } from "./config.ts";
import type { Database } from "./database/connect.ts";
import { addDocs } from "./docs/docs.ts";
import type { EventFeed } from "./events/feed.ts";
import { eventHandlers } from "./events/handlers.ts";
import { type SocketLimits, Sockets } from "./events/sockets.ts";
import { redeemTicket } from "./events/tickets.ts";
import { Intake } from "./http/intake.ts";
import type { Log } from "./http/log.ts";
import { type AppEnv, createRouter } from "./http/router.ts";
import type { WorkerOptions } from "./jobs/worker.ts";
import { operationsHandlers } from "./operations/handlers.ts";
import { paymentHandlers } from "./payments/handlers.ts";
import { paymentTasks } from "./payments/payments.ts";
import type { PaymentProvider } from "./payments/provider.ts";
import { openPaymentProvider, paymentLinks } from "./payments/providers.ts";
import { isSandboxPayments } from "./payments/sandbox.ts";
import { roomHandlers } from "./rooms/handlers.ts";
import { addCheckoutPage } from "./sandbox/checkout_page.ts";
import { SandboxClock } from "./sandbox/clock.ts";
import { sandboxHandlers } from "./sandbox/handlers.ts";
import { sweep } from "./sweeps.ts";
import { timeslotHandlers } from "./timeslots/handlers.ts";

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
}

export function createApp(options: AppOptions): App {
  const { config, db, clock, log, verify, feed, publicUrl, docsToken, intake = new Intake(), socketLimits } = options;
  const links = paymentLinks(publicUrl, config.checkoutReturnUrl);
  const payments = openPaymentProvider(config, links);
  const rules = { config, db, clock, log, payments, announce: () => feed.announce() };
  const sweepAll = () => sweep(rules);
  const sockets = new Sockets({ db, feed, log, config, limits: socketLimits });
  const app = createRouter({
    log,
    intake,
    authenticate: createAuthenticator({ db, verify }),
    redeemTicket: (ticket) => redeemTicket(db, ticket),
    handlers: {
      ...authHandlers(),
      ...roomHandlers(rules),
      ...timeslotHandlers(rules),
      ...bookingHandlers(rules),
      ...paymentHandlers(rules),
      ...eventHandlers({ db, feed, log, sockets }),
      ...operationsHandlers({ db }),
      ...(clock instanceof SandboxClock ? sandboxHandlers({ sandboxClock: clock, sweep: sweepAll }) : {}),
    },
  });
  addDocs(app, docsToken);
  if (isSandboxPayments(payments)) {
    addCheckoutPage(app, { ...rules, payments, links, deliver: (request) => app.fetch(request) });
  }
  return { fetch: app.fetch, sweep: sweepAll, tasks: paymentTasks(rules), payments, sockets };
}
