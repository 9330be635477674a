/** Sweeps: regular work on due rows. */

/**
 * Works on due rows in chunks of `chunkSize`, one statement each, until a chunk is not full. `run` returns the number of
 * due rows in its chunk, or 0 if it changed none. It skips rows that another server has locked; the next sweep finds what
 * is left.
 */
export async function sweepInChunks(chunkSize: number, run: (limit: number) => Promise<number>): Promise<void> {
  while (await run(chunkSize) === chunkSize);
}
