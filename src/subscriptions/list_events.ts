/** The rules of reading events: access and cursors. */
import type { Kysely } from "kysely";
import type { EventPage } from "../../generated/contract.ts";
import { serializeEventPage } from "../../generated/serializers.ts";
import type { Authenticator } from "../auth/callers.ts";
import type { Caller } from "../contract/caller.ts";
import { Problem } from "../contract/problems.ts";
import type { Database } from "../database/connect.ts";
import { beginning, formatCursor, isAfter, parseCursor, type ParsedCursor, type Position } from "../events/cursors.ts";
import type { EventFeed } from "../events/feed.ts";
import { type EventBatch, type EventFilter, hasGap, readEvents } from "../events/queries.ts";
import { describeFailure, type Log } from "../log.ts";
import { toFeedEvent } from "./feed_event.ts";

export interface EventRules {
  db: Kysely<Database>;
  feed: EventFeed;
  log: Log;
  assertCurrent: Authenticator["assertCurrent"];
}

export interface EventPageQuery {
  after: string | undefined;
  limit: number;
  /** Seconds. */
  wait: number;
  userId: number | undefined;
  roomId: number | undefined;
}

/**
 * Returns a page of the feed. If it is empty, waits for an event, at most `wait` seconds.
 *
 * @throws {Problem} `admin_required` for another user's events, or `cursor_expired`. `token_expired` or `token_invalid`
 * if the caller's access ended during the wait.
 */
export async function listEvents(rules: EventRules, caller: Caller, query: EventPageQuery): Promise<EventPage> {
  const filter = filterFor(caller, query);
  const start = query.after === undefined ? undefined : parseCursor(query.after);
  // The other pages need the database only.
  const unfollow = start === "latest" || query.wait > 0 ? await rules.feed.follow() : () => {};
  try {
    return await readPage(rules, caller, { ...query, filter, start });
  } finally {
    unfollow();
  }
}

interface PageStart {
  filter: EventFilter;
  start: ParsedCursor | "latest" | undefined;
}

async function readPage(
  rules: EventRules,
  caller: Caller,
  { filter, start, ...query }: EventPageQuery & PageStart,
): Promise<EventPage> {
  const deadline = performance.now() + query.wait * 1_000;
  let after = start === "latest" ? rules.feed.position : start?.position ?? beginning;
  let hasWaited = false;
  for (;;) {
    // Listens before the query, so it misses no event in between.
    const next = rules.feed.next(filter);
    try {
      const batch = await readEvents(rules.db, { ...filter, after, limit: query.limit });
      if (start !== undefined && start !== "latest" && hasGap(start, batch)) {
        throw expired("Events after this cursor are no longer kept.");
      }
      const page = toPage(rules, batch, { after, limit: query.limit });
      const leftMs = deadline - performance.now();
      if (page.items.length === 0 && leftMs > 0) {
        hasWaited = true;
        if (await next.within(leftMs)) {
          after = isAfter(batch.settled, after) ? batch.settled : after;
          continue;
        }
      }
      if (hasWaited) await rules.assertCurrent(caller);
      return page;
    } finally {
      next.cancel();
    }
  }
}

function filterFor(caller: Caller, { userId, roomId }: EventPageQuery): EventFilter {
  if (caller.role === "admin") return { userId, roomId };
  if (userId !== undefined && userId !== caller.userId) {
    throw new Problem("admin_required", "Only an admin may read the events of another user.");
  }
  return { userId: caller.userId, roomId };
}

function expired(why: string): Problem {
  return new Problem("cursor_expired", `${why} Read your bookings again and continue after \`latest\`.`);
}

function toPage(
  { log }: EventRules,
  batch: EventBatch,
  { after, limit }: { after: Position; limit: number },
): EventPage {
  const { events, generation, settled } = batch;
  const last = events.at(-1);
  // A page that is not full has all settled events, so the next one begins there.
  const end = last !== undefined && events.length === limit
    ? { transactionId: last.transaction_id, id: last.id }
    : isAfter(settled, after)
    ? settled
    : after;
  try {
    const page = { items: events.map((row) => toFeedEvent(row, generation)), cursor: formatCursor(generation, end) };
    // Finds an event that breaks the contract.
    serializeEventPage(page);
    return page;
  } catch (failure) {
    // As on a socket: the reader learns of the gap, and does not get stuck.
    log.error("event cannot be rendered", { failure: describeFailure(failure) });
    throw expired("An event after this cursor cannot be read.");
  }
}
