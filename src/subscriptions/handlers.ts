import type { Authenticator } from "../auth/callers.ts";
import type { Handlers } from "../contract/handlers.ts";
import type { EventFeed } from "../events/feed.ts";
import type { Log } from "../log.ts";
import { type AllowedOrigins, assertHandshake, upgrade } from "./handshake.ts";
import { listEvents } from "./list_events.ts";
import type { Sockets } from "./sockets.ts";
import { createSocketTicket } from "./tickets.ts";

type SubscriptionOperations = "listEvents" | "createSocketTicket" | "openSocket";

export interface SubscriptionOptions {
  feed: EventFeed;
  log: Log;
  sockets: Sockets;
  config: AllowedOrigins;
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

    async openSocket({ caller, request }) {
      const { feed, sockets, config } = options;
      assertHandshake(request, config);
      sockets.assertLimits(caller);
      const unfollow = await feed.follow();
      try {
        const { socket, response } = upgrade(request);
        for (const type of ["close", "error"]) socket.addEventListener(type, unfollow);
        sockets.add(socket, caller);
        return { status: 101, body: response };
      } catch (failure) {
        unfollow();
        throw failure;
      }
    },
  };
}
