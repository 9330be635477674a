/** Subscriptions of the SDK over connections that break, fall silent or are read slowly. */
import assert from "node:assert/strict";
import { createClientWithTiming } from "../../src/client/client.ts";
import { sharedServer, startServer } from "../support/server.ts";
import {
  assertFollowed,
  follow,
  newSubscriber,
  repeatEvent,
  storedEvents,
  untilAllEnded,
  WatchedSocket,
  watchStates,
} from "./following.ts";
import { ManualTiming } from "./manual_timing.ts";
import { startProxy } from "./proxy.ts";

const heartbeatMs = 20_000;
const ticketMs = 10_000;

Deno.test("subscribe: connections cut after a random number of bytes -> each event once, in order", async () => {
  await using server = await sharedServer();
  await using proxy = await startProxy([server.url]);
  // Cuts one connection in its headers or its first event, and the next one after one to four events.
  proxy.cutAfter = () =>
    Math.floor(proxy.connections % 2 === 0 ? 1 + Math.random() * 1_000 : 1_300 + Math.random() * 2_200);
  const { token, book } = await newSubscriber(server, "alice");
  const booking = await book();
  // Until the feed has the first event, it would follow `latest`.
  await server.settled();
  const { cursor: after } = await server.ok("listEvents", { token, query: { after: "latest" } });
  const client = createClientWithTiming({ baseUrl: proxy.url, token }, new ManualTiming());
  const subscription = client.subscribe({ after });
  const follower = follow(subscription);
  for (let round = 1; round <= 4; round++) {
    await repeatEvent(server, booking, 4);
    await book();
    await follower.until(round * 5 - 2);
  }
  await assertFollowed(follower, { server, token, after, close: subscription.close });
  assert.equal(follower.events.length, 20);
  assert(proxy.connections >= 8, `${proxy.connections}`);
});

Deno.test("subscribe: silent connection -> reconnects after one heartbeat, each event once", async () => {
  await using server = await sharedServer();
  await using proxy = await startProxy([server.url]);
  const { token, book } = await newSubscriber(server, "alice");
  const timing = new ManualTiming();
  const client = createClientWithTiming({ baseUrl: proxy.url, token, WebSocket: WatchedSocket }, timing);
  const { onState, until, states } = watchStates();
  const subscription = client.subscribe({ onState });
  const follower = follow(subscription);
  await until("live");
  await book();
  await follower.until(1);
  // `fetch` may send the next request on a silent connection that it has kept open.
  const expired: Promise<void>[] = [];
  proxy.onDropped = (bytes) => {
    if (bytes.toString("latin1").startsWith("POST ")) expired.push(timing.fire(ticketMs));
  };
  proxy.silence();
  await book();
  // The first beat sends a ping, and the second one finds no answer.
  await timing.fire(heartbeatMs);
  await timing.fire(heartbeatMs);
  await follower.until(2);
  await Promise.all(expired);
  const broken = states.find(({ status }, index) => status === "waiting" && states[index - 1]?.status === "live");
  assert.equal(broken?.reason, "no frame arrived in time");
  const { length } = WatchedSocket.all;
  const socket = WatchedSocket.all.at(-1);
  assert(socket);
  for (let beats = 0; beats < 5; beats++) {
    const { frames } = socket;
    await timing.fire(heartbeatMs);
    await socket.untilFrames(frames + 1);
  }
  assert.equal(WatchedSocket.all.length, length, "a connection that answers pings was replaced");
  await assertFollowed(follower, { server, token, close: subscription.close });
});

