/**
 * The budget of property tests. `deno task test` runs each property a few times, `deno task test:long` at full size.
 *
 * A property test lives in a file `*_property_test.ts`: those files run in both tasks.
 */

/** Whether this is a run at full size (`FULL_PROPERTIES=1`). */
export const isFullSize = Deno.env.get("FULL_PROPERTIES") === "1";

/**
 * The number of runs of a property: `numRuns: runs(10, 150)`.
 *
 * @param small runs in `deno task test`; take what costs less than a second.
 * @param full runs in `deno task test:long`.
 */
export function runs(small: number, full: number): number {
  return isFullSize ? full : small;
}
