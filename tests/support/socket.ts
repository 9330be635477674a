/** A subscriber's WebSocket. Every frame received is validated against the contract. */
import assert from "node:assert/strict";
import { type ClientFrame, type FeedEvent, ServerFrame } from "../../generated/contract.ts";

/** Longest wait for a frame, in milliseconds. */
const frameTimeoutMs = 30_000;

export interface TestSocket extends AsyncDisposable {
  /** All frames so far. */
  frames: ServerFrame[];
  /** The events among them. */
  events(): FeedEvent[];
  send(frame: ClientFrame): void;
  /** Sends any data unchanged. */
  sendRaw(data: string | Uint8Array<ArrayBuffer>): void;
  /** The next unread frame. */
  next(): Promise<ServerFrame>;
  /** The next unread frame. Fails if it is of another kind. */
  expect<Kind extends ServerFrame["event"]>(event: Kind): Promise<Extract<ServerFrame, { event: Kind }>>;
  /** Waits until `isEnough` accepts all frames so far. */
  until(isEnough: (frames: ServerFrame[]) => boolean): Promise<void>;
  /** Sends a ping and waits for its pong. All earlier frames have arrived then. */
  settled(): Promise<void>;
  /** Resolves with the close code and reason. */
  closed: Promise<{ code: number; reason: string }>;
  close(): void;
}

/** Frames that a test sends over one socket; the server takes 200 in 10 seconds. */
const framesPerSocket = 150;

/** Sends each text as a frame. Fails unless the server answers each with the error `invalid_frame`. */
export async function assertInvalidFrames(
  server: { url: string },
  { token, frames }: { token: string; frames: string[] },
): Promise<void> {
  for (let index = 0; index < frames.length; index += framesPerSocket) {
    await using socket = await openSocket(server, { token });
    for (const frame of frames.slice(index, index + framesPerSocket)) {
      socket.sendRaw(frame);
      assert.equal((await socket.expect("error")).code, "invalid_frame", frame);
    }
  }
}

/** Opens a socket with a token, or with the query string `query`. */
export async function openSocket(
  { url }: { url: string },
  { token, query = "" }: { token?: string; query?: string },
): Promise<TestSocket> {
  const headers: Record<string, string> = token === undefined ? {} : { Authorization: `Bearer ${token}` };
  const socket = new WebSocket(`${url.replace("http", "ws")}/api/v1/ws${query}`, { headers });
  const frames: ServerFrame[] = [];
  let readCount = 0;
  let wake = Promise.withResolvers<void>();
  const { promise: closed, resolve: onClose } = Promise.withResolvers<{ code: number; reason: string }>();
  let isClosed = false;
  socket.onmessage = ({ data }) => {
    const json: unknown = JSON.parse(data);
    const frame = ServerFrame.parse(json);
    assert.deepEqual(frame, json);
    frames.push(frame);
    wake.resolve();
    wake = Promise.withResolvers();
  };
  await new Promise<void>((opened, refused) => {
    socket.onopen = () => opened();
    socket.onerror = () => refused(new Error("the socket was not opened"));
    socket.onclose = ({ code, reason }) => {
      isClosed = true;
      onClose({ code, reason });
      wake.resolve();
    };
  });

  const lastFrames = () => JSON.stringify(frames.slice(-5)).slice(0, 2_000);
  const more = async (wanted: string): Promise<void> => {
    if (isClosed) assert.fail(`closed (${(await closed).code}) before ${wanted}: ${lastFrames()}`);
    const late = Promise.withResolvers<never>();
    const last = () => late.reject(new Error(`no ${wanted} within ${frameTimeoutMs} ms: ${lastFrames()}`));
    const timer = setTimeout(last, frameTimeoutMs);
    await Promise.race([wake.promise, late.promise]).finally(() => clearTimeout(timer));
  };
  const next = async (wanted = "frame"): Promise<ServerFrame> => {
    for (;;) {
      const frame = frames[readCount];
      if (frame !== undefined) {
        readCount++;
        return frame;
      }
      await more(wanted);
    }
  };
  const until = async (isEnough: (frames: ServerFrame[]) => boolean): Promise<void> => {
    while (!isEnough(frames)) await more("enough frames");
  };
  const send = (frame: ClientFrame) => socket.send(JSON.stringify(frame));
  const pongCount = () => frames.filter(({ event }) => event === "pong").length;
  return {
    frames,
    closed,
    events: () => frames.filter((frame) => "occurredAt" in frame),
    send,
    sendRaw: (data) => socket.send(data),
    next: () => next(),
    async expect<Kind extends ServerFrame["event"]>(event: Kind) {
      const frame = await next(event);
      assert.equal(frame.event, event, JSON.stringify(frame));
      return frame as Extract<ServerFrame, { event: Kind }>;
    },
    until,
    async settled() {
      const before = pongCount();
      send({ action: "ping" });
      await until(() => pongCount() > before);
    },
    close: () => socket.close(),
    async [Symbol.asyncDispose]() {
      socket.close();
      await closed;
    },
  };
}

