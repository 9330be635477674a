/** One WebSocket, read frame by frame. */
import type { components } from "../../generated/api.d.ts";
import type { Timing } from "./timing.ts";

type Schemas = components["schemas"];
type ServerFrame = Schemas["ServerFrame"];

/** Frames that may wait to be read. With more, the socket is closed until they are read. */
const longestQueue = 1_000;

/** The part of a `WebSocket` that the SDK uses. Runtimes and the package `ws` have it. */
export interface Socket {
  readonly readyState: number;
  send(text: string): void;
  close(): void;
  /** Closes without waiting for the other side. Sockets of `ws` have it. */
  terminate?(): void;
  addEventListener(type: "open" | "error", listener: () => void): void;
  addEventListener(type: "message", listener: (event: { data: unknown }) => void): void;
  addEventListener(type: "close", listener: (event: { code: number; reason: string }) => void): void;
}

export type SocketConstructor = new (address: URL) => Socket;

/** The `readyState` of a socket that can send. */
const openState = 1;

export interface LiveConnection {
  /** Returns the next frame, or undefined after the last frame of a connection that has ended. */
  nextFrame(): Promise<ServerFrame | undefined>;
  /** Why the connection has ended. */
  readonly endReason: string;
  close(): void;
}

export interface LiveConnectionOptions {
  /** Sent as soon as the socket is open. */
  joinFrame: Schemas["JoinBookingRoom"] | Schemas["JoinRoom"];
  signal: AbortSignal;
  /** Interval of the heartbeat in milliseconds. Each beat sends a ping. The connection ends after one beat without a frame. */
  heartbeatMs: number;
  timing: Timing;
}

/** Reads `socket` until it closes, is silent for a whole beat, or `signal` is aborted. */
export function openLiveConnection(socket: Socket, options: LiveConnectionOptions): LiveConnection {
  const { joinFrame, signal, heartbeatMs, timing } = options;
  const queue: ServerFrame[] = [];
  let endReason: string | undefined;
  let hasNewFrames = false;
  let wake = () => {};

  const end = (reason: string) => {
    if (endReason !== undefined) return;
    endReason = reason;
    cancelBeat();
    signal.removeEventListener("abort", abort);
    socket.close();
    wake();
  };
  const abort = () => {
    queue.length = 0;
    end("closed by the client");
  };
  const beat = () => {
    if (!hasNewFrames) {
      end("no frame arrived in time");
      // The other side will not answer the close.
      socket.terminate?.();
      return;
    }
    hasNewFrames = false;
    // A closing socket cannot send. Its own close event follows.
    if (socket.readyState === openState) socket.send(JSON.stringify({ action: "ping" } satisfies Schemas["Ping"]));
    cancelBeat = timing.startTimer(heartbeatMs, beat);
  };
  let cancelBeat = timing.startTimer(heartbeatMs, beat);
  signal.addEventListener("abort", abort);

  socket.addEventListener("open", () => socket.send(JSON.stringify(joinFrame)));
  socket.addEventListener("message", ({ data }) => {
    if (endReason !== undefined) return;
    hasNewFrames = true;
    if (queue.length >= longestQueue) return end(`${longestQueue} events wait to be read`);
    const frame = parse(data);
    if (frame === undefined) return end("a message was not a JSON frame");
    if (frame.event === "pong") return;
    queue.push(frame);
    wake();
  });
  // Node up to 22 sends no close event for a socket that could not be opened.
  socket.addEventListener("error", () => end("the socket failed"));
  socket.addEventListener("close", ({ code, reason: text }) => {
    end(`the socket was closed with ${[code, text].join(" ").trim()}`);
  });
  if (signal.aborted) abort();

  return {
    async nextFrame() {
      while (queue.length === 0 && endReason === undefined) await new Promise<void>((resolve) => wake = resolve);
      return queue.shift();
    },
    get endReason() {
      return endReason ?? "open";
    },
    close: () => end("closed by the client"),
  };
}

/** Returns undefined for text that is not JSON. An exception in a listener would end the program. */
function parse(data: unknown): ServerFrame | undefined {
  try {
    return JSON.parse(String(data)) ?? undefined;
  } catch {
    return undefined;
  }
}
