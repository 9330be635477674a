/** Reads JSON bodies, before the schemas of the contract validate them. */
import type { HonoRequest } from "hono";
import { invalidFields, Problem } from "../contract/problems.ts";
import type { Deadlines } from "./deadlines.ts";

/** Bytes. A larger body is refused with `body_too_large`. */
export const bodyLimit = 65_536;
/** Levels of nesting. Postgres and our code handle them easily, and the contract needs three. */
const depthLimit = 32;

/** Milliseconds in which a body must arrive. */
const arrivalLimitMs = 10_000;

/**
 * Reads and parses the body, and returns its text. Stores the parsed body for Hono's validators, so that it is parsed
 * once.
 *
 * Postgres cannot store NUL and lone surrogates, so they are `validation_failed`. So is nesting deeper than
 * {@link depthLimit}.
 *
 * @throws {Problem} `unsupported_media_type`, `body_too_large`, `request_timeout`, `malformed_json`, `validation_failed`.
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
 * Reads the text of a body.
 *
 * @throws {Problem} `body_too_large`, `request_timeout`, or `malformed_json` if it is incomplete or not UTF-8.
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
    // The rest of the body is not awaited.
    reader?.cancel().catch(() => {});
    // The client disconnected, so it never reads this answer.
    throw failure instanceof Problem
      ? failure
      : new Problem("malformed_json", "The body is incomplete. Send it again.", { cause: failure });
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

/** @throws {Problem} `validation_failed` for a NUL in a query parameter, because Postgres cannot store it. */
export function assertStorableQuery(query: Record<string, string>): void {
  for (const [path, text] of Object.entries(query)) {
    if (text.includes("\0")) {
      throw invalidFields([{ in: "query", path, message: "must not contain the NUL character" }]);
    }
  }
}

function assertStorable(value: unknown, path: string[]): void {
  const invalidAt = (at: string[], message: string) => invalidFields([{ in: "body", path: at.join("."), message }]);
  if (typeof value === "string" && (value.includes("\0") || !value.isWellFormed())) {
    throw invalidAt(path, "must not contain the NUL character or half of a surrogate pair");
  }
  if (typeof value !== "object" || value === null) return;
  if (path.length === depthLimit) throw invalidAt(path, `must not be nested more than ${depthLimit} levels deep`);
  for (const [key, child] of Object.entries(value)) {
    const at = [...path, key];
    // A copy of the object would lose this key without an error.
    if (key === "__proto__") throw invalidAt(at, "is not known here");
    assertStorable(key, path);
    assertStorable(child, at);
  }
}
