/** A clock for the SDK that a test controls. */
import assert from "node:assert/strict";
import { systemTiming, type Timing } from "../../src/client/timing.ts";
import { Changes } from "./changes.ts";

interface Timer {
  ms: number;
  callback: () => void;
}

/** Pauses take no time, unless the test holds them. Other timers fire only if the test fires them. */
export class ManualTiming implements Timing {
  /** All pauses so far, in milliseconds. */
  readonly pausesMs: number[] = [];
  /** The result of `random`. */
  fraction = 0;
  #nowMs = Date.UTC(2026, 2, 2, 10);
  #released = AbortSignal.abort();
  #release = () => {};
  readonly #timers = new Set<Timer>();
  readonly #changes = new Changes();

  readonly now = (): number => this.#nowMs;

  readonly random = (): number => this.fraction;

  readonly sleep = async (ms: number, signal: AbortSignal): Promise<void> => {
    signal.throwIfAborted();
    this.pausesMs.push(ms);
    this.#nowMs += ms;
    this.#changes.notify();
    const released = this.#released;
    if (released.aborted) return;
    try {
      await systemTiming.sleep(2 ** 30, AbortSignal.any([signal, released]));
    } catch {
      signal.throwIfAborted();
    }
  };

  readonly startTimer = (ms: number, callback: () => void): () => void => {
    const timer = { ms, callback };
    this.#timers.add(timer);
    this.#changes.notify();
    return () => this.#timers.delete(timer);
  };

  /** Number of timers that neither fired nor were cancelled. */
  get timers(): number {
    return this.#timers.size;
  }

  /** Makes pauses last until `release`. */
  hold(): void {
    const controller = new AbortController();
    this.#released = controller.signal;
    this.#release = () => controller.abort();
  }

  /** Ends all pauses, and makes later pauses take no time. */
  release(): void {
    this.#release();
  }

  /** Waits for this number of pauses since the start. */
  async untilPauses(count: number): Promise<void> {
    await this.#changes.until(() => this.pausesMs.length >= count, () => `${count} pauses, not ${this.pausesMs}`);
  }

  /** Waits for a timer of `ms` milliseconds and lets it fire. */
  async fire(ms: number): Promise<void> {
    const find = () => [...this.#timers].find((timer) => timer.ms === ms);
    await this.#changes.until(() => find() !== undefined, () => `a timer of ${ms} ms`);
    const timer = find();
    assert(timer);
    this.#timers.delete(timer);
    this.#nowMs += ms;
    timer.callback();
  }
}
