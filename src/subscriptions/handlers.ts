import type { Authenticator } from "../auth/callers.ts";
import type { Handlers } from "../contract/handlers.ts";
import type { EventFeed } from "../events/feed.ts";
import type { Log } from "../log.ts";
import { listEvents } from "./list_events.ts";
import type { Sockets } from "./sockets.ts";
import { createSocketTicket } from "./tickets.ts";

type SubscriptionOperations = "listEvents" | "createSocketTicket" | "openSocket";

export interface SubscriptionOptions {
  feed: EventFeed;
  log: Log;
  sockets: Sockets;
  assertCurrent: Authenticator["assertCurrent"];
}

export function subscriptionHandlers(options: SubscriptionOptions): Pick<Handlers, SubscriptionOperations> {
  return {
    async listEvents({ caller, query: { after, limit, wait, userId, roomId } }, { db }) {
      const query = { after, limit, wait, userId, roomId };
      return { status: 200, body: await listEvents({ ...options, db }, caller, query) };
    },

    async createSocketTicket({ caller }, { db }) {
      return { status: 201, body: await createSocketTicket(db, caller) };
    },

    openSocket({ caller, request }) {
      return Promise.resolve({ status: 101, body: options.sockets.openSocket(request, caller) });
    },
  };
}