/** A manual WebSocket handshake, over a connection that reads only on `read()`. */
export interface Handshake extends Disposable {
  status: number;
  headers: Headers;
  /** The body of an HTTP response that did not switch protocols. */
  body: string;
  /** Sends a text frame. */
  send(frame: ClientFrame): Promise<void>;
  /** Reads frames until the connection ends. */
  read(): AsyncGenerator<{ opcode: number; payload: Uint8Array<ArrayBuffer> }>;
}

/** Requests a WebSocket. A header of null is omitted. */
export async function handshake(
  { url }: { url: string },
  { token, query = "", method = "GET", headers = {} }: {
    token?: string;
    query?: string;
    method?: string;
    headers?: Record<string, string | null>;
  },
): Promise<Handshake> {
  const { hostname, port, host } = new URL(url);
  const connection = await Deno.connect({ hostname, port: Number(port) });
  const lines = Object.entries({
    Host: host,
    Authorization: token === undefined ? null : `Bearer ${token}`,
    Connection: "Upgrade",
    Upgrade: "websocket",
    "Sec-WebSocket-Key": btoa("0123456789abcdef"),
    "Sec-WebSocket-Version": "13",
    ...headers,
  }).flatMap(([name, value]) => value === null ? [] : [`${name}: ${value}\r\n`]);
  await write(new TextEncoder().encode(`${method} /api/v1/ws${query} HTTP/1.1\r\n${lines.join("")}\r\n`));

  let unread = new Uint8Array();
  const chunk = new Uint8Array(1 << 16);
  async function write(bytes: Uint8Array): Promise<void> {
    for (let sent = 0; sent < bytes.length;) sent += await connection.write(bytes.subarray(sent));
  }
  /** False at the end of the connection. */
  async function readMore(): Promise<boolean> {
    const count = await connection.read(chunk);
    if (count === null) return false;
    const joined = new Uint8Array(unread.length + count);
    joined.set(unread);
    joined.set(chunk.subarray(0, count), unread.length);
    unread = joined;
    return true;
  }
  async function take(length: number): Promise<Uint8Array<ArrayBuffer> | undefined> {
    while (unread.length < length) if (!await readMore()) return undefined;
    const bytes = unread.slice(0, length);
    unread = unread.slice(length);
    return bytes;
  }
  const text = (bytes: Uint8Array = new Uint8Array()) => new TextDecoder().decode(bytes);

  let end: number;
  while ((end = text(unread).indexOf("\r\n\r\n")) < 0) assert(await readMore(), "the server closed the connection");
  const [statusLine = "", ...fields] = text(await take(end + 4)).trim().split("\r\n");
  const answered = new Headers(fields.map((field): [string, string] => {
    const colon = field.indexOf(":");
    return [field.slice(0, colon), field.slice(colon + 1)];
  }));
  const length = method === "HEAD" ? 0 : Number(answered.get("Content-Length") ?? 0);
  return {
    status: Number(statusLine.split(" ")[1]),
    headers: answered,
    body: text(await take(length)),
    async send(frame) {
      const payload = new TextEncoder().encode(JSON.stringify(frame));
      assert(payload.length < 126);
      // Masked with zeros, which leaves the payload unchanged.
      await write(Uint8Array.from([0x81, 0x80 | payload.length, 0, 0, 0, 0, ...payload]));
    },
    async *read() {
      for (;;) {
        const [first = 0, second = 0] = await take(2) ?? [];
        if (first === 0) return;
        const extended = [...await take(second === 127 ? 8 : second === 126 ? 2 : 0) ?? []];
        const payload = await take(second < 126 ? second : extended.reduce((sum, byte) => sum * 256 + byte, 0));
        if (payload === undefined) return;
        yield { opcode: first & 0x0f, payload };
      }
    },
    [Symbol.dispose]: () => connection.close(),
  };
}
