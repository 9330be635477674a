/** Subscriptions of the SDK: every event once and in order, whatever breaks; and nothing is left behind. */
import assert from "node:assert/strict";
import { createClient, ProblemError, SubscriptionError, type SubscriptionState } from "@slotkeeper/client";
import { mintToken } from "../../src/auth/tokens.ts";
import { subscribe } from "../../src/client/subscription.ts";
import { parseConfig } from "../../src/config.ts";
import { newBooking, newRoom, newTimeslots } from "../support/builders.ts";
import { startServer, testSecret, type TestServer } from "../support/server.ts";
import { allEnded, assertTold, feedOf, follow, repeatEvents, WatchedSocket } from "./following.ts";
import { startProxy } from "./proxy.ts";

/** A state that is not there by then is not coming. */
const patienceMs = 30_000;
const { auth } = parseConfig({ AUTH_JWT_SECRET: testSecret });

async function newSlots(server: TestServer) {
  return await newTimeslots(server, await newRoom(server), { date: "2026-03-09" });
}

/** Has alice book one of `slots`, as if she did it elsewhere. */
async function book(server: TestServer, slots: Awaited<ReturnType<typeof newSlots>>) {
  const slot = slots.pop();
  assert(slot);
  return await newBooking(server, "alice", slot);
}

/** What `onState` was told, and a way to wait for more. */
function watchStates() {
  const states: SubscriptionState[] = [];
  let wake = Promise.withResolvers<void>();
  return {
    states,
    statuses: () => states.map(({ status }) => status).join(" "),
    onState: (state: SubscriptionState) => {
      states.push(state);
      wake.resolve();
      wake = Promise.withResolvers();
    },
    /** Waits until it was `status` so many times. */
    async until(status: SubscriptionState["status"], times = 1) {
      const late = Promise.withResolvers<never>();
      const timer = setTimeout(() => late.reject(new Error(`not ${status}: ${JSON.stringify(states)}`)), patienceMs);
      try {
        while (states.filter((state) => state.status === status).length < times) {
          await Promise.race([wake.promise, late.promise]);
        }
      } finally {
        clearTimeout(timer);
      }
    },
  };
}

Deno.test("connections that are cut after any number of bytes lose nothing and repeat nothing", async () => {
  await using server = await startServer();
  await using proxy = await startProxy([server.url]);
  // One within its headers or its first event, the next behind one to four of them, so that never so many fail in a row that
  // the pauses between them outlast the test's patience.
  proxy.cutAfter = () =>
    Math.floor(proxy.connections % 2 === 0 ? 1 + Math.random() * 1_000 : 1_300 + Math.random() * 2_200);
  const token = await server.token("alice");
  const slots = await newSlots(server);
  await book(server, slots);
  // While it waits for a transaction of another test it would come behind `latest`.
  await server.settled();
  const { cursor: after } = await server.ok("listEvents", { token, query: { after: "latest" } });
  const subscription = createClient({ baseUrl: proxy.url, token }).subscribe({ after });
  const follower = follow(subscription);
  for (let round = 1; round <= 4; round++) {
    await repeatEvents(server, 4);
    await book(server, slots);
    await follower.until(round * 5 - 2);
  }
  await assertTold(follower, { server, token, after, close: subscription.close });
  assert.equal(follower.events.length, 20);
  assert(proxy.connections >= 8, `${proxy.connections}`);
});

Deno.test("a line that falls silent is noticed by its heartbeat, and left for another", async () => {
  await using server = await startServer();
  await using proxy = await startProxy([server.url]);
  const token = await server.token("alice");
  const slots = await newSlots(server);
  // The connections of earlier requests are as silent, so each is given up soon.
  const client = createClient({ baseUrl: proxy.url, token, timeoutMs: 200 });
  const { onState, until, states } = watchStates();
  const context = { client, baseUrl: proxy.url, WebSocket: WatchedSocket, patienceMs: 400 };
  const subscription = subscribe(context, { onState });
  const follower = follow(subscription);
  await until("live");
  await book(server, slots);
  await follower.until(1);
  proxy.silence();
  await book(server, slots);
  await follower.until(2);
  const broken = states.find(({ status }, index) => status === "waiting" && states[index - 1]?.status === "live");
  assert.equal(broken?.reason, "nothing was heard");
  // One on which pings are answered is kept, however little else happens.
  const { length } = WatchedSocket.all;
  await eventuallyFrames(WatchedSocket.all.at(-1), 5);
  assert.equal(WatchedSocket.all.length, length);
  await assertTold(follower, { server, token, close: subscription.close });
});

