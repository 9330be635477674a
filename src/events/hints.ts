/**
 * Hints between servers about new events in the feed, over NOTIFY and LISTEN. A lost hint only costs time, because every
 * server also polls the feed once a second.
 */
import type { Kysely } from "kysely";
import postgres from "postgres";
import type { Database } from "../database/connect.ts";
import { describeFailure, type Log } from "../log.ts";
import { notifyServers } from "./queries.ts";

const channel = "slotkeeper_events";
/** Least milliseconds between two hints of a server. All commits with a NOTIFY share one lock. */
const intervalMs = 5;
/** Seconds before the next attempt to listen after the connection broke. */
const backoff = (attempt: number) => Math.min(0.1 * 2 ** attempt, 5);

export interface HintOptions {
  db: Kysely<Database>;
  url: string;
  log: Log;
  /** Called for a hint of another server, and after a reconnect, because a hint may be lost. */
  onHint: () => void;
}

export class Hints {
  private readonly sender = crypto.randomUUID();
  private readonly listener: postgres.Sql;
  private isPausing = false;
  private isWanted = false;
  private isClosed = false;

  constructor(private readonly options: HintOptions) {
    // LISTEN needs a connection of its own.
    this.listener = postgres(options.url, {
      max: 1,
      connect_timeout: 10,
      backoff,
      connection: { application_name: "slotkeeper events" },
      fetch_types: false,
      onnotice: () => {},
    });
  }

  /** Listens, and reconnects if the connection breaks. */
  listen(): void {
    const { onHint, log } = this.options;
    this.listener.listen(channel, (sender) => sender === this.sender || onHint(), onHint)
      .catch((failure: unknown) => log.warn("no hints from other servers", { failure: describeFailure(failure) }));
  }

  /** Sends a hint now, or one for all calls within {@link intervalMs}. */
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
      .catch((failure: unknown) => log.debug("hint not sent", { failure: describeFailure(failure) }))
      .finally(() =>
        setTimeout(() => {
          this.isPausing = false;
          if (this.isWanted) this.sendNow();
        }, intervalMs)
      );
  }
}
