/** Time of the limits for a payment provider's answers, moved by a test. */
import { providerLimitMs } from "../../src/payments/ask.ts";
import { attemptLimitMs } from "../../src/payments/stripe.ts";
import { eventually } from "./process.ts";
import type { StripeFault, StripeStandIn } from "./stripe_stand_in.ts";

export interface ProviderTime extends Disposable {
  /** Milliseconds that have passed. */
  readonly nowMs: number;
  /** Lets time pass. Fires the limits that end within it, in their order. */
  pass(ms: number): void;
  /**
   * Ends the attempts of `count` requests that meet a `slow` or `drip` fault, as soon as all of them wait. Their retries are
   * ended too. `check` runs while the first attempts wait.
   */
  endAttempts(fault: StripeFault, options?: { count?: number; check?: () => Promise<void> }): Promise<void>;
}

/**
 * Stops the timers of `askProvider` and of Stripe's package until disposed. Other timers run as usual. It replaces globals, so
 * use it inside one test only.
 */
export function stopProviderTime(stripe: StripeStandIn): ProviderTime {
  const { setTimeout: startTimer, clearTimeout: clearTimer } = globalThis;
  const { text: readText } = Response.prototype;
  const limits = new Map<unknown, { endMs: number; fire: () => void }>();
  const earlierRequests = stripe.requests.length;
  let unfinishedBodies = 0;
  let nowMs = 0;

  const stoppedTimer = (handler: (...args: unknown[]) => void, ms?: number, ...args: unknown[]) => {
    if (ms !== providerLimitMs && ms !== attemptLimitMs) return startTimer(handler, ms, ...args);
    // A cleared timer serves as the handle.
    const timer = startTimer(() => {});
    clearTimer(timer);
    limits.set(timer, { endMs: nowMs + ms, fire: () => handler(...args) });
    return timer;
  };
  // Node's and the web's types of timers differ.
  globalThis.setTimeout = stoppedTimer as unknown as typeof setTimeout;
  globalThis.clearTimeout = (timer) => {
    if (!limits.delete(timer)) clearTimer(timer);
  };
  Response.prototype.text = function () {
    const text = readText.call(this);
    if (!this.url.startsWith(stripe.url)) return text;
    unfinishedBodies++;
    return text.finally(() => unfinishedBodies--);
  };

  const countRequests = ({ on = /./ }: StripeFault) =>
    stripe.requests.slice(earlierRequests).filter(({ method, path }) => on.test(`${method} ${path}`)).length;
  const time: ProviderTime = {
    get nowMs() {
      return nowMs;
    },
    pass(ms) {
      nowMs += ms;
      const ended = [...limits].filter(([, { endMs }]) => endMs <= nowMs).toSorted(([, a], [, b]) => a.endMs - b.endMs);
      for (const [timer, { fire }] of ended) {
        if (limits.delete(timer)) fire();
      }
    },
    async endAttempts(fault, { count = 1, check = () => Promise.resolve() } = {}) {
      if (fault.kind !== "slow" && fault.kind !== "drip") return await check();
      // The package does not retry after headers have arrived.
      const attempts = fault.kind === "slow" ? Math.min(2, fault.times ?? 2) : 1;
      for (let attempt = 1; attempt <= attempts; attempt++) {
        await eventually(() =>
          // An earlier request may still be reading its own body, which ends.
          Promise.resolve(
            countRequests(fault) === count * attempt && (fault.kind === "slow" || unfinishedBodies === count),
          )
        );
        if (attempt === 1) await check();
        time.pass(attemptLimitMs);
      }
    },
    [Symbol.dispose]() {
      Object.assign(globalThis, { setTimeout: startTimer, clearTimeout: clearTimer });
      Response.prototype.text = readText;
    },
  };
  return time;
}