Deno.test("a socket that misbehaves is left for another: by failing without an end, with what is no frame, or unable to send", async () => {
  await using server = await startServer();
  class OddSocket extends WatchedSocket {
    readonly #number = WatchedSocket.all.length - 1;

    constructor(address: string | URL) {
      super(address);
      if (this.#number > 2) return;
      this.addEventListener("open", (event) => {
        if (this.#number === 2) return;
        event.stopImmediatePropagation();
        this.addEventListener("close", (event) => event.stopImmediatePropagation());
        // Node's, up to 22, is never closed when it could not be opened.
        this.dispatchEvent(this.#number === 0 ? new Event("error") : new MessageEvent("message", { data: "<html>" }));
      });
    }

    /** As when the other side has closed it, and nobody was told yet. */
    override get readyState() {
      return this.#number === 2 && this.frames > 0 ? WebSocket.CLOSING : super.readyState;
    }

    override send(text: string) {
      if (this.readyState !== WebSocket.OPEN) throw new DOMException("It is not open", "InvalidStateError");
      super.send(text);
    }
  }
  WatchedSocket.all = [];
  const { onState, until, states } = watchStates();
  const client = createClient({ baseUrl: server.url, token: await server.token("alice") });
  const context = { client, baseUrl: server.url, WebSocket: OddSocket };
  const first = subscribe(context, { onState });
  const firstFollower = follow(first);
  await until("waiting", 2);
  first.close();
  await firstFollower.ended;
  // Impatience is for the third one alone: a busy machine may open the others late.
  const second = subscribe({ ...context, patienceMs: 200 }, { onState });
  const secondFollower = follow(second);
  await until("waiting", 3);
  assert.deepEqual(
    states.flatMap(({ reason }) => reason ?? []),
    ["the socket failed", "what came is no frame", "nothing was heard"],
  );
  second.close();
  await secondFollower.ended;
  await Promise.all(WatchedSocket.all.map(({ ended }) => ended));
  // The last but one says for ever that it is closing.
  WatchedSocket.all = [];
});

/** Waits until so many frames have come on a socket. */
async function eventuallyFrames(socket: WatchedSocket | undefined, count: number): Promise<void> {
  assert(socket);
  await new Promise<void>((enough) => {
    socket.addEventListener("message", () => {
      if (socket.frames >= count) enough();
    });
    socket.addEventListener("close", () => enough());
  });
}

Deno.test("who does not read for a while holds 1,000 events at most and no socket, and then reads the rest", async () => {
  await using server = await startServer();
  const token = await server.token("alice");
  const slots = await newSlots(server);
  await book(server, slots);
  await server.settled();
  const sockets: WatchedSocket[] = WatchedSocket.all = [];
  const subscription = createClient({ baseUrl: server.url, token, WebSocket: WatchedSocket }).subscribe({
    after: (await feedOf(server, token))[0]?.cursor ?? "",
  });
  await using reader = subscription[Symbol.asyncIterator]() as AsyncGenerator;
  const first = reader.next();
  await repeatEvents(server, 1_500);
  const read = [(await first).value];
  await allEnded(sockets);
  assert.equal(sockets.length, 1);
  while (sockets.length === 1) read.push((await reader.next()).value);
  // What was under way when the socket was let go was dropped, not kept.
  assert(read.length <= 1_002, `${read.length} events came over the first socket`);
  while (read.length < 1_500) read.push((await reader.next()).value);
  assert.deepEqual(read, (await feedOf(server, token)).slice(1));
  assert.equal(sockets.length, 2);
  subscription.close();
  assert.deepEqual(await reader.next(), { value: undefined, done: true });
  await allEnded(sockets);
});

Deno.test("a gap is told, also when the connection breaks between `joined` and `gap`", async () => {
  await using server = await startServer();
  const token = await server.token("alice");
  const slots = await newSlots(server);
  await server.settled();
  const { cursor: after } = await server.ok("listEvents", { token });
  await book(server, slots);
  await server.settled();
  server.clock.set("2026-04-02T10:00:00.000Z");
  await server.sweep();
  server.clock.set("2026-03-03T10:00:00.000Z");

  let broken = 0;
  /** Dies behind its first frame, twice. */
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
  const client = createClient({ baseUrl: server.url, token, WebSocket: DyingSocket });
  const subscription = client.subscribe({ after, onState });
  const follower = follow(subscription);
  await until("live", 3);
  await book(server, slots);
  await follower.until(2);
  assert.deepEqual(follower.events.map(({ event }) => event), ["gap", "booking_update"]);
  assert.equal(broken, 2);
  subscription.close();
  await follower.ended;
  await allEnded(WatchedSocket.all);
});

Deno.test("who may not join is told so by a SubscriptionError, whose token is refused by a ProblemError", async () => {
  await using server = await startServer();
  const token = await server.token("alice");
  const { id } = await server.ok("getMe", { token: await server.token("bob") });
  const client = createClient({ baseUrl: server.url, token, WebSocket: WatchedSocket });
  for (
    const [options, code] of [[{ userId: id }, "forbidden"], [{ userId: "all" }, "forbidden"], [
      { after: "no cursor" },
      "invalid_frame",
    ]] as const
  ) {
    const { onState, statuses } = watchStates();
    const { ended } = follow(client.subscribe({ ...options, onState }));
    await assert.rejects(ended, (failure) => failure instanceof SubscriptionError && failure.code === code);
    assert.equal(statuses(), "connecting closed");
  }
  const nobody = createClient({ baseUrl: server.url, token: "wrong" });
  await assert.rejects(follow(nobody.subscribe()).ended, (failure) => {
    return failure instanceof ProblemError && failure.code === "token_invalid";
  });
  const admin = createClient({ baseUrl: server.url, token: await server.token("admin", "admin") });
  const { onState, until } = watchStates();
  const all = admin.subscribe({ userId: "all", onState });
  const follower = follow(all);
  await until("live");
  await book(server, await newSlots(server));
  await follower.until(1);
  all.close();
  await follower.ended;
  assert.throws(() => admin.subscribe({ userId: 1, roomId: 1 }), TypeError);
  await allEnded(WatchedSocket.all);
});

Deno.test("a token that expires on its way, at first or after a long time, is asked for once more; one that stays bad is final", async () => {
  await using server = await startServer();
  const slots = await newSlots(server);
  const good = await server.token("alice");
  const expired = await mintToken(auth, { subject: "alice", role: "user", lifetimeSeconds: -60 });
  const given: string[] = [];
  const token = () => {
    given.push(next);
    return next;
  };
  let next = expired;
  const { onState, until } = watchStates();
  const client = createClient({ baseUrl: server.url, token, WebSocket: WatchedSocket });
  const subscription = client.subscribe({ onState });
  const follower = follow(subscription);
  await until("waiting");
  next = good;
  await until("live");
  for (const round of [1, 2]) {
    await book(server, slots);
    await follower.until(round);
    // The connection ends, as with a token whose time is over, and the token is old for another moment.
    next = expired;
    WatchedSocket.all.at(-1)?.close();
    await until("waiting", 2 * round + 1);
    next = good;
    await until("live", round + 1);
  }
  next = expired;
  WatchedSocket.all.at(-1)?.close();
  await assert.rejects(follower.ended, (failure) => {
    return failure instanceof ProblemError && failure.code === "token_expired";
  });
  assert.deepEqual(given.slice(-3), [good, expired, expired]);
  assert.equal(subscription.state.status, "closed");
});

Deno.test("a signal, close() and leaving the loop end a subscription at any time, and nothing of it is left", async (t) => {
  await using server = await startServer();
  const token = await server.token("alice");
  const slots = await newSlots(server);
  await book(server, slots);
  const [event] = await feedOf(server, token);
  await repeatEvents(server, 10);
  const after = event?.cursor ?? "";
  const client = createClient({ baseUrl: server.url, token, WebSocket: WatchedSocket });
  WatchedSocket.all = [];
  await t.step("close() when live", async () => {
    const { onState, until, statuses } = watchStates();
    const subscription = client.subscribe({ onState });
    const follower = follow(subscription);
    await until("live");
    subscription.close();
    await follower.ended;
    assert.equal(statuses(), "connecting live closed");
    await allEnded(WatchedSocket.all);
  });
  await t.step("a signal when live, which was used for many others", async () => {
    const controller = new AbortController();
    const { onState, until, statuses } = watchStates();
    const followers = Array.from({ length: 5 }, () => follow(client.subscribe({ onState, signal: controller.signal })));
    await until("live", 5);
    controller.abort();
    await Promise.all(followers.map(({ ended }) => ended));
    assert.equal(statuses().match(/closed/g)?.length, 5);
    await allEnded(WatchedSocket.all);
  });
  await t.step("a signal that was aborted before", async () => {
    const sockets = WatchedSocket.all.length;
    const { onState, statuses } = watchStates();
    await follow(client.subscribe({ onState, signal: AbortSignal.abort() })).ended;
    assert.equal(statuses(), "closed");
    assert.equal(WatchedSocket.all.length, sockets);
  });
  await t.step("close() with events in hand", async () => {
    const subscription = client.subscribe({ after });
    let read = 0;
    for await (const _ of subscription) {
      read++;
      subscription.close();
    }
    assert.equal(read, 1);
    await allEnded(WatchedSocket.all);
  });
  await t.step("leaving the loop, and going on from its cursor", async () => {
    const cursors: string[] = [];
    let from = after;
    for (const length of [3, 1, 6]) {
      const subscription = client.subscribe({ after: from });
      let left = length;
      for await (const { cursor } of subscription) {
        cursors.push(cursor);
        if (--left === 0) break;
      }
      assert.equal(subscription.state.status, "closed");
      from = subscription.cursor ?? "";
      assert.equal(from, cursors.at(-1));
    }
    assert.deepEqual(cursors, (await feedOf(server, token, after)).map(({ cursor }) => cursor));
    await allEnded(WatchedSocket.all);
  });
  await t.step("an exception in the loop", async () => {
    const loop = async () => {
      for await (const _ of client.subscribe({ after })) throw new RangeError("mine");
    };
    await assert.rejects(loop(), { name: "RangeError", message: "mine" });
    await allEnded(WatchedSocket.all);
  });
  await t.step("close() while it waits to connect again, and while it connects", async () => {
    await using proxy = await startProxy([server.url]);
    const away = createClient({ baseUrl: proxy.url, token, WebSocket: WatchedSocket });
    for (const status of ["waiting", "connecting"] as const) {
      const { onState, until, statuses } = watchStates();
      const subscription = away.subscribe({ onState });
      const follower = follow(subscription);
      await until("live");
      proxy.breakConnections();
      await until(status, status === "waiting" ? 1 : 2);
      subscription.close();
      await follower.ended;
      assert.equal(statuses(), `connecting live waiting ${status === "waiting" ? "" : "connecting "}closed`);
    }
    await allEnded(WatchedSocket.all);
  });
  await t.step("close() while the token is still being asked for", async () => {
    const asked = Promise.withResolvers<void>();
    const late = createClient({
      baseUrl: server.url,
      token: () => (asked.resolve(), new Promise<string>(() => {})),
    });
    const subscription = late.subscribe();
    const follower = follow(subscription);
    await asked.promise;
    subscription.close();
    await follower.ended;
  });
});

Deno.test("what `onState` throws ends the loop, whenever it throws", async () => {
  await using server = await startServer();
  const token = await server.token("alice");
  await using proxy = await startProxy([server.url]);
  const client = createClient({ baseUrl: proxy.url, token, WebSocket: WatchedSocket });
  for (const status of ["connecting", "live", "waiting", "closed"] as const) {
    const { onState, until } = watchStates();
    const subscription = client.subscribe({
      onState: (state) => {
        onState(state);
        if (state.status === status) throw new RangeError(status);
      },
    });
    const follower = follow(subscription);
    if (status === "waiting" || status === "closed") await until("live");
    if (status === "waiting") proxy.breakConnections();
    if (status === "closed") subscription.close();
    await assert.rejects(follower.ended, { name: "RangeError", message: status });
    assert.equal(subscription.state.status, "closed");
  }
  await allEnded(WatchedSocket.all);
});

Deno.test("a room's subscription tells which of its timeslots become free or not, and nothing else", async () => {
  await using server = await startServer();
  const slots = await newSlots(server);
  const others = await newSlots(server);
  await server.settled();
  const client = createClient({ baseUrl: server.url, token: await server.token("bob") });
  const { onState, until } = watchStates();
  const [slot] = slots;
  assert(slot);
  const subscription = client.subscribe({ roomId: slot.roomId, onState });
  const follower = follow(subscription);
  await until("live");
  await book(server, others);
  const booking = await book(server, slots);
  await server.ok("cancelBooking", { token: await server.token("alice"), params: { bookingId: booking.id } });
  await follower.until(2);
  subscription.close();
  await follower.ended;
  const seen = follower.events.map((event) => event.event === "timeslot_update" && event.data.change);
  assert.deepEqual(seen, ["taken", "freed"]);
});

Deno.test("a server below a path, named with a slash at the end or without, is found by requests and by sockets", async () => {
  await using server = await startServer();
  await using proxy = await startProxy([server.url]);
  proxy.rewrite = (bytes) => {
    const text = bytes.toString("latin1");
    if (!/^(GET|POST) \//.test(text)) return bytes;
    assert.match(text, /^\w+ \/slots\/keeper\/api\//);
    return new TextEncoder().encode(text.replace("/slots/keeper/", "/"));
  };
  const token = await server.token("alice");
  const slots = await newSlots(server);
  for (const baseUrl of [`${proxy.url}/slots/keeper`, `${proxy.url}/slots/keeper/`]) {
    const client = createClient({ baseUrl, token });
    const { onState, until } = watchStates();
    const subscription = client.subscribe({ onState });
    const follower = follow(subscription);
    await until("live");
    await book(server, slots);
    await follower.until(1);
    subscription.close();
    await follower.ended;
  }
});
