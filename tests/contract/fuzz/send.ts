/** Sends requests by `fetch`, and over TCP those that `fetch` would correct or refuse. */
import type { CallerName } from "./drafts.ts";
import { noHost } from "./faults.ts";
import type { FuzzRequest } from "./requests.ts";

export interface Answer {
  /** 0 when the connection was closed without an answer. */
  status: number;
  headers: Headers;
  body: Uint8Array<ArrayBuffer>;
}

export interface Target {
  hostname: string;
  port: number;
  tokens: Record<CallerName, string>;
  /** The payment provider's headers for a body. */
  sign(body: Uint8Array): Promise<Headers>;
}

export async function send(target: Target, request: FuzzRequest): Promise<Answer> {
  const headers = [...request.headers];
  if (request.caller !== "none") headers.push(["Authorization", `Bearer ${target.tokens[request.caller]}`]);
  if (request.isSigned && request.body !== undefined) {
    headers.push(...await target.sign(request.body));
  }
  return request.isRaw ? await overTcp(target, request, headers) : await byFetch(target, request, headers);
}

async function byFetch(
  { hostname, port }: Target,
  { method, target, body, isChunked }: FuzzRequest,
  headers: [string, string][],
): Promise<Answer> {
  const response = await fetch(`http://${hostname}:${port}${target}`, {
    method,
    headers,
    redirect: "manual",
    ...(body === undefined ? {} : { body: isChunked ? ReadableStream.from(halves(body)) : body }),
  });
  return { status: response.status, headers: response.headers, body: await response.bytes() };
}

function halves(body: Uint8Array<ArrayBuffer>): Uint8Array<ArrayBuffer>[] {
  const middle = body.length >> 1;
  return [body.subarray(0, middle), body.subarray(middle)].filter((half) => half.length > 0);
}

async function overTcp({ hostname, port }: Target, request: FuzzRequest, headers: [string, string][]): Promise<Answer> {
  const { method, target, httpVersion, isChunked, body } = request;
  const has = (wanted: string) => headers.some(([name]) => name === wanted);
  const lines = [
    `${method} ${target} ${httpVersion}`,
    ...(has("Host") ? [] : [`Host: ${hostname}:${port}`]),
    ...(has("Connection") ? [] : ["Connection: close"]),
    ...headers.filter(([, value]) => value !== noHost).map(([name, value]) => `${name}: ${value}`),
    ...(body === undefined ? [] : [isChunked ? "Transfer-Encoding: chunked" : `Content-Length: ${body.length}`]),
  ];
  const head = bytesOf(`${lines.join("\r\n")}\r\n\r\n`);
  const parts = body === undefined ? [] : isChunked ? [...halves(body).flatMap(chunk), bytesOf("0\r\n\r\n")] : [body];
  using connection = await Deno.connect({ hostname, port });
  const [received] = await Promise.all([
    receive(connection),
    // The server may answer and close the connection before it has read the request.
    write(connection, [head, ...parts]).catch(() => {}),
  ]);
  return parseAnswer(received);
}

function chunk(bytes: Uint8Array<ArrayBuffer>): Uint8Array<ArrayBuffer>[] {
  return [bytesOf(`${bytes.length.toString(16)}\r\n`), bytes, bytesOf("\r\n")];
}

/** Encodes characters up to U+00FF as one byte, others as UTF-8. */
function bytesOf(text: string): Uint8Array<ArrayBuffer> {
  const encoder = new TextEncoder();
  return Uint8Array.from(
    Array.from(text).flatMap((letter) => letter <= "\xff" ? [letter.charCodeAt(0)] : [...encoder.encode(letter)]),
  );
}

async function write(connection: Deno.TcpConn, parts: Uint8Array[]): Promise<void> {
  for (const part of parts) {
    for (let sent = 0; sent < part.length;) sent += await connection.write(part.subarray(sent));
  }
}

async function receive(connection: Deno.TcpConn): Promise<Uint8Array<ArrayBuffer>> {
  const parts: Uint8Array<ArrayBuffer>[] = [];
  const buffer = new Uint8Array(65_536);
  try {
    for (let count = await connection.read(buffer); count !== null; count = await connection.read(buffer)) {
      parts.push(buffer.slice(0, count));
    }
  } catch (failure) {
    // The server closed the connection with unread data. The answer so far counts.
    if (!(failure instanceof Deno.errors.ConnectionReset)) throw failure;
  }
  return new Uint8Array(await new Blob(parts).arrayBuffer());
}

function parseAnswer(bytes: Uint8Array<ArrayBuffer>): Answer {
  const text = new TextDecoder("latin1").decode(bytes);
  const end = text.indexOf("\r\n\r\n");
  const headers = new Headers();
  if (end === -1) return { status: 0, headers, body: bytes };
  const [first = "", ...fields] = text.slice(0, end).split("\r\n");
  for (const field of fields) {
    headers.append(field.slice(0, field.indexOf(":")), field.slice(field.indexOf(":") + 1).trim());
  }
  const status = Number(first.split(" ")[1]);
  const body = bytes.subarray(end + 4);
  return { status, headers, body: headers.get("Transfer-Encoding") === "chunked" ? joined(body) : body };
}

/** Joins a chunked body (RFC 9112, 7.1). */
function joined(bytes: Uint8Array<ArrayBuffer>): Uint8Array<ArrayBuffer> {
  const text = new TextDecoder("latin1").decode(bytes);
  const parts: number[] = [];
  for (let at = 0;;) {
    const end = text.indexOf("\r\n", at);
    const size = parseInt(text.slice(at, end), 16);
    if (!(size > 0)) return Uint8Array.from(parts);
    parts.push(...bytes.subarray(end + 2, end + 2 + size));
    at = end + 2 + size + 2;
  }
}
