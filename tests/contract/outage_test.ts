/** Outages of the database: answers during one, and recovery after it. */
import assert from "node:assert/strict";
import { type AddressInfo, connect as connectTo, createServer, type Socket } from "node:net";
import { operations, Problem } from "../../generated/contract.ts";
import { mintToken } from "../../src/auth/tokens.ts";
import { newApp } from "../support/app.ts";
import { connect } from "../../src/database/connect.ts";
import { EventFeed } from "../../src/events/feed.ts";
import { isSandboxPayments } from "../../src/payments/sandbox.ts";
import { createLog } from "../../src/log.ts";
import { newBooking, newRoom, newTimeslots } from "../support/builders.ts";
import { eventually } from "../support/process.ts";
import { sharedServer } from "../support/server.ts";
import { nowhere } from "../support/database.ts";
import { contractOperations } from "./document.ts";
import { exampleCall, pathOf } from "./example_calls.ts";
import { toFeedEvent } from "../../src/subscriptions/feed_event.ts";

interface Client extends AsyncDisposable {
  /** Sends a request as an admin. Fails after 9 seconds, before an attempt to connect ends. */
  request(path: string, init?: { method: string; body?: string }): Promise<Response>;
}

/** An app on the database of `url`, with an admin as its client. */
async function newClient(url: string): Promise<Client> {
  const app = await newApp(url);
  const token = await mintToken(app.config.auth, { subject: "admin", role: "admin", lifetimeSeconds: 3_600 });
  const headers = { Authorization: `Bearer ${token}`, "Content-Type": "application/json" };
  return {
    request: (path, init) => {
      const request = new Request(new URL(path, "http://localhost"), { headers, ...init });
      return withinSeconds(9, Promise.resolve(app.fetch(request)));
    },
    // A statement that still runs delays it by 5 seconds.
    [Symbol.asyncDispose]: () => withinSeconds(4.5, Promise.resolve(app[Symbol.asyncDispose]())),
  };
}

