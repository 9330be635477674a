/** Waiting before another attempt. */

/** Milliseconds. */
const longestDelayMs = 10_000;
const firstDelayMs = 250;

/**
 * How long to wait before the next attempt, in milliseconds: twice as long after each one that failed, up to 10 seconds, of
 * which half is left to chance, so that clients which failed together do not come back together.
 */
export function backoffMs(failures: number): number {
  const delay = Math.min(longestDelayMs, firstDelayMs * 2 ** failures);
  return delay / 2 + Math.random() * delay / 2;
}

/** Waits. Rejects with the reason as soon as `signal` is aborted. */
export function sleep(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    signal.throwIfAborted();
    const wake = () => {
      clearTimeout(timer);
      signal.removeEventListener("abort", wake);
      if (signal.aborted) reject(signal.reason);
      else resolve();
    };
    const timer = setTimeout(wake, ms);
    signal.addEventListener("abort", wake);
  });
}
