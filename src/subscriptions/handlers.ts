import type { Kysely } from "kysely";
import type { Authenticator } from "../auth/callers.ts";
import type { Database } from "../database/connect.ts";
import type { Handlers } from "../contract/handlers.ts";
import type { Log } from "../log.ts";
import { listEvents } from "./event_pages.ts";
import type { EventFeed } from "../events/feed.ts";
import type { Sockets } from "./sockets.ts";
import { createTicket } from "./tickets.ts";

type EventOperations = "listEvents" | "createSocketTicket" | "openSocket";

export interface EventHandlerOptions {
  db: Kysely<Database>;
  feed: EventFeed;
  log: Log;
  sockets: Sockets;
  assertCurrent: Authenticator["assertCurrent"];
}

export function eventHandlers(
  { db, feed, log, sockets, assertCurrent }: EventHandlerOptions,
): Pick<Handlers, EventOperations> {
  const rules = { db, feed, log, assertCurrent };
  return {
    async listEvents({ caller, query: { after, limit, wait, userId, roomId } }) {
      return { status: 200, body: await listEvents(rules, caller, { after, limit, wait, userId, roomId }) };
    },

    async createSocketTicket({ caller }) {
      return { status: 201, body: await createTicket(db, caller) };
    },

    openSocket({ caller, request }) {
      return Promise.resolve({ status: 101, body: sockets.open(request, caller) });
    },
  };
}
