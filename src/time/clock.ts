/** The domain's only source of the current time, so that tests and the sandbox can set it. */
export interface Clock {
  /** The current instant, to the millisecond. */
  now(): Date;
}

/** The machine's clock. */
export const systemClock: Clock = { now: () => new Date() };
