/** What lies between a client and its servers, and can fail: connections that are cut, or fall silent. */
import type { Buffer } from "node:buffer";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";

export interface Proxy extends AsyncDisposable {
  url: string;
  /** The servers. New connections go to each in its turn; one that cannot be made is broken off. */
  targets: string[];
  /** After how many bytes of answers a new connection is cut. */
  cutAfter: () => number;
  /** Connections so far. */
  connections: number;
  /** Swallows all that comes on the connections that there are, from either side, and keeps them open. */
  silence(): void;
  breakConnections(): void;
  /** What a client sends is changed by it. */
  rewrite: (request: Buffer) => string | Uint8Array;
}

export async function startProxy(targets: string[]): Promise<Proxy> {
  const ends = new Set<Socket>();
  const silent = new WeakSet<Socket>();
  const listener = createServer((client) => {
    const { hostname = "", port = "" } = new URL(proxy.targets[proxy.connections++ % proxy.targets.length] ?? "");
    const server = connect(Number(port), hostname);
    let left = proxy.cutAfter();
    client.on("data", (bytes: Buffer) => {
      if (!silent.has(client)) server.write(proxy.rewrite(bytes));
    });
    server.on("data", (bytes: Buffer) => {
      if (silent.has(server)) return;
      client.write(bytes.subarray(0, Math.min(left, bytes.length)));
      left -= bytes.length;
      if (left <= 0) client.destroySoon();
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
  await new Promise<void>((listening) => listener.listen(0, "127.0.0.1", listening));
  const breakConnections = () => ends.forEach((end) => end.destroy());
  const proxy: Proxy = {
    url: `http://127.0.0.1:${(listener.address() as AddressInfo).port}`,
    targets,
    cutAfter: () => Infinity,
    connections: 0,
    rewrite: (request) => request,
    silence: () => ends.forEach((end) => silent.add(end)),
    breakConnections,
    async [Symbol.asyncDispose]() {
      const closed = new Promise((done) => listener.close(done));
      breakConnections();
      await closed;
    },
  };
  return proxy;
}