async function withinSeconds<T>(seconds: number, promise: Promise<T>): Promise<T> {
  const { promise: late, reject } = Promise.withResolvers<never>();
  const timer = setTimeout(() => reject(new Error(`no answer within ${seconds} seconds`)), seconds * 1_000);
  return await Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

async function assertUnavailable(response: Response): Promise<void> {
  assert.equal(response.status, 503);
  assert.equal(Problem.parse(await response.json()).code, "service_unavailable");
  assert(Number(response.headers.get("Retry-After")) > 0);
}

/** A proxy between a server and its database. While it is cut, it resets all connections. */
interface Proxy extends AsyncDisposable {
  url: string;
  isCut: boolean;
}

async function newProxy(databaseUrl: string): Promise<Proxy> {
  const { hostname, port } = new URL(databaseUrl);
  const open = new Set<Socket>();
  const listener = createServer((client) => {
    if (proxy.isCut) {
      client.resetAndDestroy();
      return;
    }
    const server = connectTo(Number(port), hostname);
    const hangUp = () => [client, server].forEach((end) => end.destroy());
    const pass = (from: Socket, to: Socket) => {
      open.add(from);
      from.on("data", (bytes) => proxy.isCut ? hangUp() : to.write(bytes));
      from.on("error", hangUp);
      from.on("close", () => {
        open.delete(from);
        hangUp();
      });
    };
    pass(client, server);
    pass(server, client);
  });
  await new Promise<void>((listening) => listener.listen(0, "127.0.0.1", listening));
  const url = new URL(databaseUrl);
  url.host = `127.0.0.1:${(listener.address() as AddressInfo).port}`;
  const proxy: Proxy = {
    url: url.href,
    isCut: false,
    async [Symbol.asyncDispose]() {
      open.forEach((socket) => socket.destroy());
      await new Promise((closed) => listener.close(closed));
    },
  };
  return proxy;
}

Deno.test("outage: no database, each operation that needs it -> 503 service_unavailable with Retry-After, at once", async () => {
  await using app = await newClient(nowhere);
  const ids = { roomId: 1, bookingId: 1, timeslotId: 1, newTimeslotId: 1 };
  for (const operation of contractOperations.filter((each) => each.operationId !== "receivePaymentEvent")) {
    const { operationId: id, method } = operation;
    const { body, ...call } = exampleCall(operation, ids);
    const init = { method, ...(body === undefined ? {} : { body: JSON.stringify(body) }) };
    const response = await app.request(pathOf(operation, call), init);
    const problems: readonly string[] = operations[id].problems;
    if (problems.includes("service_unavailable")) await assertUnavailable(response);
    else assert.equal(response.status, 200, id);
  }
});

Deno.test("receivePaymentEvent: no database -> 503, so that the provider retries", async () => {
  await using app = await newApp(nowhere);
  assert(isSandboxPayments(app.payments));
  const webhook = await app.payments.sign({ id: "event", type: "failed", checkout: crypto.randomUUID() });
  const request = new Request("http://localhost/api/v1/payments/webhook/sandbox", { method: "POST", ...webhook });
  await assertUnavailable(await app.fetch(request));
});

const rooms = "/api/v1/bookings/rooms";

Deno.test("outage: connection breaks during a request -> 503, next requests are served", async () => {
  await using server = await sharedServer();
  await using proxy = await newProxy(server.databaseUrl);
  await using app = await newClient(proxy.url);
  assert.equal((await app.request(rooms)).status, 200);
  for (let outage = 0; outage < 3; outage++) {
    proxy.isCut = true;
    await assertUnavailable(await app.request(rooms));
    proxy.isCut = false;
    for (let index = 0; index < 5; index++) assert.equal((await app.request(rooms)).status, 200);
  }
});

Deno.test("outage: 20 requests during it -> 503, as many requests after it are served", async () => {
  await using server = await sharedServer();
  await using proxy = await newProxy(server.databaseUrl);
  await using app = await newClient(proxy.url);
  const many = () => Promise.all(Array.from({ length: 20 }, () => app.request(rooms)));
  proxy.isCut = true;
  for (const response of await many()) await assertUnavailable(response);
  proxy.isCut = false;
  for (let index = 0; index < 5; index++) assert.equal((await app.request(rooms)).status, 200);
  for (const response of await many()) assert.equal(response.status, 200);
});

Deno.test("feed: database gone and back three times -> resumes after the last event, none missing or twice", async () => {
  await using server = await sharedServer();
  await using proxy = await newProxy(server.databaseUrl);
  const db = connect({ url: proxy.url, pool: 2 });
  const logged: string[] = [];
  const feed = new EventFeed({
    db,
    url: proxy.url,
    log: createLog("debug", (text) => logged.push(text)),
    render: toFeedEvent,
    pollMs: 20,
  });
  const slots = await newTimeslots(server, await newRoom(server), { date: "2026-03-09" });
  await server.settled();
  await feed.start();
  await feed.follow();
  const heard: number[] = [];
  const stop = feed.listen({ about: "bookings" }, (event) => {
    const { data } = JSON.parse(event.frame);
    if ("booking" in data) heard.push(data.booking.id);
  });
  const made: number[] = [];
  for (const slot of slots.slice(0, 3)) {
    made.push((await newBooking(server, "alice", slot)).id);
    await eventually(() => Promise.resolve(heard.length === made.length));
    proxy.isCut = true;
    // The feed gets the hint of this booking, and finds no database.
    made.push((await newBooking(server, "bob", slots.at(-made.length) ?? slot)).id);
    feed.announce();
    const outages = () => logged.filter((text) => text.includes("feed cannot be read")).length;
    await eventually(() => Promise.resolve(outages() === (made.length / 2)));
    proxy.isCut = false;
    await eventually(() => Promise.resolve(heard.length === made.length));
  }
  assert.deepEqual(heard, made);
  stop();
  await feed.close();
  await db.destroy();
});
