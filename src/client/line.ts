/** One WebSocket, read frame by frame. */
import type { components } from "../../generated/api.d.ts";

type Schemas = components["schemas"];
type ServerFrame = Schemas["ServerFrame"];

/** Frames that may wait to be read. With more the socket is let go, to be opened again once they are read. */
const longestQueue = 1_000;

/** What is needed of a `WebSocket`: that of a runtime has it, and that of the package `ws`. */
export interface Socket {
  readonly readyState: number;
  send(text: string): void;
  close(): void;
  /** Ends it without waiting for the other side, where a socket can, as that of `ws`. */
  terminate?(): void;
  addEventListener(type: "open" | "error", listener: () => void): void;
  addEventListener(type: "message", listener: (event: { data: unknown }) => void): void;
  addEventListener(type: "close", listener: (event: { code: number; reason: string }) => void): void;
}

export type SocketConstructor = new (address: URL) => Socket;

/** The `readyState` of a socket that may be written to. */
const open = 1;

export interface Line {
  /** The next frame. Undefined when the socket has ended and all that came was read. */
  next(): Promise<ServerFrame | undefined>;
  /** Why it has ended. */
  readonly reason: string;
  close(): void;
}

export interface LineOptions {
  /** What is sent as soon as the socket is open. */
  join: Schemas["JoinBookingRoom"] | Schemas["JoinRoom"];
  signal: AbortSignal;
  /**
   * A line on which nothing was heard for so long is asked for a sign, and given up when none comes for as long again. In
   * milliseconds.
   */
  patienceMs: number;
}

/** Reads `socket`. Ends when it does, when it falls silent, or by `signal`. */
export function openLine(socket: Socket, { join, signal, patienceMs }: LineOptions): Line {
  const queue: ServerFrame[] = [];
  let reason: string | undefined;
  let wasHeard = false;
  let wake = () => {};

  const end = (why: string) => {
    if (reason !== undefined) return;
    reason = why;
    clearInterval(heartbeat);
    signal.removeEventListener("abort", abort);
    socket.close();
    wake();
  };
  const abort = () => {
    queue.length = 0;
    end("closed by this side");
  };
  const heartbeat = setInterval(() => {
    if (!wasHeard) {
      end("nothing was heard");
      // Nobody answers a goodbye there.
      socket.terminate?.();
      return;
    }
    wasHeard = false;
    // One that is closing already may not be written to, and says so itself.
    if (socket.readyState === open) socket.send(JSON.stringify({ action: "ping" } satisfies Schemas["Ping"]));
  }, patienceMs);
  signal.addEventListener("abort", abort);

  socket.addEventListener("open", () => socket.send(JSON.stringify(join)));
  socket.addEventListener("message", ({ data }) => {
    if (reason !== undefined) return;
    wasHeard = true;
    if (queue.length >= longestQueue) return end(`${longestQueue} events wait to be read`);
    const frame = parse(data);
    if (frame === undefined) return end("what came is no frame");
    if (frame.event === "pong") return;
    queue.push(frame);
    wake();
  });
  // The socket of Node up to 22 leaves it at that when it was not opened: no close event follows.
  socket.addEventListener("error", () => end("the socket failed"));
  socket.addEventListener("close", ({ code, reason: text }) => {
    end(`the socket was closed with ${[code, text].join(" ").trim()}`);
  });
  if (signal.aborted) abort();

  return {
    async next() {
      while (queue.length === 0 && reason === undefined) await new Promise<void>((resolve) => wake = resolve);
      return queue.shift();
    },
    get reason() {
      return reason ?? "open";
    },
    close: () => end("closed by this side"),
  };
}

/** Undefined for what no Slotkeeper sends. It must not end the program: there is nobody to catch what a listener throws. */
function parse(data: unknown): ServerFrame | undefined {
  try {
    return JSON.parse(String(data)) ?? undefined;
  } catch {
    return undefined;
  }
}
