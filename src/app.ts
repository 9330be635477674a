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
import { operationsHandlers } from "./operations/handlers.ts";
import type { PaymentProvider } from "./payments/provider.ts";
import { roomHandlers } from "./rooms/handlers.ts";
import { timeslotHandlers } from "./timeslots/handlers.ts";

export interface AppOptions {
  config: Config;
  db: Kysely<Database>;
  clock: Clock;
  log: Log;
  payments: PaymentProvider;
  verify: VerifyToken;
  /** Followed by the sockets; whoever starts it closes it. */
  feed: EventFeed;
  /** A token that the docs fill in for "try it"; undefined outside of the sandbox. */
  docsToken: string | undefined;
  /** For whoever shuts the server down. */
  intake?: Intake;
  socketLimits?: SocketLimits;
}

export interface App {
  fetch: OpenAPIHono<AppEnv>["fetch"];
  /** For whoever shuts the server down. */
  sockets: Sockets;
}

export function createApp(options: AppOptions): App {
  const { config, db, clock, log, payments, verify, feed, docsToken, intake = new Intake(), socketLimits } = options;
  const announce = () => feed.announce();
  const sockets = new Sockets({ db, feed, log, config, limits: socketLimits });
  const app = createRouter({
    log,
    intake,
    authenticate: createAuthenticator({ db, verify }),
    redeemTicket: (ticket) => redeemTicket(db, ticket),
    handlers: {
      ...authHandlers(),
      ...roomHandlers({ db, clock, config, announce }),
      ...timeslotHandlers({ db, clock, announce }),
      ...bookingHandlers({ db, clock, payments, config, announce }),
      ...eventHandlers({ db, feed, log, sockets }),
      ...operationsHandlers({ db }),
    },
  });
  addDocs(app, docsToken);
  return { fetch: app.fetch, sockets };
}
