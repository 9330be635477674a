/** Subscriptions of the SDK: joining, tokens, and the end of a subscription. */
import assert from "node:assert/strict";
import { createClient, ProblemError, SubscriptionError } from "@slotkeeper/client";
import { mintToken } from "../../src/auth/tokens.ts";
import { createClientWithTiming } from "../../src/client/client.ts";
import { parseConfig } from "../../src/config.ts";
import { sharedServer, testSecret } from "../support/server.ts";
import {
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

const { auth } = parseConfig({ AUTH_JWT_SECRET: testSecret });

for (
  const [condition, options, code] of [
    ["another user", { userId: 1 }, "forbidden"],
    ["all users, without admin role", { userId: "all" }, "forbidden"],
    ["invalid cursor", { after: "no cursor" }, "invalid_frame"],
  ] as const
) {
  Deno.test(`subscribe: ${condition} -> SubscriptionError ${code}`, async () => {
    await using server = await sharedServer();
    const other = await server.ok("getMe", { token: await server.token("bob") });
    const token = await server.token("alice");
    const { onState, statuses } = watchStates();
    const client = createClient({ baseUrl: server.url, token, WebSocket: WatchedSocket });
    const join = "userId" in options && options.userId === 1 ? { userId: other.id } : options;
    const { ended } = follow(client.subscribe({ ...join, onState }));
    await assert.rejects(ended, (failure) => failure instanceof SubscriptionError && failure.code === code);
    assert.equal(statuses(), "connecting closed");
    await untilAllEnded();
  });
}

Deno.test("subscribe: invalid token -> ProblemError token_invalid", async () => {
  await using server = await sharedServer();
  const client = createClientWithTiming({ baseUrl: server.url, token: "wrong" }, new ManualTiming());
  await assert.rejects(follow(client.subscribe()).ended, (failure) => {
    return failure instanceof ProblemError && failure.code === "token_invalid";
  });
});

Deno.test("subscribe: `userId` and `roomId` -> TypeError", async () => {
  await using server = await sharedServer();
  const client = createClient({ baseUrl: server.url, token: await server.token("admin", "admin") });
  assert.throws(() => client.subscribe({ userId: 1, roomId: 1 }), TypeError);
});

Deno.test("subscribe: admin follows all users -> events of another user", async () => {
  await using server = await sharedServer();
  const { book } = await newSubscriber(server, "alice");
  await server.settled();
  const client = createClient({ baseUrl: server.url, token: await server.token("admin", "admin") });
  const { onState, until } = watchStates();
  const subscription = client.subscribe({ userId: "all", onState });
  const follower = follow(subscription);
  await until("live");
  const { id } = await book();
  await follower.until(1);
  subscription.close();
  await follower.ended;
  const [event] = follower.events;
  assert(event?.event === "booking_update" && event.data.booking.id === id);
});

Deno.test("subscribe: room -> `taken` and `freed` of its timeslots, no events of other rooms", async () => {
  await using server = await sharedServer();
  const writer = await newSubscriber(server, "alice");
  const other = await newSubscriber(server, "bob");
  await server.settled();
  const client = createClient({ baseUrl: server.url, token: await server.token("carol") });
  const { onState, until } = watchStates();
  const subscription = client.subscribe({ roomId: writer.roomId, onState });
  const follower = follow(subscription);
  await until("live");
  await other.book();
  const { id: bookingId } = await writer.book();
  await server.ok("cancelBooking", { token: writer.token, params: { bookingId } });
  await follower.until(2);
  subscription.close();
  await follower.ended;
  const changes = follower.events.map((event) => event.event === "timeslot_update" && event.data.change);
  assert.deepEqual(changes, ["taken", "freed"]);
});

Deno.test("subscribe: token expires once -> new token and live again; twice in a row -> ProblemError token_expired", async () => {
  await using server = await sharedServer();
  const { token: good, book } = await newSubscriber(server, "alice");
  const expired = await mintToken(auth, { subject: server.subject("alice"), role: "user", lifetimeSeconds: -60 });
  const tokens = [expired, good, expired, good, expired, good, expired, expired];
  const { onState, until } = watchStates();
  const client = createClientWithTiming(
    { baseUrl: server.url, token: () => tokens.shift() ?? "", WebSocket: WatchedSocket },
    new ManualTiming(),
  );
  const subscription = client.subscribe({ onState });
  const follower = follow(subscription);
  await until("live");
  for (const round of [1, 2]) {
    await book();
    await follower.until(round);
    WatchedSocket.all.at(-1)?.close();
    await until("live", round + 1);
  }
  WatchedSocket.all.at(-1)?.close();
  await assert.rejects(follower.ended, (failure) => {
    return failure instanceof ProblemError && failure.code === "token_expired";
  });
  assert.deepEqual(tokens, []);
  assert.equal(subscription.state.status, "closed");
});

Deno.test("subscribe: signal, close() or leaving the loop, at any time -> the loop ends, no socket or timer is left", async (t) => {
  await using server = await sharedServer();
  const { token, book } = await newSubscriber(server, "alice");
  const booking = await book();
  const [event] = await storedEvents(server, token);
  await repeatEvent(server, booking, 10);
  const after = event?.cursor ?? "";
  const timing = new ManualTiming();
  const client = createClientWithTiming({ baseUrl: server.url, token, WebSocket: WatchedSocket }, timing);
  const assertNothingLeft = async () => {
    await untilAllEnded();
    assert.equal(timing.timers, 0);
  };
  await t.step("close(): live -> closed", async () => {
    const { onState, until, statuses } = watchStates();
    const subscription = client.subscribe({ onState });
    const follower = follow(subscription);
    await until("live");
    subscription.close();
    await follower.ended;
    assert.equal(statuses(), "connecting live closed");
    await assertNothingLeft();
  });
  await t.step("signal: aborted while 5 subscriptions are live -> all closed", async () => {
    const controller = new AbortController();
    const { onState, until, statuses } = watchStates();
    const followers = Array.from({ length: 5 }, () => follow(client.subscribe({ onState, signal: controller.signal })));
    await until("live", 5);
    controller.abort();
    await Promise.all(followers.map(({ ended }) => ended));
    assert.equal(statuses().match(/closed/g)?.length, 5);
    await assertNothingLeft();
  });
  await t.step("signal: aborted before -> closed without a socket", async () => {
    const sockets = WatchedSocket.all.length;
    const { onState, statuses } = watchStates();
    await follow(client.subscribe({ onState, signal: AbortSignal.abort() })).ended;
    assert.equal(statuses(), "closed");
    assert.equal(WatchedSocket.all.length, sockets);
  });
  await t.step("close(): events wait to be read -> they are dropped", async () => {
    const subscription = client.subscribe({ after });
    let count = 0;
    for await (const _ of subscription) {
      count++;
      subscription.close();
    }
    assert.equal(count, 1);
    await assertNothingLeft();
  });
  await t.step("break: next subscription starts at the cursor -> each event once", async () => {
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
    assert.deepEqual(cursors, (await storedEvents(server, token, after)).map(({ cursor }) => cursor));
    await assertNothingLeft();
  });
  await t.step("exception in the loop -> thrown, closed", async () => {
    const loop = async () => {
      for await (const _ of client.subscribe({ after })) throw new RangeError("mine");
    };
    await assert.rejects(loop(), { name: "RangeError", message: "mine" });
    await assertNothingLeft();
  });
  await t.step("close(): waiting or connecting -> closed", async () => {
    await using proxy = await startProxy([server.url]);
    for (const status of ["waiting", "connecting"] as const) {
      timing.hold();
      const away = createClientWithTiming({ baseUrl: proxy.url, token, WebSocket: WatchedSocket }, timing);
      const { onState, until, statuses } = watchStates();
      const subscription = away.subscribe({ onState });
      const follower = follow(subscription);
      await until("live");
      proxy.breakConnections();
      await until("waiting");
      if (status === "connecting") {
        timing.release();
        await until("connecting", 2);
      }
      subscription.close();
      await follower.ended;
      assert.equal(statuses(), `connecting live waiting ${status === "waiting" ? "" : "connecting "}closed`);
    }
    await assertNothingLeft();
  });
  await t.step("close(): function for tokens never returns -> closed", async () => {
    const called = Promise.withResolvers<void>();
    const token = () => (called.resolve(), new Promise<string>(() => {}));
    const late = createClientWithTiming({ baseUrl: server.url, token }, timing);
    const subscription = late.subscribe();
    const follower = follow(subscription);
    await called.promise;
    subscription.close();
    await follower.ended;
    await assertNothingLeft();
  });
});

for (const status of ["connecting", "live", "waiting", "closed"] as const) {
  Deno.test(`subscribe: onState throws at ${status} -> thrown by the loop, closed`, async () => {
    await using server = await sharedServer();
    await using proxy = await startProxy([server.url]);
    const token = await server.token("alice");
    const client = createClient({ baseUrl: proxy.url, token, WebSocket: WatchedSocket });
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
    await untilAllEnded();
  });
}

Deno.test("createClient: server below a path, with or without a trailing slash -> requests and sockets find it", async () => {
  await using server = await sharedServer();
  await using proxy = await startProxy([server.url]);
  proxy.rewrite = (bytes) => {
    const text = bytes.toString("latin1");
    if (!/^(GET|POST) \//.test(text)) return bytes;
    assert.match(text, /^\w+ \/slots\/keeper\/api\//);
    return new TextEncoder().encode(text.replace("/slots/keeper/", "/"));
  };
  const { token, book } = await newSubscriber(server, "alice");
  await server.settled();
  for (const baseUrl of [`${proxy.url}/slots/keeper`, `${proxy.url}/slots/keeper/`]) {
    const client = createClient({ baseUrl, token });
    const { onState, until } = watchStates();
    const subscription = client.subscribe({ onState });
    const follower = follow(subscription);
    await until("live");
    await book();
    await follower.until(1);
    subscription.close();
    await follower.ended;
  }
});
