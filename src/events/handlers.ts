import type { Kysely } from "kysely";
import type { Database } from "../database/connect.ts";
import type { Handlers } from "../http/handlers.ts";
import type { Log } from "../http/log.ts";
import { listEvents } from "./events.ts";
import type { EventFeed } from "./feed.ts";
import type { Sockets } from "./sockets.ts";
import { createTicket } from "./tickets.ts";

type EventOperations = "listEvents" | "createSocketTicket" | "openSocket";

export function eventHandlers(
  { db, feed, log, sockets }: { db: Kysely<Database>; feed: EventFeed; log: Log; sockets: Sockets },
): Pick<Handlers, EventOperations> {
  return {
    async listEvents({ caller, query: { after, limit, wait, userId, roomId } }) {
      return { status: 200, body: await listEvents({ db, feed, log }, caller, { after, limit, wait, userId, roomId }) };
    },

    async createSocketTicket({ caller }) {
      return { status: 201, body: await createTicket(db, caller) };
    },

    openSocket({ caller, request }) {
      return Promise.resolve({ status: 101, body: sockets.open(request, caller) });
    },
  };
}
