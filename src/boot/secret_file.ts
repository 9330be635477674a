/**
 * A secret of 64 hexadecimal digits in a file that only its owner may read, made when missing. It appears whole or not at
 * all, and of several that make it at once all get the same.
 */
export async function readOrMakeSecret(file: string): Promise<string> {
  const kept = await Deno.readTextFile(file).catch((failure: unknown) => {
    if (failure instanceof Deno.errors.NotFound) return undefined;
    throw failure;
  });
  if (kept !== undefined) return kept.trim();
  const mine = `${file}.${crypto.randomUUID()}`;
  const secret = crypto.getRandomValues(new Uint8Array(32)).toHex();
  await Deno.writeTextFile(mine, secret, { mode: 0o600, createNew: true });
  try {
    await Deno.link(mine, file);
    return secret;
  } catch (failure) {
    if (!(failure instanceof Deno.errors.AlreadyExists)) throw failure;
    return (await Deno.readTextFile(file)).trim();
  } finally {
    await Deno.remove(mine);
  }
}
