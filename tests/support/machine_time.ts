/**
 * Has the machine's time stand still at `ms` until it is disposed of. Tokens, API keys and tickets live by it, and a test
 * cannot move it but by standing in for it.
 */
export function machineTimeAt(ms: number): Disposable {
  const Today = Date;
  globalThis.Date = class extends Today {
    constructor(...given: [] | [number]) {
      super(...(given.length === 0 ? [ms] as const : given));
    }
    static override now(): number {
      return ms;
    }
    /** Also of those that were made before. */
    static override [Symbol.hasInstance](value: unknown): boolean {
      return value instanceof Today;
    }
  } as DateConstructor;
  return { [Symbol.dispose]: () => void (globalThis.Date = Today) };
}
