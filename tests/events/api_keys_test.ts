/** Sockets, tickets and waiting pages of an API key end when it expires or is revoked, on every server. */
import assert from "node:assert/strict";
import type { LogEvent } from "kysely";
import { sql } from "kysely";
import { newBooking, newRoom, newRoomWithTimeslot, newTimeslots } from "../support/builders.ts";
import { accessCheckMs } from "../../src/subscriptions/sockets.ts";
import { newApiKey, revoke } from "../support/api_keys.ts";
import { machineTimeAt } from "../support/machine_time.ts";
import { eventually } from "../support/process.ts";
import { sharedServer, startServer, type TestServer } from "../support/server.ts";
import { openSocket, type TestSocket } from "../support/socket.ts";

const scopes = ["events:read"];
const halfAnHour = 1_800_000;
const revoked = { code: 4401, reason: "The API key was revoked" };

async function joinAll(server: TestServer, how: Parameters<typeof openSocket>[1]): Promise<TestSocket> {
  const socket = await openSocket(server, how);
  socket.send({ action: "join_booking_room", userId: "all" });
  assert.equal((await socket.expect("joined")).userId, "all");
  return socket;
}

async function ticketOf(server: TestServer, token: string): Promise<string> {
  return `?ticket=${(await server.ok("createSocketTicket", { token })).ticket}`;
}

Deno.test("join_booking_room: all, as a key with events:read or its ticket -> events of all users", async () => {
  await using server = await sharedServer();
  const { timeslot } = await newRoomWithTimeslot(server);
  const { key: token } = await newApiKey(server, { scopes });
  await server.settled();
  await using direct = await joinAll(server, { token });
  await using ticketed = await joinAll(server, { query: await ticketOf(server, token) });
  const booking = await newBooking(server, "alice", timeslot);
  for (const socket of [direct, ticketed]) {
    assert.deepEqual((await socket.expect("booking_update")).data, { type: "created", booking });
  }
});

Deno.test("revokeApiKey: sockets on two servers -> closed with the second poll at the latest, others stay open", async () => {
  await using shared = await sharedServer();
  const url = shared.databaseUrl;
  /** The key ids of each poll, by server. The statement has them as an array's text. */
  const polls: Record<"here" | "there", number[][]> = { here: [], there: [] };
  const logPolls = (name: keyof typeof polls) => ({ level, query: { sql, parameters } }: LogEvent) => {
    const isPoll = level === "query" && /^select "id" from "api_keys" where .*"revoked_at" is null/.test(sql);
    if (isPoll) polls[name].push(String(parameters[0]).match(/\d+/g)?.map(Number) ?? []);
  };
  await using here = await startServer({ database: { url }, log: logPolls("here") });
  await using there = await startServer({ database: { url }, log: logPolls("there") });
  const { key: other } = await newApiKey(here, { scopes });
  await using stays = await joinAll(here, { token: other });
  await using admins = await joinAll(there, { token: await there.token("admin", "admin") });
  const { apiKey, key: token } = await newApiKey(here, { scopes });
  const sockets = [
    await joinAll(here, { token }),
    await joinAll(there, { token }),
    await joinAll(there, { query: await ticketOf(here, token) }),
  ];
  const names = ["here", "there"] as const;
  await eventually(() => Promise.resolve(names.every((name) => polls[name].some((keys) => keys.includes(apiKey.id)))));
  await revoke(here, apiKey);
  for (const name of names) polls[name].length = 0;
  for (const socket of sockets) assert.deepEqual(await socket.closed, revoked);
  // A poll may run at the end of the revocation. The next one finds the key, and no later one asks for it.
  for (const ofServer of Object.values(polls)) {
    const count = ofServer.filter((keys) => keys.includes(apiKey.id)).length;
    assert(count <= 2, `${count} polls`);
  }
  assert(2 * accessCheckMs <= 1_000, "a revoked key may be used for more than a second");
  // The other sockets are still open.
  for (const socket of [stays, admins]) await socket.settled();
});

Deno.test("revokeApiKey: sockets being opened at the same time -> closed", async () => {
  await using server = await sharedServer();
  for (let round = 0; round < 3; round++) {
    const { apiKey, key: token } = await newApiKey(server, { scopes });
    const tickets = await Promise.all(Array.from({ length: 5 }, () => ticketOf(server, token)));
    const ways = [...tickets.map((query) => ({ query })), ...Array.from({ length: 5 }, () => ({ token }))];
    const opening = ways.map((way) => openSocket(server, way));
    const [attempts] = await Promise.all([Promise.allSettled(opening), revoke(server, apiKey)]);
    for (const attempt of attempts) {
      if (attempt.status === "fulfilled") assert.deepEqual(await attempt.value.closed, revoked);
    }
  }
});

Deno.test("openSocket: its key expires, also behind a ticket -> closed with 4401", async () => {
  await using server = await sharedServer();
  const { key: token } = await newApiKey(server, {
    scopes,
    expiresAt: new Date(Date.now() + halfAnHour).toISOString(),
  });
  const sockets = [await joinAll(server, { token }), await joinAll(server, { query: await ticketOf(server, token) })];
  using _then = machineTimeAt(Date.now() + halfAnHour);
  for (const socket of sockets) {
    assert.deepEqual(await socket.closed, { code: 4401, reason: "The API key has expired" });
  }
});

