/** Reading of JSON bodies, before the contract's schemas look at them. */
import type { HonoRequest } from "hono";
import { invalidFields, Problem } from "../problems.ts";

/** Bytes. More is answered `body_too_large`. */
export const bodyLimit = 65_536;
/** Levels of nesting that Postgres and our own code take without effort; the contract itself needs three. */
const depthLimit = 32;

/**
 * Reads and parses the body and leaves it where Hono's validators look for it, so that it is parsed once.
 *
 * @throws {Problem} `unsupported_media_type`, `body_too_large`, `malformed_json`, or `validation_failed` for text that
 * Postgres cannot store (NUL, lone surrogates) and for nesting beyond {@link depthLimit}.
 */
export async function readJsonBody(request: HonoRequest): Promise<void> {
  if (!/^application\/json(;\s*[\w-]+=[^;]+)*$/i.test(request.header("Content-Type") ?? "")) {
    throw new Problem("unsupported_media_type", "Send the body as `Content-Type: application/json`.");
  }
  const parsed = parseJson(await readText(request.raw));
  assertStorable(parsed, []);
  request.bodyCache.json = Promise.resolve(parsed);
}

/**
 * Reads a body as it came.
 *
 * @throws {Problem} `body_too_large`, or `malformed_json` when it breaks off or is not UTF-8.
 */
export async function readText(request: Request): Promise<string> {
  const tooLarge = new Problem("body_too_large", `The body is over ${bodyLimit} bytes.`);
  if (Number(request.headers.get("Content-Length") ?? 0) > bodyLimit) throw tooLarge;
  const chunks: Uint8Array<ArrayBuffer>[] = [];
  let size = 0;
  try {
    for await (const chunk of request.body ?? []) {
      size += chunk.byteLength;
      if (size > bodyLimit) throw tooLarge;
      chunks.push(chunk);
    }
  } catch (failure) {
    // The client went away while it was sending; nobody reads this answer.
    throw failure === tooLarge
      ? failure
      : new Problem("malformed_json", "The body did not arrive.", { cause: failure });
  }
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(await new Blob(chunks).arrayBuffer());
  } catch {
    throw new Problem("malformed_json", "The body is not valid UTF-8.");
  }
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw new Problem("malformed_json", "The body is not valid JSON.");
  }
}

function assertStorable(value: unknown, path: string[]): void {
  const refuse = (at: string[], message: string) => invalidFields([{ in: "body", path: at.join("."), message }]);
  if (typeof value === "string" && (value.includes("\0") || !value.isWellFormed())) {
    throw refuse(path, "must not contain the NUL character or half of a surrogate pair");
  }
  if (typeof value !== "object" || value === null) return;
  if (path.length === depthLimit) throw refuse(path, `must not be nested more than ${depthLimit} levels deep`);
  for (const [key, child] of Object.entries(value)) {
    const at = [...path, key];
    // Copying an object would drop this key in silence.
    if (key === "__proto__") throw refuse(at, "is not known here");
    assertStorable(key, path);
    assertStorable(child, at);
  }
}
