/** Reading of JSON bodies, before the contract's schemas look at them. */
import type { HonoRequest } from "hono";
import { invalidFields, Problem } from "../contract/problems.ts";
import type { Deadlines } from "./deadlines.ts";

/** Bytes. More is answered `body_too_large`. */
export const bodyLimit = 65_536;
/** Levels of nesting that Postgres and our own code take without effort; the contract itself needs three. */
const depthLimit = 32;

/** Milliseconds within which a body has to arrive. */
const arrivalLimitMs = 10_000;

/**
 * Reads and parses the body, leaves it where Hono's validators look for it, so that it is parsed once, and returns it as it
 * came.
 *
 * @throws {Problem} `unsupported_media_type`, `body_too_large`, `request_timeout`, `malformed_json`, or `validation_failed` for text that
 * Postgres cannot store (NUL, lone surrogates) and for nesting beyond {@link depthLimit}.
 */
export async function readJsonBody(request: HonoRequest, deadlines: Deadlines): Promise<string> {
  if (!/^application\/json(;\s*[\w-]+=[^;]+)*$/i.test(request.header("Content-Type") ?? "")) {
    throw new Problem("unsupported_media_type", "Send the body as `Content-Type: application/json`.");
  }
  const text = await readText(request.raw, deadlines);
  const parsed = parseJson(text);
  assertStorable(parsed, []);
  request.bodyCache.json = Promise.resolve(parsed);
  return text;
}

/**
 * Reads a body as it came.
 *
 * @throws {Problem} `body_too_large`, `request_timeout`, or `malformed_json` when it breaks off or is not UTF-8.
 */
export async function readText(request: Request, deadlines: Deadlines): Promise<string> {
  const tooLarge = new Problem("body_too_large", `The body is over ${bodyLimit} bytes.`);
  if (Number(request.headers.get("Content-Length") ?? 0) > bodyLimit) throw tooLarge;
  const chunks: Uint8Array<ArrayBuffer>[] = [];
  let size = 0;
  const reader = request.body?.getReader();
  const receive = async () => {
    for (;;) {
      const { value: chunk } = await reader?.read() ?? {};
      if (chunk === undefined) return;
      size += chunk.byteLength;
      if (size > bodyLimit) throw tooLarge;
      chunks.push(chunk);
    }
  };
  try {
    await deadlines.within(receive(), { limitMs: arrivalLimitMs, late: bodyIsLate });
  } catch (failure) {
    // What is still on its way is not waited for.
    reader?.cancel().catch(() => {});
    // The client went away while it was sending; nobody reads this answer.
    throw failure instanceof Problem
      ? failure
      : new Problem("malformed_json", "The body did not arrive.", { cause: failure });
  }
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(await new Blob(chunks).arrayBuffer());
  } catch {
    throw new Problem("malformed_json", "The body is not valid UTF-8.");
  }
}

function bodyIsLate(): Problem {
  return new Problem("request_timeout", `The body did not arrive within ${arrivalLimitMs / 1_000} seconds.`);
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw new Problem("malformed_json", "The body is not valid JSON.");
  }
}

/** @throws {Problem} `validation_failed` for a NUL in a query parameter, which Postgres takes in no text. */
export function assertStorableQuery(query: Record<string, string>): void {
  for (const [path, text] of Object.entries(query)) {
    if (text.includes("\0")) {
      throw invalidFields([{ in: "query", path, message: "must not contain the NUL character" }]);
    }
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
