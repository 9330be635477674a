/** Reads JSON bodies, before the schemas of the contract validate them. */
import { Buffer } from "node:buffer";
import { invalidFields, Problem } from "../contract/problems.ts";
import type { Deadlines } from "./deadlines.ts";

/** Bytes. A larger body is refused with `body_too_large`. */
export const bodyLimit = 65_536;
/** Levels of nesting. Postgres and our code handle them easily, and the contract needs three. */
const depthLimit = 32;

/** Milliseconds in which a body must arrive. */
const arrivalLimitMs = 10_000;

const jsonType = /^application\/json(;\s*[\w-]+=[^;]+)*$/i;
const utf8 = new TextDecoder("utf-8", { fatal: true });

/**
 * Reads the text of a JSON body.
 *
 * @throws {Problem} `unsupported_media_type`, or those of {@link readText}.
 */
export function readJsonText(request: Request, deadlines: Deadlines): Promise<string> {
  if (!jsonType.test(request.headers.get("Content-Type") ?? "")) {
    throw new Problem("unsupported_media_type", "Send the body as `Content-Type: application/json`.");
  }
  return readText(request, deadlines);
}

/**
 * Reads the text of a body.
 *
 * @throws {Problem} `body_too_large`, `request_timeout`, or `malformed_json` if it is incomplete or not UTF-8.
 */
export async function readText(request: Request, deadlines: Deadlines): Promise<string> {
  if (Number(request.headers.get("Content-Length") ?? 0) > bodyLimit) throw bodyIsTooLarge();
  const reader = request.body?.getReader();
  if (reader === undefined) return "";
  let bytes: Uint8Array;
  try {
    bytes = await deadlines.within(receive(reader), { limitMs: arrivalLimitMs, late: bodyIsLate });
  } catch (failure) {
    // The rest of the body is not awaited.
    reader.cancel().catch(() => {});
    // The client disconnected, so it never reads this answer.
    throw failure instanceof Problem
      ? failure
      : new Problem("malformed_json", "The body is incomplete. Send it again.", { cause: failure });
  }
  try {
    return utf8.decode(bytes);
  } catch {
    throw new Problem("malformed_json", "The body is not valid UTF-8.");
  }
}

/** Returns the bytes of a body. */
async function receive(reader: ReadableStreamDefaultReader<Uint8Array<ArrayBuffer>>): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  for (;;) {
    const { value: chunk } = await reader.read();
    if (chunk === undefined) break;
    size += chunk.length;
    if (size > bodyLimit) throw bodyIsTooLarge();
    chunks.push(chunk);
  }
  return Buffer.concat(chunks, size);
}

function bodyIsTooLarge(): Problem {
  return new Problem("body_too_large", `The body is over ${bodyLimit} bytes.`);
}

function bodyIsLate(): Problem {
  return new Problem("request_timeout", `The body did not arrive within ${arrivalLimitMs / 1_000} seconds.`);
}

/**
 * Parses a JSON body. Postgres cannot store NUL and lone surrogates, so they are `validation_failed`. So is nesting
 * deeper than {@link depthLimit}.
 *
 * @throws {Problem} `malformed_json` or `validation_failed`.
 */
export function parseJsonBody(text: string): unknown {
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch {
    throw new Problem("malformed_json", "The body is not valid JSON.");
  }
  assertStorable(parsed, []);
  return parsed;
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
