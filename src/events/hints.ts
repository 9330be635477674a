/**
 * Hints between the servers of a database that there is something new in the feed, over NOTIFY and LISTEN. A hint that is
 * lost costs time only: every server looks at the feed each second as well.
 */
import type { Kysely } from "kysely";
import postgres from "postgres";
import type { Database } from "../database/connect.ts";
import { describeFailure, type Log } from "../log.ts";
import { notifyServers } from "./queries.ts";

const channel = "slotkeeper_events";
/** A server sends a hint at most so often, in milliseconds: NOTIFY takes a lock that all commits of it share. */
const intervalMs = 5;
/** Seconds between attempts to listen again after the connection broke. */
const backoff = (attempt: number) => Math.min(0.1 * 2 ** attempt, 5);

export interface HintOptions {
  db: Kysely<Database>;
  url: string;
  log: Log;
  /** Another server says that there is something new, or we may have missed that it did. */
  onHint: () => void;
}

export class Hints {
  private readonly sender = crypto.randomUUID();
  private readonly listener: postgres.Sql;
  private isPausing = false;
  private isWanted = false;
  private isClosed = false;

  constructor(private readonly options: HintOptions) {
    // A connection of its own, which stays with LISTEN.
    this.listener = postgres(options.url, {
      max: 1,
      connect_timeout: 10,
      backoff,
      connection: { application_name: "slotkeeper events" },
      fetch_types: false,
      onnotice: () => {},
    });
  }

  /** Listens from now on, and again whenever the connection breaks. */
  listen(): void {
    const { onHint, log } = this.options;
    this.listener.listen(channel, (sender) => sender === this.sender || onHint(), onHint)
      .catch((failure: unknown) => log.warn("no hints from other servers", { failure: describeFailure(failure) }));
  }

  /** Tells the other servers, now or in a moment together with what comes until then. */
  send(): void {
    if (this.isPausing) this.isWanted = true;
    else this.sendNow();
  }

  async close(): Promise<void> {
    this.isClosed = true;
    await this.listener.end({ timeout: 1 });
  }

  private sendNow(): void {
    if (this.isClosed) return;
    this.isPausing = true;
    this.isWanted = false;
    const { db, log } = this.options;
    notifyServers(db, { channel, sender: this.sender })
      .catch((failure: unknown) => log.debug("a hint was not sent", { failure: describeFailure(failure) }))
      .finally(() =>
        setTimeout(() => {
          this.isPausing = false;
          if (this.isWanted) this.sendNow();
        }, intervalMs)
      );
  }
}
