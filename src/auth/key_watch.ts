/** Ends what was opened with an API key, such as a WebSocket, soon after the key is revoked, on whatever server. */
import type { Kysely } from "kysely";
import type { Database } from "../database/connect.ts";
import { describeFailure, type Log } from "../log.ts";
import { listLiveApiKeys } from "./api_key_queries.ts";

/** Milliseconds between two looks at the keys that are watched. */
const intervalMs = 500;

export class KeyWatch {
  private readonly watched = new Map<number, Set<() => void>>();
  private timer: ReturnType<typeof setTimeout> | undefined;
  private isLooking = false;
  private isFailing = false;

  constructor(private readonly options: { db: Kysely<Database>; log: Log }) {}

  /** Calls `onEnd` once the key is found to be revoked, unless the returned function was called before. */
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

  /** The next look, unless there is nothing to look at, or one is under way that will see to it. */
  private schedule(): void {
    if (this.isLooking || this.watched.size === 0) return;
    this.timer ??= setTimeout(() => this.look(), intervalMs);
  }

  private pause(): void {
    clearTimeout(this.timer);
    this.timer = undefined;
  }

  private async look(): Promise<void> {
    this.timer = undefined;
    this.isLooking = true;
    try {
      const ids = [...this.watched.keys()];
      const live = new Set(await listLiveApiKeys(this.options.db, ids));
      this.isFailing = false;
      for (const id of ids) if (!live.has(id)) this.end(id);
    } catch (failure) {
      // Nobody is let go, and the next look sees what this one did not.
      if (!this.isFailing && this.watched.size > 0) {
        this.options.log.error("API keys cannot be looked at", { failure: describeFailure(failure) });
        this.isFailing = true;
      }
    } finally {
      this.isLooking = false;
      this.schedule();
    }
  }

  private end(id: number): void {
    const ends = this.watched.get(id) ?? [];
    this.watched.delete(id);
    for (const end of ends) end();
  }
}
