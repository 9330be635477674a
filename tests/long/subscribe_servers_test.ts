/** Subscriptions of the SDK while servers restart, crash or hang and bookings change. */
import { createClient } from "@slotkeeper/client";
import type { Timeslot } from "../../generated/contract.ts";
import { subscribe } from "../../src/client/subscription.ts";
import { systemTiming, type Timing } from "../../src/client/timing.ts";
import { newBooking, newRoom, newTimeslots } from "../support/builders.ts";
import { openOnce } from "../support/open_once.ts";
import { freePort, type ServerProcess, startServerProcess } from "../support/process.ts";
import { startServer, testSecret, type TestServer } from "../support/server.ts";
import { assertFollowed, follow } from "../client/following.ts";
import { startProxy } from "../client/proxy.ts";

/** A server without subscribers, to write and to read the feed. It starts at the system time, which the processes use. */
let base: TestServer;
const openBase = openOnce(() => startServer({ now: Temporal.Now.instant().toString(), pool: 8 }));

function start(port: number): Promise<ServerProcess> {
  const env = {
    DATABASE_URL: base.databaseUrl,
    AUTH_JWT_SECRET: testSecret,
    RATE_LIMIT: "off",
    PAYMENT_PROVIDER: "none",
  };
  return startServerProcess("serve", { ...env, PORT: `${port}` });
}

/** Two writers book and cancel for `subject`, each its own timeslot, ten times. Those are 40 events. */
async function newWriting(subject: string): Promise<() => Promise<void>> {
  const date = Temporal.Now.plainDateISO("UTC").add({ days: 30 }).toString();
  const slots = await newTimeslots(base, await newRoom(base), { date });
  const token = await base.token(subject);
  const write = async (slot: Timeslot) => {
    for (let left = 10; left > 0; left--) {
      const { id: bookingId } = await newBooking(base, subject, slot);
      await base.ok("cancelBooking", { token, params: { bookingId } });
    }
  };
  return async () => {
    await Promise.all(slots.slice(0, 2).map(write));
  };
}

Deno.test("subscribe: server restarted, killed and paused under load -> each event once", async () => {
  base = await openBase();
  const token = await base.token("alice");
  const port = freePort();
  let server = await start(port);
  const live = Promise.withResolvers<void>();
  const subscription = createClient({ baseUrl: server.url, token }).subscribe({
    onState: ({ status }) => status === "live" && live.resolve(),
  });
  try {
    const follower = follow(subscription);
    await live.promise;
    const write = await newWriting("alice");
    for (const signal of ["SIGTERM", "SIGKILL", "SIGSTOP"] as const) {
      const writing = write();
      await follower.until(follower.events.length + 5);
      server.signal(signal);
      await writing;
      if (signal === "SIGSTOP") {
        server.signal("SIGCONT");
      } else {
        await server.end();
        server = await start(port);
      }
    }
    await assertFollowed(follower, { server: base, token, close: subscription.close });
  } finally {
    subscription.close();
    await server[Symbol.asyncDispose]();
  }
});

/** A quarter of the usual pauses between attempts. The limits that detect a hanging server are not shorter. */
const shortPauses: Timing = { ...systemTiming, sleep: (ms, signal) => systemTiming.sleep(ms / 4, signal) };

Deno.test("subscribe: one of two servers hangs, later the other is killed -> each event once", async () => {
  base = await openBase();
  const token = await base.token("bob");
  await using other = await start(0);
  await using first = await start(0);
  await using proxy = await startProxy([first.url]);
  const live = Promise.withResolvers<void>();
  // Short enough to leave a hanging server several times, long enough for a slow one.
  const context = { baseUrl: proxy.url, WebSocket, timing: shortPauses, heartbeatMs: 1_000 };
  const client = createClient({ baseUrl: proxy.url, token, timeoutMs: 2_000 });
  const subscription = subscribe({ ...context, client }, {
    onState: ({ status }) => status === "live" && live.resolve(),
  });
  try {
    const follower = follow(subscription);
    await live.promise;
    const write = await newWriting("bob");
    // The proxy alternates between the servers, so the dead one is tried again and again.
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
