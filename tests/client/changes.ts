/** Waiting for a condition that another part of a test makes true. */

/** Fails a test that hangs. */
const hungMs = 60_000;

export class Changes {
  #next = Promise.withResolvers<void>();

  /** Checks the conditions again. */
  notify(): void {
    this.#next.resolve();
    this.#next = Promise.withResolvers();
  }

  /** Waits until `isMet`. A test that hangs fails with `describe()`. */
  async until(isMet: () => boolean, describe: () => string): Promise<void> {
    const hung = Promise.withResolvers<never>();
    const timer = setTimeout(() => hung.reject(new Error(`still waiting: ${describe()}`)), hungMs);
    try {
      while (!isMet()) await Promise.race([this.#next.promise, hung.promise]);
    } finally {
      clearTimeout(timer);
    }
  }
}
