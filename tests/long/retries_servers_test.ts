/** Retries of the SDK while servers are killed: each call makes one booking and gets its answer. */
import assert from "node:assert/strict";
import { createClient, unwrap } from "@slotkeeper/client";
import { rateLimits, type Timeslot } from "../../generated/contract.ts";
import { newRoom, newTimeslots } from "../support/builders.ts";
import { type Moment, newDatabaseProxy } from "../support/database_proxy.ts";
import { eventually, freePort, startServerProcess } from "../support/process.ts";
import { startServer, testSecret, type TestServer } from "../support/server.ts";

/** A server that stays alive, to read from. It starts at the system time, which the processes use. */
async function newBase() {
  const base = await startServer({ now: Temporal.Now.instant().toString() });
  const date = Temporal.Now.plainDateISO("UTC").add({ days: 30 }).toString();
  const room = await newRoom(base);
  const slots = await newTimeslots(base, room, { date, slotDuration: 5 });
  return { base, room, slots };
}

function envFor(databaseUrl: string, port: number): Record<string, string> {
  return {
    DATABASE_URL: databaseUrl,
    AUTH_JWT_SECRET: testSecret,
    PORT: `${port}`,
    RATE_LIMIT: "off",
    MAX_PENDING_BOOKINGS: "0",
    PAYMENT_PROVIDER: "none",
  };
}

async function bookingsOf({ db }: TestServer) {
  return await db.selectFrom("bookings").select(["id", "timeslot_id"]).orderBy("id").execute();
}

Deno.test("SDK: server killed before or after the commit of a booking -> one booking and its answer", async () => {
  const { base: server, slots, room } = await newBase();
  await using base = server;
  await using proxy = await newDatabaseProxy(base.databaseUrl);
  const env = envFor(proxy.url, freePort());
  const first = await startServerProcess("serve", env);
  /** Books a timeslot, and resolves when the server is held at the commit. */
  const bookInto = async (moment: Moment, subject: string, slot: Timeslot | undefined) => {
    assert(slot);
    const client = createClient({ baseUrl: first.url, token: await base.token(subject), retries: 12 });
    const held = proxy.hold(moment, /insert into idempotency_keys/);
    const booking = client.POST("/api/v1/bookings", { body: { roomId: room.id, timeslotId: slot.id } });
    await Promise.race([held, booking]);
    return { booking, slot };
  };
  const before = await bookInto("before", "alice", slots[0]);
  assert.deepEqual(await bookingsOf(base), []);
  const after = await bookInto("after", "bob", slots[1]);
  const [committed] = await bookingsOf(base);
  assert.equal(committed?.timeslot_id, after.slot.id);
  first.signal("SIGKILL");
  await first.end();
  await using _second = await startServerProcess("serve", env);
  const expected = [];
  for (const [{ booking, slot }, replayed] of [[after, "true"], [before, null]] as const) {
    const { data, response } = await booking;
    assert.equal(response.status, 201);
    assert.equal(response.headers.get("Idempotency-Replayed"), replayed);
    expected.push({ id: data?.booking.id, timeslot_id: slot.id });
  }
  assert.equal(expected[0]?.id, committed.id);
  assert.deepEqual(await bookingsOf(base), expected);
});

Deno.test("SDK: 20 clients, server killed three times -> no booking twice, no answer lost", async () => {
  const { base: server, slots, room } = await newBase();
  await using base = server;
  const env = envFor(base.databaseUrl, freePort());
  let process = await startServerProcess("serve", env);
  let answered = 0;
  /** Waits until at least `count` are answered. Clients continue while a server starts. */
  const untilAnswered = (count: number) => eventually(() => Promise.resolve(answered >= count));
  const client = async (subject: string, own: typeof slots) => {
    const sdk = createClient({ baseUrl: process.url, token: await base.token(subject), retries: 30 });
    const made: [number, number][] = [];
    for (const { id: timeslotId } of own) {
      const { booking } = await unwrap(sdk.POST("/api/v1/bookings", { body: { roomId: room.id, timeslotId } }));
      made.push([booking.id, timeslotId]);
      answered++;
    }
    return made;
  };
  try {
    const clients = Array.from(
      { length: 20 },
      (_, index) => client(`user ${index}`, slots.slice(index * 4, index * 4 + 4)),
    );
    await untilAnswered(10);
    for (const count of [30, 50, undefined]) {
      process.signal("SIGKILL");
      await process.end();
      process = await startServerProcess("serve", env);
      if (count !== undefined) await untilAnswered(count);
    }
    const made = (await Promise.all(clients)).flat().sort(([a], [b]) => a - b);
    assert.equal(made.length, 80);
    assert.deepEqual((await bookingsOf(base)).map(({ id, timeslot_id }) => [id, timeslot_id]), made);
  } finally {
    await process[Symbol.asyncDispose]();
  }
});

Deno.test("SDK: over the rate limit -> served in the next window", async () => {
  const user = { quota: 3, windowSeconds: 1 };
  await using server = await startServer({ env: { RATE_LIMIT: "on" }, rateLimits: { ...rateLimits, user } });
  const client = createClient({ baseUrl: server.url, token: await server.token("alice") });
  const statuses: number[] = [];
  const counting = createClient({
    baseUrl: server.url,
    token: await server.token("alice"),
    fetch: async (request) => {
      const response = await fetch(request);
      statuses.push(response.status);
      return response;
    },
  });
  await unwrap(client.GET("/api/v1/me"));
  // A pause of the machine may split them into two windows. Then they are sent again.
  await eventually(async () => {
    const all = await Promise.all(Array.from({ length: 6 }, () => unwrap(counting.GET("/api/v1/me"))));
    assert.equal(new Set(all.map(({ id }) => id)).size, 1);
    return statuses.includes(429);
  });
});

Deno.test("SDK: server not listening yet -> retried until it listens", async () => {
  const port = freePort();
  let failures = 0;
  let http: Deno.HttpServer | undefined;
  const client = createClient({
    baseUrl: `http://127.0.0.1:${port}`,
    fetch: async (request) => {
      try {
        return await fetch(request);
      } catch (failure) {
        if (++failures === 2) {
          http = Deno.serve({ hostname: "127.0.0.1", port, onListen() {} }, () => Response.json({ id: 1 }));
        }
        throw failure;
      }
    },
  });
  const call = client.POST("/api/v1/bookings", { body: { roomId: 1, timeslotId: 1 } });
  assert.deepEqual(await unwrap(call), { id: 1 });
  assert.equal(failures, 2);
  await http?.shutdown();
});
