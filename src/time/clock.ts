/** The only source of "now" for the domain, so that tests and the sandbox can hold it in their hand. */
export interface Clock {
  /** The present instant, to the millisecond. */
  now(): Date;
}

/** The machine's clock. */
export const systemClock: Clock = { now: () => new Date() };
