/** Subscriptions of the SDK to servers that restart, are killed, or hang, while bookings change. */
import { createClient } from "@slotkeeper/client";
import type { Timeslot } from "../../generated/contract.ts";
import { subscribe } from "../../src/client/subscription.ts";
import { systemTiming } from "../../src/client/timing.ts";
import { newBooking, newRoom, newTimeslots } from "../support/builders.ts";
import { freePort, type ServerProcess, startServerProcess } from "../support/process.ts";
import { startServer, testSecret, type TestServer } from "../support/server.ts";
import { assertFollowed, follow } from "../client/following.ts";
import { startProxy } from "../client/proxy.ts";

/** A server of which no subscriber knows, to write through and to look at the feed. The processes live by the machine's clock. */
function startBase(): Promise<TestServer> {
  return startServer({ now: Temporal.Now.instant().toString(), pool: 8 });
}

function start(base: TestServer, port: number): Promise<ServerProcess> {
  const env = {
    DATABASE_URL: base.databaseUrl,
    AUTH_JWT_SECRET: testSecret,
    RATE_LIMIT: "off",
    PAYMENT_PROVIDER: "none",
  };
  return startServerProcess("serve", { ...env, PORT: `${port}` });
}

/** Has two writers book and cancel for alice, each its own timeslot, ten times over. Those are 40 events. */
async function newWriting(base: TestServer): Promise<() => Promise<void>> {
  const date = Temporal.Now.plainDateISO("UTC").add({ days: 30 }).toString();
  const slots = await newTimeslots(base, await newRoom(base), { date });
  const token = await base.token("alice");
  const write = async (slot: Timeslot) => {
    for (let left = 10; left > 0; left--) {
      const { id: bookingId } = await newBooking(base, "alice", slot);
      await base.ok("cancelBooking", { token, params: { bookingId } });
    }
  };
  return async () => {
    await Promise.all(slots.slice(0, 2).map(write));
  };
}

Deno.test("a server that is restarted, killed and stopped for a while under load costs a subscription no event", async () => {
  await using base = await startBase();
  const token = await base.token("alice");
  const port = freePort();
  let server = await start(base, port);
  const live = Promise.withResolvers<void>();
  const subscription = createClient({ baseUrl: server.url, token }).subscribe({
    onState: ({ status }) => status === "live" && live.resolve(),
  });
  try {
    const follower = follow(subscription);
    await live.promise;
    const write = await newWriting(base);
    for (const signal of ["SIGTERM", "SIGKILL", "SIGSTOP"] as const) {
      const writing = write();
      await follower.until(follower.events.length + 5);
      server.signal(signal);
      await writing;
      if (signal === "SIGSTOP") {
        server.signal("SIGCONT");
      } else {
        await server.end();
        server = await start(base, port);
      }
    }
    await assertFollowed(follower, { server: base, token, close: subscription.close });
  } finally {
    subscription.close();
    await server[Symbol.asyncDispose]();
  }
});

Deno.test("when one of two servers hangs, and later the other one is killed, a subscription goes on where it can", async () => {
  await using base = await startBase();
  const token = await base.token("alice");
  await using other = await start(base, 0);
  await using first = await start(base, 0);
  await using proxy = await startProxy([first.url]);
  const live = Promise.withResolvers<void>();
  // Little enough to leave a server that hangs a few times, and enough for one that is only slow.
  const context = { baseUrl: proxy.url, WebSocket, timing: systemTiming, heartbeatMs: 1_000 };
  const client = createClient({ baseUrl: proxy.url, token, timeoutMs: 2_000 });
  const subscription = subscribe({ ...context, client }, {
    onState: ({ status }) => status === "live" && live.resolve(),
  });
  try {
    const follower = follow(subscription);
    await live.promise;
    const write = await newWriting(base);
    // From now on to each in its turn, so the one that is not there is met again and again.
    proxy.targets = [first.url, other.url];
    for (const hit of [() => first.signal("SIGSTOP"), () => other.signal("SIGKILL")]) {
      const count = follower.events.length;
      const writing = write();
      await follower.until(count + 5);
      hit();
      await writing;
      await follower.until(count + 40);
      first.signal("SIGCONT");
    }
    await assertFollowed(follower, { server: base, token, close: subscription.close });
  } finally {
    subscription.close();
  }
});
