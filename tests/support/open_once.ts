/**
 * Returns a function that opens something at its first use. The end of the shard closes it. A hook in a test file would open
 * it for all files of the shard, and run for their tests.
 */
export function openOnce<Resource extends AsyncDisposable>(open: () => Promise<Resource>): () => Promise<Resource> {
  let opened: Promise<Resource> | undefined;
  Deno.test.afterAll(async () => {
    // The tests have reported a failure to open.
    await opened?.then((resource) => resource[Symbol.asyncDispose](), () => {});
    opened = undefined;
  });
  return () => opened ??= open();
}
