/**
 * Stops the machine's time at `ms` (epoch milliseconds) until disposed. Tokens, API keys and tickets expire by this time, not
 * by the domain's clock. It replaces the global `Date`, so use it inside one test only.
 */
export function machineTimeAt(ms: number): Disposable {
  const RealDate = Date;
  globalThis.Date = class extends RealDate {
    constructor(...args: [] | [number]) {
      super(...(args.length === 0 ? [ms] as const : args));
    }
    static override now(): number {
      return ms;
    }
    /** Dates made before the replacement are instances as well. */
    static override [Symbol.hasInstance](value: unknown): boolean {
      return value instanceof RealDate;
    }
  } as DateConstructor;
  return { [Symbol.dispose]: () => void (globalThis.Date = RealDate) };
}

export interface StoppedTime extends Disposable {
  moveAhead(ms: number): void;
}

/** Stops the machine's monotonic time (`performance.now()`) until it is disposed of. Caches expire by it. */
export function stopMonotonicTime(): StoppedTime {
  const { now } = performance;
  // Whole milliseconds, whose differences are exact.
  let time = Math.floor(now.call(performance));
  performance.now = () => time;
  return { moveAhead: (ms) => void (time += ms), [Symbol.dispose]: () => void (performance.now = now) };
}
