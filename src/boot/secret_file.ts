/**
 * Returns the secret in `file`, 64 hexadecimal digits. Creates it if missing, readable by its owner only.
 *
 * Creation is atomic: several processes that start at once all get the same secret.
 */
export async function readOrMakeSecret(file: string): Promise<string> {
  const stored = await Deno.readTextFile(file).catch((failure: unknown) => {
    if (failure instanceof Deno.errors.NotFound) return undefined;
    throw failure;
  });
  if (stored !== undefined) return stored.trim();
  const draft = `${file}.${crypto.randomUUID()}`;
  const secret = crypto.getRandomValues(new Uint8Array(32)).toHex();
  await Deno.writeTextFile(draft, secret, { mode: 0o600, createNew: true });
  try {
    await Deno.link(draft, file);
    return secret;
  } catch (failure) {
    if (!(failure instanceof Deno.errors.AlreadyExists)) throw failure;
    return (await Deno.readTextFile(file)).trim();
  } finally {
    await Deno.remove(draft);
  }
}
