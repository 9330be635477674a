import { Problem } from "../contract/problems.ts";

/**
 * Tracks the requests that are still arriving, and refuses new ones before a shutdown. `Deno.serve` drops arriving bodies
 * when it shuts down (denoland/deno#36809), so the server awaits them first.
 */
export class Intake {
  private isClosed = false;
  private readonly arriving = new Set<Promise<void>>();
  private readonly end = Promise.withResolvers<never>();

  constructor() {
    // It may reject while no request is arriving.
    this.end.promise.catch(() => {});
  }

  /** @throws {Problem} `service_unavailable` after `close`. */
  assertOpen(): void {
    if (this.isClosed) throw closed();
  }

  /**
   * Tracks a request until `request` resolves, when its body has arrived.
   *
   * @throws {Problem} `service_unavailable` if it does not arrive within the limit of `close`.
   */
  async receive(request: Promise<void>): Promise<void> {
    this.arriving.add(request);
    await Promise.race([request, this.end.promise]).finally(() => this.arriving.delete(request));
  }

  /** Refuses new requests. Resolves after the arriving ones are complete, or were refused after `limitMs`. */
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
