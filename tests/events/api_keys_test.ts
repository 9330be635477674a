/** What a revoked or expired API key has opened ends with it, on every server: sockets, tickets, and pages that wait. */
import assert from "node:assert/strict";
import { sql } from "kysely";
import { newBooking, newRoom, newRoomWithTimeslot, newTimeslots } from "../support/builders.ts";
import { newApiKey, revoke } from "../support/api_keys.ts";
import { newDatabase } from "../support/database.ts";
import { machineTimeAt } from "../support/machine_time.ts";
import { eventually } from "../support/process.ts";
import { startServer, type TestServer } from "../support/server.ts";
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

async function assertUsable(socket: TestSocket): Promise<void> {
  socket.send({ action: "ping" });
  await socket.until((frames) => frames.at(-1)?.event === "pong");
}

Deno.test("a key with events:read hears what happens to everybody, with a ticket too", async () => {
  await using server = await startServer();
  const { timeslot } = await newRoomWithTimeslot(server);
  const { key: token } = await newApiKey(server, { scopes });
  await using direct = await joinAll(server, { token });
  await using ticketed = await joinAll(server, { query: await ticketOf(server, token) });
  const booking = await newBooking(server, "alice", timeslot);
  for (const socket of [direct, ticketed]) {
    assert.deepEqual((await socket.expect("booking_update")).data, { type: "created", booking });
  }
});

Deno.test("the sockets of a key are closed within a second of its revocation on every server, and no others", async () => {
  await using database = await newDatabase();
  await using here = await startServer({ database });
  await using there = await startServer({ database });
  const { key: other } = await newApiKey(here, { scopes });
  await using stays = await joinAll(here, { token: other });
  await using admins = await joinAll(there, { token: await there.token("admin", "admin") });
  const delays: number[] = [];
  for (let round = 0; round < 5; round++) {
    const { apiKey, key: token } = await newApiKey(here, { scopes });
    const sockets = [
      await joinAll(here, { token }),
      await joinAll(there, { token }),
      await joinAll(there, { query: await ticketOf(here, token) }),
    ];
    await revoke(here, apiKey);
    const start = performance.now();
    for (const socket of sockets) assert.deepEqual(await socket.closed, revoked);
    delays.push(performance.now() - start);
  }
  // The machine may be busy with other tests for a moment.
  const median = delays.toSorted((a, b) => a - b)[2] ?? Infinity;
  assert(median < 1_000, `closed after ${delays.join(", ")} ms`);
  for (const socket of [stays, admins]) await assertUsable(socket);
});

Deno.test("a socket that is opened while its key is revoked is closed too", async () => {
  await using server = await startServer();
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

Deno.test("the sockets of a key are closed when it expires, also those that were opened with a ticket", async () => {
  await using server = await startServer();
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

Deno.test("while keys cannot be looked at no socket is closed, and one whose key was revoked is as soon as they can", async () => {
  await using server = await startServer();
  const { apiKey, key: token } = await newApiKey(server, { scopes });
  const { key: other } = await newApiKey(server, { scopes });
  await using socket = await joinAll(server, { token });
  await using stays = await joinAll(server, { token: other });
  const complaints = () => server.logged.filter((line) => line.includes("API keys cannot be polled")).length;
  for (const outage of [1, 2]) {
    await sql`alter table api_keys rename to api_keys_away`.execute(server.db);
    await eventually(() => Promise.resolve(complaints() === outage));
    for (const each of [socket, stays]) await assertUsable(each);
    if (outage === 2) {
      await sql`update api_keys_away set revoked_at = now() where id = ${apiKey.id}`.execute(server.db);
    }
    await sql`alter table api_keys_away rename to api_keys`.execute(server.db);
    if (outage === 1) await lookedAt(server);
  }
  assert.deepEqual(await socket.closed, revoked);
  await assertUsable(stays);
  assert.equal(complaints(), 2);
});

/** Waits until the server has looked at keys again: one that is revoked now is closed then. */
async function lookedAt(server: TestServer): Promise<void> {
  const { apiKey, key: token } = await newApiKey(server, { scopes });
  const socket = await joinAll(server, { token });
  await revoke(server, apiKey);
  assert.deepEqual(await socket.closed, revoked);
}

Deno.test("a ticket of a key that was revoked or has expired since answers 401 ticket_invalid", async () => {
  await using server = await startServer();
  const { apiKey, key } = await newApiKey(server, { scopes });
  const expiresAt = new Date(Date.now() + 20_000);
  const short = await newApiKey(server, { scopes, expiresAt: expiresAt.toISOString() });
  const { ticket: revokedOne } = await server.ok("createSocketTicket", { token: key });
  const { ticket: expiredOne } = await server.ok("createSocketTicket", { token: short.key });
  await revoke(server, apiKey);
  // The tickets themselves live for 30 seconds.
  using _then = machineTimeAt(expiresAt.getTime());
  for (const ticket of [revokedOne, expiredOne]) {
    await server.refused("ticket_invalid", "openSocket", { query: { ticket } });
  }
});

Deno.test("a ticket has the scopes of its key, and no key gets one without events:read", async () => {
  await using server = await startServer();
  const { apiKey, key: token } = await newApiKey(server, { scopes });
  const { key: unable } = await newApiKey(server, { scopes: ["bookings:read", "bookings:write"] });
  for (const id of ["createSocketTicket", "openSocket", "listEvents"] as const) {
    await server.refused("scope_missing", id, { token: unable });
  }
  const { ticket } = await server.ok("createSocketTicket", { token });
  await sql`update api_keys set scopes = '["stats:read"]' where id = ${apiKey.id}`.execute(server.db);
  await server.refused("scope_missing", "openSocket", { query: { ticket } });
});

Deno.test("a page of events that waits is not told to a key that was revoked meanwhile, nor to a token that expired", async () => {
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
  const told = server.ok("listEvents", waitingFor(live, { wait: 30 }));
  const refusals = [
    server.refused("token_invalid", "listEvents", waitingFor(key, { wait: 30 })),
    server.refused("token_expired", "listEvents", waitingFor(short, { wait: 30 })),
  ];
  await eventually(() => Promise.resolve(waiting === 3));
  await revoke(server, apiKey);
  // Not that nothing has happened, either. The time of the key passes while it waits.
  using ahead = new DisposableStack();
  onWait = () => ahead.use(machineTimeAt(Date.now() + halfAnHour));
  await server.refused("token_expired", "listEvents", waitingFor(short, { wait: 1, roomId: room.id + 1 }));
  onWait = () => {};
  const { id } = await newBooking(server, "alice", first);
  assert.deepEqual((await told).items.map(({ data }) => "booking" in data && data.booking.id).filter(Boolean), [id]);
  await Promise.all(refusals);
});
