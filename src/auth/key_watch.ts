/** Closes the WebSockets of an API key soon after any server revokes the key. */
import type { Kysely } from "kysely";
import type { Database } from "../database/connect.ts";
import { describeFailure, type Log } from "../log.ts";
import { listLiveApiKeys } from "./api_key_queries.ts";

export class KeyWatch {
  private readonly watched = new Map<number, Set<() => void>>();
  private timer: ReturnType<typeof setTimeout> | undefined;
  private isPolling = false;
  private isFailing = false;

  /** `pollMs` are the milliseconds between two polls of the watched keys. */
  constructor(private readonly options: { db: Kysely<Database>; log: Log; pollMs: number }) {}

  /** Calls `onEnd` after the key is revoked, unless the returned function is called first. */
  watch(keyId: number, onEnd: () => void): () => void {
    const ends = this.watched.get(keyId) ?? new Set();
    this.watched.set(keyId, ends.add(onEnd));
    this.schedule();
    return () => {
      ends.delete(onEnd);
      if (ends.size === 0 && this.watched.get(keyId) === ends) this.watched.delete(keyId);
      if (this.watched.size === 0) this.pause();
    };
  }

  /** Schedules the next poll, unless no key is watched. A running poll schedules the next one itself. */
  private schedule(): void {
    if (this.isPolling || this.watched.size === 0) return;
    this.timer ??= setTimeout(() => this.poll(), this.options.pollMs);
  }

  private pause(): void {
    clearTimeout(this.timer);
    this.timer = undefined;
  }

  private async poll(): Promise<void> {
    this.timer = undefined;
    this.isPolling = true;
    try {
      const ids = [...this.watched.keys()];
      const live = new Set(await listLiveApiKeys(this.options.db, ids));
      this.isFailing = false;
      for (const id of ids) if (!live.has(id)) this.end(id);
    } catch (failure) {
      // No socket is closed. The next poll also finds the keys that this one missed.
      if (!this.isFailing && this.watched.size > 0) {
        this.options.log.error("API keys cannot be polled", { failure: describeFailure(failure) });
        this.isFailing = true;
      }
    } finally {
      this.isPolling = false;
      this.schedule();
    }
  }

  private end(id: number): void {
    const ends = this.watched.get(id) ?? [];
    this.watched.delete(id);
    for (const end of ends) end();
  }
}
