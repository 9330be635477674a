/**
 * The client of the benchmarks, a process of its own: `load.ts` starts it. It reads orders from standard input, one JSON
 * document a line, and prints a report for each.
 *
 * It writes bytes to TCP connections and reads the status and the length of answers. So it costs less than `fetch`.
 */
import { readLines } from "./lines.ts";

export interface Order {
  port: number;
  connections: number;
  /** HTTP requests as text. */
  requests: string[];
  /** Sends the requests again and again for this time. Without it, sends each once. */
  ms: number | undefined;
}

export interface Report {
  requests: number;
  ms: number;
  /** Milliseconds. */
  p50: number;
  p99: number;
  failures: number;
  /** Status and body of the first answer that is not 2xx. */
  firstFailure: string | undefined;
}

const encoder = new TextEncoder();
const decoder = new TextDecoder();
/** Largest answer, in bytes. */
const bufferBytes = 1024 * 1024;

async function run({ port, connections, requests, ms }: Order): Promise<Report> {
  const messages = requests.map((text) => encoder.encode(text));
  const opened = await Promise.all(
    Array.from({ length: connections }, () => Deno.connect({ hostname: "127.0.0.1", port, transport: "tcp" })),
  );
  for (const connection of opened) connection.setNoDelay(true);
  const times: number[] = [];
  let failures = 0;
  let firstFailure: string | undefined;
  let sent = 0;
  const startedAt = performance.now();
  const deadline = startedAt + (ms ?? Infinity);

  await Promise.all(opened.map(async (connection) => {
    const buffer = new Uint8Array(bufferBytes);
    for (;;) {
      const sentAt = performance.now();
      if (ms === undefined ? sent === messages.length : sentAt >= deadline) return;
      const message = messages[sent++ % messages.length];
      if (message === undefined) return;
      await writeAll(connection, message);
      const { status, end } = await readAnswer(connection, buffer);
      times.push(performance.now() - sentAt);
      if (status >= 200 && status < 300) continue;
      failures++;
      firstFailure ??= decoder.decode(buffer.subarray(0, end));
    }
  }));

  const elapsed = performance.now() - startedAt;
  for (const connection of opened) connection.close();
  const sorted = Float64Array.from(times).sort();
  const at = (part: number) => sorted[Math.ceil(sorted.length * part) - 1] ?? NaN;
  return { requests: times.length, ms: elapsed, p50: at(0.5), p99: at(0.99), failures, firstFailure };
}

async function writeAll(connection: Deno.Conn, message: Uint8Array<ArrayBuffer>): Promise<void> {
  for (let done = 0; done < message.length;) done += await connection.write(message.subarray(done));
}

/** Reads one answer into `buffer`. `end` is its length. */
async function readAnswer(connection: Deno.Conn, buffer: Uint8Array): Promise<{ status: number; end: number }> {
  let filled = 0;
  let end = Infinity;
  while (filled < end) {
    const read = await connection.read(buffer.subarray(filled));
    if (read === null) throw new Error("the server closed a connection");
    filled += read;
    if (end === Infinity) end = endOfAnswer(buffer, filled) ?? Infinity;
  }
  // HTTP/1.1 200: the digits are bytes 9 to 11.
  return { status: digits(buffer, 9), end };
}

const [carriageReturn, lineFeed] = [13, 10];
const lengthName = encoder.encode("\r\ncontent-length:");
/** Turns an upper-case letter into lower case. The hyphen and the colon have this bit already. */
const lowerCase = 0x20;

const lastChunk = encoder.encode("\r\n0\r\n\r\n");

/** Returns the length of an answer with its headers, or undefined while it is not known. */
function endOfAnswer(buffer: Uint8Array, filled: number): number | undefined {
  let length: number | undefined;
  for (let index = 12; index + 3 < filled; index++) {
    if (buffer[index] !== carriageReturn) continue;
    if (buffer[index + 2] === carriageReturn && buffer[index + 3] === lineFeed) {
      // Without a length, the body is chunked.
      if (length === undefined) return endsWith(buffer.subarray(0, filled), lastChunk) ? filled : undefined;
      return index + 4 + length;
    }
    if (hasLengthName(buffer, index)) length = digits(buffer, index + lengthName.length);
  }
  return undefined;
}

function endsWith(bytes: Uint8Array, end: Uint8Array): boolean {
  return end.every((byte, index) => bytes[bytes.length - end.length + index] === byte);
}

function hasLengthName(buffer: Uint8Array, start: number): boolean {
  for (let index = 2; index < lengthName.length; index++) {
    if (((buffer[start + index] ?? 0) | lowerCase) !== lengthName[index]) return false;
  }
  return true;
}

/** The number at `start`, after spaces. */
function digits(buffer: Uint8Array, start: number): number {
  let number = 0;
  for (let index = start;; index++) {
    const digit = (buffer[index] ?? 0) - 48;
    if (digit >= 0 && digit <= 9) number = number * 10 + digit;
    else if (buffer[index] !== 32 || number > 0) return number;
  }
}

for await (const line of readLines(Deno.stdin.readable)) console.log(JSON.stringify(await run(JSON.parse(line))));
