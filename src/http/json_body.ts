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

/** Parameters, such as `charset`, mean nothing for JSON (RFC 8259, 11). */
const jsonType = /^application\/json[ \t]*(;|$)/i;
const utf8 = new TextDecoder("utf-8", { fatal: true });

/**
 * Reads the text of a JSON body.
 *
 * @throws {Problem} `unsupported_media_type`, or those of {@link readText}.
 */
export function readJsonText(request: Request, deadlines: Deadlines): Promise<string> {
  if (isEncoded(request)) {
    throw new Problem("unsupported_media_type", "Send the body without `Content-Encoding`.");
  }
  if (!jsonType.test(request.headers.get("Content-Type") ?? "")) {
    throw new Problem("unsupported_media_type", "Send the body as `Content-Type: application/json`.");
  }
  return readText(request, deadlines);
}

/** Returns whether the body is compressed (RFC 9110, 8.4). The server decodes no bodies. */
export function isEncoded({ headers }: Request): boolean {
  const coding = headers.get("Content-Encoding")?.trim().toLowerCase() ?? "";
  return coding !== "" && coding !== "identity";
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

/** A number of JSON with so many digits that a double may not hold it, or with an exponent. */
const mayLoseDigits = /\d[\d.]{15,}|\d[eE]/;

/** Marks a number of the body that a double does not hold. */
class InexactNumber {
  constructor(readonly source: string) {}
}

/** For `JSON.parse`: replaces each number that would become another one. */
function keepInexact(_key: string, value: unknown, { source = "" }: { source?: string } = {}): unknown {
  if (typeof value !== "number" || decimalOf(source) === decimalOf(String(value))) return value;
  return new InexactNumber(source);
}

/** Returns the digits and the exponent of a number, the same for each spelling: `1.50`, `1.5` and `15e-1`. */
function decimalOf(text: string): string {
  const [, whole = "", fraction = "", exponent = "0"] = /^-?(\d*)\.?(\d*)(?:[eE]([+-]?\d+))?$/.exec(text) ?? [];
  const digits = `${whole}${fraction}`.replace(/^0+/, "");
  const significant = digits.replace(/0+$/, "");
  return significant === ""
    ? "0"
    : `${significant}e${Number(exponent) - fraction.length + digits.length - significant.length}`;
}

/**
 * Parses a JSON body. Postgres cannot store NUL and lone surrogates, so they are `validation_failed`. So are numbers that a
 * double cannot hold, and nesting deeper than {@link depthLimit}.
 *
 * @throws {Problem} `malformed_json` or `validation_failed`.
 */
export function parseJsonBody(text: string): unknown {
  let parsed: unknown;
  try {
    parsed = mayLoseDigits.test(text) ? JSON.parse(text, keepInexact) : JSON.parse(text);
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
  if (value instanceof InexactNumber) {
    const shown = value.source.length > 40 ? `${value.source.slice(0, 40)}…` : value.source;
    throw invalidAt(path, `must be a number that a double can hold, not ${shown}. Send it as a text`);
  }
  if (path.length === depthLimit) throw invalidAt(path, `must not be nested more than ${depthLimit} levels deep`);
  for (const [key, child] of Object.entries(value)) {
    const at = [...path, key];
    // A copy of the object would lose this key without an error.
    if (key === "__proto__") throw invalidAt(at, "is not known here");
    assertStorable(key, path);
    assertStorable(child, at);
  }
}
