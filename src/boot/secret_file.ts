import { resolve } from "node:path";
import { ConfigError } from "../config.ts";

/** Characters. A disk that was full, or a broken copy, leaves an empty file. */
const leastLength = 32;

/**
 * Returns the secret in `file`, 64 hexadecimal digits. Creates it if missing, readable by its owner only.
 *
 * Creation is atomic: several processes that start at once all get the same secret.
 *
 * @throws {ConfigError} if the file holds no secret.
 */
export async function readOrMakeSecret(file: string): Promise<string> {
  const stored = await Deno.readTextFile(file).catch((failure: unknown) => {
    if (failure instanceof Deno.errors.NotFound) return undefined;
    throw failure;
  });
  if (stored !== undefined) return checked(stored, file);
  const draft = `${file}.${crypto.randomUUID()}`;
  const secret = crypto.getRandomValues(new Uint8Array(32)).toHex();
  try {
    await Deno.writeTextFile(draft, secret, { mode: 0o600, createNew: true });
    await Deno.link(draft, file);
    return secret;
  } catch (failure) {
    if (!(failure instanceof Deno.errors.AlreadyExists)) throw failure;
    return checked(await Deno.readTextFile(file), file);
  } finally {
    await Deno.remove(draft).catch((failure: unknown) => {
      // It was never written. The failure of that is thrown.
      if (!(failure instanceof Deno.errors.NotFound)) throw failure;
    });
  }
}

function checked(stored: string, file: string): string {
  const secret = stored.trim();
  if (secret.length >= leastLength) return secret;
  const advice = "Restore the file, or choose another folder to start anew.";
  throw new ConfigError(`DATA_DIR: ${resolve(file)} is empty or damaged. ${advice}`);
}
