import { Problem } from "../contract/problems.ts";
import { InFlight } from "./in_flight.ts";

interface Arrival {
  /** Settles when the request has arrived or was refused. */
  end: Promise<unknown>;
  refuse(): void;
}

/**
 * Tracks the requests that are still arriving, and refuses new ones before a shutdown. `Deno.serve` drops arriving bodies
 * when it shuts down (denoland/deno#36809), so the server awaits them first.
 */
export class Intake {
  private isClosed = false;
  private readonly arriving = new InFlight<Arrival>();

  /** @throws {Problem} `service_unavailable` after `close`. */
  assertOpen(): void {
    if (this.isClosed) throw closed();
  }

  /**
   * Tracks a request until `body` resolves, and returns its value.
   *
   * @throws {Problem} `service_unavailable` if it does not resolve within the limit of `close`.
   */
  async receive<Body>(body: Promise<Body>): Promise<Body> {
    // A race with one promise for all requests would keep every request in memory.
    const { promise, resolve, reject } = Promise.withResolvers<Body>();
    const arrival = this.arriving.add({ end: promise, refuse: () => reject(closed()) });
    body.then(resolve, reject);
    try {
      return await promise;
    } finally {
      this.arriving.delete(arrival);
    }
  }

  /** Refuses new requests. Resolves after the arriving ones are complete, or were refused after `limitMs`. */
  async close(limitMs: number): Promise<void> {
    this.isClosed = true;
    const limit = setTimeout(() => this.arriving.all().forEach(({ item }) => item.refuse()), limitMs);
    await Promise.allSettled(this.arriving.all().map(({ item }) => item.end));
    clearTimeout(limit);
  }
}

function closed(): Problem {
  return new Problem("service_unavailable", "The server is shutting down. Try again in a moment.");
}
