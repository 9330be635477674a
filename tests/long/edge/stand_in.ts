/** Servers of a test behind the edge. */

export interface Received {
  method: string;
  path: string;
  headers: Headers;
}

export interface StandIn extends AsyncDisposable {
  url: string;
  /** Requests, without health checks. */
  received: Received[];
  isReady: boolean;
  /** Resolves when the next WebSocket has ended. */
  socketEnded(): Promise<void>;
}

/** Answers requests by `answer`. A WebSocket gets messages without end. */
export function startStandIn(answer: () => Response = () => new Response("ok")): StandIn {
  const received: Received[] = [];
  const endings: (() => void)[] = [];
  const talk = (request: Request): Response => {
    const { socket, response } = Deno.upgradeWebSocket(request);
    const timer = setInterval(() => {
      if (socket.readyState === WebSocket.OPEN && socket.bufferedAmount < 2 ** 20) socket.send("x".repeat(50_000));
    }, 10);
    socket.onclose = () => {
      clearInterval(timer);
      for (const resolve of endings.splice(0)) resolve();
    };
    return response;
  };
  const http = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen: () => {} }, async (request) => {
    const path = new URL(request.url).pathname;
    if (path === "/readyz") return new Response(null, { status: standIn.isReady ? 200 : 503 });
    received.push({ method: request.method, path, headers: request.headers });
    if (request.headers.has("Upgrade")) return talk(request);
    await request.bytes();
    return answer();
  });
  const standIn: StandIn = {
    url: `http://127.0.0.1:${http.addr.port}`,
    received,
    isReady: true,
    socketEnded: () => new Promise<void>((resolve) => endings.push(resolve)),
    [Symbol.asyncDispose]: () => http.shutdown(),
  };
  return standIn;
}

export interface Breaker extends Disposable {
  url: string;
  /** Number of requests it has read. */
  requests(): number;
}

/** A server that is ready, and closes the connection instead of answering a request. */
export function startBreaker(): Breaker {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  let requests = 0;
  const serve = async (connection: Deno.TcpConn) => {
    using open = connection;
    const buffer = new Uint8Array(10_000);
    const text = new TextDecoder().decode(buffer.subarray(0, await open.read(buffer) ?? 0));
    if (!text.startsWith("GET /readyz")) return void requests++;
    await open.write(new TextEncoder().encode("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"));
  };
  (async () => {
    for await (const connection of listener) serve(connection).catch(() => {});
  })();
  return {
    url: `http://127.0.0.1:${listener.addr.port}`,
    requests: () => requests,
    [Symbol.dispose]: () => listener.close(),
  };
}
