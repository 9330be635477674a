import { Problem } from "../contract/problems.ts";

/**
 * Which requests a server is still receiving, and whether it takes new ones. Deno cuts off bodies that are on their way
 * when a server shuts down (denoland/deno#36809), so they are awaited before it is told to.
 */
export class Intake {
  private isClosed = false;
  private readonly arriving = new Set<Promise<void>>();
  private readonly end = Promise.withResolvers<never>();

  constructor() {
    // It may come when no request is waiting for it.
    this.end.promise.catch(() => {});
  }

  /** @throws {Problem} `service_unavailable` when no new requests are taken. */
  assertOpen(): void {
    if (this.isClosed) throw closed();
  }

  /**
   * Follows a request until it has been received.
   *
   * @throws {Problem} `service_unavailable` when it has not arrived in time.
   */
  async receive(request: Promise<void>): Promise<void> {
    this.arriving.add(request);
    await Promise.race([request, this.end.promise]).finally(() => this.arriving.delete(request));
  }

  /** Refuses new requests. Resolves when those on their way have arrived, or were given up after `limitMs`. */
  async close(limitMs: number): Promise<void> {
    this.isClosed = true;
    const limit = setTimeout(() => this.end.reject(closed()), limitMs);
    await Promise.race([Promise.allSettled(this.arriving), this.end.promise.catch(() => {})]);
    clearTimeout(limit);
  }
}

function closed(): Problem {
  return new Problem("service_unavailable", "The server is shutting down. Try again in a moment.");
}