Deno.test("subscribe: socket fails without a close, sends no JSON, or cannot send -> reconnects with the reason", async () => {
  await using server = await sharedServer();
  class OddSocket extends WatchedSocket {
    readonly #number = WatchedSocket.all.length - 1;

    constructor(address: string | URL) {
      super(address);
      if (this.#number > 1) return;
      this.addEventListener("open", (event) => {
        event.stopImmediatePropagation();
        this.addEventListener("close", (event) => event.stopImmediatePropagation());
        // Node up to 22 sends no close event for a socket that could not be opened.
        this.dispatchEvent(this.#number === 0 ? new Event("error") : new MessageEvent("message", { data: "<html>" }));
      });
    }

    /** The third socket is closing, but has not sent its close event yet. */
    override get readyState() {
      return this.#number === 2 && this.frames > 0 ? WebSocket.CLOSING : super.readyState;
    }

    override send(text: string) {
      if (this.readyState !== WebSocket.OPEN) throw new DOMException("It is not open", "InvalidStateError");
      super.send(text);
    }
  }
  const { token } = await newSubscriber(server, "alice");
  const timing = new ManualTiming();
  const { onState, until, states } = watchStates();
  const client = createClientWithTiming({ baseUrl: server.url, token, WebSocket: OddSocket }, timing);
  const subscription = client.subscribe({ onState });
  const follower = follow(subscription);
  await until("live");
  await timing.fire(heartbeatMs);
  await timing.fire(heartbeatMs);
  await until("live", 2);
  assert.deepEqual(
    states.flatMap(({ reason }) => reason ?? []),
    ["the socket failed", "a message was not a JSON frame", "no frame arrived in time"],
  );
  subscription.close();
  await follower.ended;
  await untilAllEnded();
});

Deno.test("subscribe: program does not read for a while -> at most 1,000 events held, socket closed, then the rest", async () => {
  await using server = await sharedServer();
  const { token, book } = await newSubscriber(server, "alice");
  const booking = await book();
  const [event] = await storedEvents(server, token);
  assert(event);
  const client = createClientWithTiming(
    { baseUrl: server.url, token, WebSocket: WatchedSocket },
    new ManualTiming(),
  );
  const subscription = client.subscribe({ after: event.cursor });
  await using reader = subscription[Symbol.asyncIterator]() as AsyncGenerator;
  const first = reader.next();
  await repeatEvent(server, booking, 1_500);
  const events = [(await first).value];
  await untilAllEnded();
  assert.equal(WatchedSocket.all.length, 1);
  while (WatchedSocket.all.length === 1) events.push((await reader.next()).value);
  // Frames that arrived after the queue was full are dropped.
  assert(events.length <= 1_002, `${events.length} events arrived on the first socket`);
  while (events.length < 1_500) events.push((await reader.next()).value);
  assert.deepEqual(events, (await storedEvents(server, token)).slice(1));
  assert.equal(WatchedSocket.all.length, 2);
  subscription.close();
  assert.deepEqual(await reader.next(), { value: undefined, done: true });
  await untilAllEnded();
});

Deno.test("subscribe: connections break between `joined` and `gap` -> one `gap`, then live events", async () => {
  // Retention removes the events of all users.
  await using server = await startServer();
  const { token, book } = await newSubscriber(server, "alice");
  await server.settled();
  const { cursor: after } = await server.ok("listEvents", { token });
  await book();
  await server.settled();
  server.clock.set("2026-04-02T10:00:00.000Z");
  await server.sweep();
  server.clock.set("2026-03-03T10:00:00.000Z");

  let broken = 0;
  /** Closes after its first frame. The first two drop the second frame. */
  class DyingSocket extends WatchedSocket {
    constructor(address: string | URL) {
      super(address);
      if (broken === 2) return;
      this.addEventListener("message", (frame) => {
        if (this.frames === 1) return this.close();
        assert.equal(JSON.parse(frame.data).event, "gap");
        frame.stopImmediatePropagation();
        broken++;
      });
    }
  }
  const { onState, until } = watchStates();
  const options = { baseUrl: server.url, token, WebSocket: DyingSocket };
  const subscription = createClientWithTiming(options, new ManualTiming()).subscribe({ after, onState });
  const follower = follow(subscription);
  await until("live", 3);
  await book();
  await follower.until(2);
  assert.deepEqual(follower.events.map(({ event }) => event), ["gap", "booking_update"]);
  assert.equal(broken, 2);
  subscription.close();
  await follower.ended;
  await untilAllEnded();
});

Deno.test("subscribe: connections without events -> pauses grow; live for 5 s, or an event -> shortest pause", async () => {
  await using server = await sharedServer();
  await using proxy = await startProxy([server.url]);
  const { token, book } = await newSubscriber(server, "alice");
  const timing = new ManualTiming();
  const client = createClientWithTiming({ baseUrl: proxy.url, token }, timing);
  const { onState, until } = watchStates();
  const subscription = client.subscribe({ onState });
  const follower = follow(subscription);
  let live = 0;
  const untilLive = () => until("live", ++live);
  const breakConnections = async () => {
    const { length } = timing.pausesMs;
    proxy.breakConnections();
    await timing.untilPauses(length + 1);
    return timing.pausesMs[length];
  };
  await untilLive();
  assert.equal(await breakConnections(), 125);
  await untilLive();
  assert.equal(await breakConnections(), 250);
  await untilLive();
  // A heartbeat moves the clock by 20 seconds.
  await timing.fire(heartbeatMs);
  assert.equal(await breakConnections(), 125);
  await untilLive();
  assert.equal(await breakConnections(), 250);
  await untilLive();
  await book();
  await follower.until(1);
  assert.equal(await breakConnections(), 125);
  subscription.close();
  await follower.ended;
});