Deno.test("revokeApiKey: the table of keys cannot be read -> no socket closes, and after the outage only the revoked one", async () => {
  await using server = await startServer();
  const { apiKey, key: token } = await newApiKey(server, { scopes });
  const { key: other } = await newApiKey(server, { scopes });
  await using socket = await joinAll(server, { token });
  await using stays = await joinAll(server, { token: other });
  const complaints = () => server.logged.filter((entry) => entry.includes("API keys cannot be polled")).length;
  for (const outage of [1, 2]) {
    await sql`alter table api_keys rename to api_keys_away`.execute(server.db);
    await eventually(() => Promise.resolve(complaints() === outage));
    for (const each of [socket, stays]) await each.settled();
    if (outage === 2) {
      await sql`update api_keys_away set revoked_at = now() where id = ${apiKey.id}`.execute(server.db);
    }
    await sql`alter table api_keys_away rename to api_keys`.execute(server.db);
    if (outage === 1) await nextPoll(server);
  }
  assert.deepEqual(await socket.closed, revoked);
  // The other socket is still open.
  await stays.settled();
  assert.equal(complaints(), 2);
});

/** Waits until the server has polled the keys again: that poll closes the socket of a key revoked now. */
async function nextPoll(server: TestServer): Promise<void> {
  const { apiKey, key: token } = await newApiKey(server, { scopes });
  const socket = await joinAll(server, { token });
  await revoke(server, apiKey);
  assert.deepEqual(await socket.closed, revoked);
}

Deno.test("openSocket: a ticket of a key that is revoked or expired since -> 401 ticket_invalid", async () => {
  await using server = await sharedServer();
  const { apiKey, key } = await newApiKey(server, { scopes });
  const expiresAt = new Date(Date.now() + 20_000);
  const short = await newApiKey(server, { scopes, expiresAt: expiresAt.toISOString() });
  const { ticket: revokedOne } = await server.ok("createSocketTicket", { token: key });
  const { ticket: expiredOne } = await server.ok("createSocketTicket", { token: short.key });
  await revoke(server, apiKey);
  // The tickets expire after 30 seconds.
  using _then = machineTimeAt(expiresAt.getTime());
  for (const ticket of [revokedOne, expiredOne]) {
    await server.refused("ticket_invalid", "openSocket", { query: { ticket } });
  }
});

Deno.test("createSocketTicket: a key without events:read, or that loses it -> 403 scope_missing", async () => {
  await using server = await sharedServer();
  const { apiKey, key: token } = await newApiKey(server, { scopes });
  const { key: unable } = await newApiKey(server, { scopes: ["bookings:read", "bookings:write"] });
  for (const id of ["createSocketTicket", "openSocket", "listEvents"] as const) {
    await server.refused("scope_missing", id, { token: unable });
  }
  const { ticket } = await server.ok("createSocketTicket", { token });
  await sql`update api_keys set scopes = '["stats:read"]' where id = ${apiKey.id}`.execute(server.db);
  await server.refused("scope_missing", "openSocket", { query: { ticket } });
});

Deno.test("listEvents: the key is revoked or expires during the wait -> 401, and a live key gets the events", async () => {
  await using server = await startServer();
  const room = await newRoom(server);
  const [first] = await newTimeslots(server, room, { date: "2026-03-09" });
  assert(first);
  await server.settled();
  const { apiKey, key } = await newApiKey(server, { scopes });
  const { key: live } = await newApiKey(server, { scopes });
  const expiresAt = new Date(Date.now() + halfAnHour).toISOString();
  const { key: short } = await newApiKey(server, { scopes, expiresAt });
  let waiting = 0;
  let onWait = () => {};
  const next = server.feed.next.bind(server.feed);
  server.feed.next = (filter) => {
    const event = next(filter);
    const within = (ms: number) => {
      waiting++;
      onWait();
      return event.within(ms);
    };
    return { ...event, within };
  };
  const waitingFor = (token: string, query: Record<string, number>) => ({
    token,
    query: { after: "latest", ...query },
  });
  const page = server.ok("listEvents", waitingFor(live, { wait: 30 }));
  const refusals = [
    server.refused("token_invalid", "listEvents", waitingFor(key, { wait: 30 })),
    server.refused("token_expired", "listEvents", waitingFor(short, { wait: 30 })),
  ];
  await eventually(() => Promise.resolve(waiting === 3));
  await revoke(server, apiKey);
  // An empty page is refused, too. The key expires during the wait.
  using ahead = new DisposableStack();
  onWait = () => ahead.use(machineTimeAt(Date.now() + halfAnHour));
  await server.refused("token_expired", "listEvents", waitingFor(short, { wait: 1, roomId: room.id + 1 }));
  onWait = () => {};
  const { id } = await newBooking(server, "alice", first);
  assert.deepEqual((await page).items.map(({ data }) => "booking" in data && data.booking.id).filter(Boolean), [id]);
  await Promise.all(refusals);
});
