/** A TCP proxy between a client and its servers. It can cut connections or make them silent. */
import type { Buffer } from "node:buffer";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";

export interface Proxy extends AsyncDisposable {
  url: string;
  /** The servers. New connections use them in turn. A connection to a server that is down is closed. */
  targets: string[];
  /** Returns the number of bytes from the server after which a new connection is cut. */
  cutAfter: () => number;
  /** Number of connections so far. */
  connections: number;
  /** Keeps the present connections open and drops their bytes, in both directions. */
  silence(): void;
  /** Called with bytes of a client that were dropped. */
  onDropped: (bytes: Buffer) => void;
  breakConnections(): void;
  /** Changes the bytes of a client. */
  rewrite: (request: Buffer) => string | Uint8Array;
}

export async function startProxy(targets: string[]): Promise<Proxy> {
  const ends = new Set<Socket>();
  const silentEnds = new WeakSet<Socket>();
  const listener = createServer((client) => {
    const { hostname = "", port = "" } = new URL(proxy.targets[proxy.connections++ % proxy.targets.length] ?? "");
    const server = connect(Number(port), hostname);
    let bytesLeft = proxy.cutAfter();
    client.on("data", (bytes: Buffer) => {
      if (silentEnds.has(client)) proxy.onDropped(bytes);
      else server.write(proxy.rewrite(bytes));
    });
    server.on("data", (bytes: Buffer) => {
      if (silentEnds.has(server)) return;
      client.write(bytes.subarray(0, Math.min(bytesLeft, bytes.length)));
      bytesLeft -= bytes.length;
      if (bytesLeft <= 0) client.destroySoon();
    });
    for (const [end, other] of [[client, server], [server, client]] as const) {
      ends.add(end);
      end.setNoDelay(true);
      end.on("error", () => end.destroy());
      end.on("close", () => {
        ends.delete(end);
        other.destroySoon();
      });
    }
  });
  await new Promise<void>((resolve) => listener.listen(0, "127.0.0.1", resolve));
  const breakConnections = () => ends.forEach((end) => end.destroy());
  const proxy: Proxy = {
    url: `http://127.0.0.1:${(listener.address() as AddressInfo).port}`,
    targets,
    cutAfter: () => Infinity,
    connections: 0,
    onDropped: () => {},
    rewrite: (request) => request,
    silence: () => ends.forEach((end) => silentEnds.add(end)),
    breakConnections,
    async [Symbol.asyncDispose]() {
      const closed = new Promise((resolve) => listener.close(resolve));
      breakConnections();
      await closed;
    },
  };
  return proxy;
}
