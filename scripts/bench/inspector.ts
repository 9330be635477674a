/** A client of the V8 inspector, which `deno run --inspect` serves. */
export interface Inspector extends AsyncDisposable {
  /** Calls a method of the Chrome DevTools Protocol. */
  call(method: string, params?: Record<string, unknown>): Promise<Record<string, unknown>>;
  /** Receives the parameters of an event from now on. */
  listen(method: string, receive: (params: Record<string, unknown>) => void): void;
}

/** An answer to the call `id`, or an event without an id. */
interface Message {
  id?: number;
  method?: string;
  params?: Record<string, unknown>;
  result?: Record<string, unknown>;
  error?: { message: string };
}

export async function openInspector(port: number): Promise<Inspector> {
  const response = await fetch(`http://127.0.0.1:${port}/json`);
  const [target]: { webSocketDebuggerUrl: string }[] = await response.json();
  if (target === undefined) throw new Error("the inspector has no target");
  const socket = new WebSocket(target.webSocketDebuggerUrl);
  const calls = new Map<number, PromiseWithResolvers<Record<string, unknown>>>();
  const listeners = new Map<string, (params: Record<string, unknown>) => void>();
  const opened = Promise.withResolvers<void>();
  const closed = Promise.withResolvers<void>();
  socket.onopen = () => opened.resolve();
  socket.onclose = () => {
    const failure = new Error("the inspector closed its connection");
    opened.reject(failure);
    for (const call of calls.values()) call.reject(failure);
    closed.resolve();
  };
  socket.onmessage = ({ data }: MessageEvent<string>) => {
    const { id, method = "", params = {}, result = {}, error }: Message = JSON.parse(data);
    if (id === undefined) return listeners.get(method)?.(params);
    const call = calls.get(id);
    calls.delete(id);
    if (error !== undefined) call?.reject(new Error(error.message));
    else call?.resolve(result);
  };
  await opened.promise;
  let lastId = 0;
  return {
    call(method, params = {}) {
      const call = Promise.withResolvers<Record<string, unknown>>();
      calls.set(++lastId, call);
      socket.send(JSON.stringify({ id: lastId, method, params }));
      return call.promise;
    },
    listen: (method, receive) => listeners.set(method, receive),
    async [Symbol.asyncDispose]() {
      socket.close();
      await closed.promise;
    },
  };
}
