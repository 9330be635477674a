/** Resume with a cursor: a subscriber gets each event, or a `gap` if events are missing. */
import assert from "node:assert/strict";
import { sql } from "kysely";
import { adoptFeed } from "../../src/events/queries.ts";
import { newBooking, newRoom, newTimeslots } from "../support/builders.ts";
import { sharedServer, startServer, type TestServer } from "../support/server.ts";
import { openSocket, type TestSocket } from "../support/socket.ts";

/** A socket of alice that has joined her booking room. */
async function join(server: TestServer, after?: string): Promise<TestSocket> {
  await server.settled();
  const socket = await openSocket(server, { token: await server.token("alice") });
  socket.send({ action: "join_booking_room", ...(after === undefined ? {} : { after }) });
  return socket;
}

async function slotsOf(server: TestServer) {
  return await newTimeslots(server, await newRoom(server), { date: "2026-03-09" });
}

Deno.test("resume: the cursor of joined -> each later event, as over HTTP", async () => {
  await using server = await sharedServer();
  const [first, second, third] = await slotsOf(server);
  assert(first && second && third);
  await newBooking(server, "alice", first);
  await server.settled();
  await using early = await join(server);
  const { cursor } = await early.expect("joined");
  const bookings = [await newBooking(server, "alice", second), await newBooking(server, "alice", third)];
  const frames = [await early.expect("booking_update"), await early.expect("booking_update")];
  await using late = await join(server, cursor);
  assert.equal((await late.expect("joined")).cursor, cursor);
  for (const [index, frame] of frames.entries()) {
    assert.deepEqual(await late.expect("booking_update"), frame);
    assert.deepEqual(frame.data.booking, bookings[index]);
  }
  // The same as over HTTP.
  await server.settled();
  const token = await server.token("alice");
  assert.deepEqual((await server.ok("listEvents", { token, query: { after: cursor } })).items, frames);
  // `latest` is the default.
  early.send({ action: "join_booking_room", after: "latest" });
  await early.expect("joined");
  early.send({ action: "ping" });
  await early.expect("pong");
});

Deno.test("resume: after retention removed events -> gap, then live events", async () => {
  await using server = await startServer();
  const [first, second] = await slotsOf(server);
  assert(first && second);
  const token = await server.token("alice");
  await server.settled();
  const { cursor } = await server.ok("listEvents", { token });
  await newBooking(server, "alice", first);
  await server.settled();
  server.clock.set("2026-04-02T10:00:00.000Z");
  await server.sweep();
  server.clock.set("2026-03-03T10:00:00.000Z");
  await using socket = await join(server, cursor);
  const joined = await socket.expect("joined");
  const gap = await socket.expect("gap");
  assert.deepEqual([gap.cursor, gap.userId], [joined.cursor, joined.userId]);
  const booking = await newBooking(server, "alice", second);
  const { data } = await socket.expect("booking_update");
  assert.deepEqual(data.booking, booking);
  await using again = await join(server, gap.cursor);
  assert.equal((await again.expect("joined")).cursor, gap.cursor);
  assert.deepEqual((await again.expect("booking_update")).data.booking, booking);
});

Deno.test("retention: servers remove old events at once -> all old ones removed, others kept", async () => {
  await using first = await startServer();
  await using second = await startServer({ database: { url: first.databaseUrl } });
  const [slot] = await slotsOf(first);
  assert(slot);
  await newBooking(first, "alice", slot);
  await sql`
    insert into booking_events (type, user_id, room_id, booking_id, occurred_at, data)
    select type, user_id, room_id, booking_id, '2026-01-01Z', data from booking_events, generate_series(1, 6000)
    where type = 'created'
  `.execute(first.db);
  for (const { clock } of [first, second]) clock.set("2026-03-03T10:00:00.000Z");
  await Promise.all([first.sweep(), second.sweep(), first.sweep(), second.sweep()]);
  const { rows } = await sql<{ type: string }>`select type from booking_events order by id`.execute(first.db);
  assert.deepEqual(rows.map(({ type }) => type), ["generated", "created", "taken"]);
});

Deno.test("resume: a database moved to another Postgres -> new events follow the old ones, gap for old cursors", async () => {
  await using before = await startServer();
  const [first, second] = await slotsOf(before);
  assert(first && second);
  const old = await newBooking(before, "alice", first);
  const token = await before.token("alice");
  await before.settled();
  const { cursor } = await before.ok("listEvents", { token });
  // Like a dump of a cluster with much higher transaction ids.
  await sql`update booking_events set transaction_id = '9000000000' where true`.execute(before.db);
  await sql`update event_feed set cluster = 'another'`.execute(before.db);
  assert.equal(await adoptFeed(before.db), true);
  assert.equal(await adoptFeed(before.db), false);

  await using server = await startServer({ database: { url: before.databaseUrl } });
  await using socket = await join(server, cursor);
  await socket.expect("joined");
  await socket.expect("gap");
  const booking = await newBooking(server, "alice", second);
  assert.deepEqual((await socket.expect("booking_update")).data.booking, booking);
  await server.settled();
  const { items } = await server.ok("listEvents", { token });
  assert.deepEqual(items.map(({ data }) => "booking" in data && data.booking.id), [old.id, booking.id]);
  await server.refused("cursor_expired", "listEvents", { token, query: { after: cursor } });
});

Deno.test("resume: an event that cannot be rendered -> a log entry and gap, then the later events", async () => {
  await using server = await startServer();
  const [first, second] = await slotsOf(server);
  assert(first && second);
  await newBooking(server, "alice", first);
  await server.settled();
  await using socket = await join(server);
  await socket.expect("joined");
  await sql`
    insert into booking_events (type, user_id, room_id, booking_id, occurred_at, data)
    select type, user_id, room_id, booking_id, occurred_at, '{}' from booking_events where type = 'created'
  `.execute(server.db);
  server.feed.announce();
  await socket.expect("gap");
  const booking = await newBooking(server, "alice", second);
  assert.deepEqual((await socket.expect("booking_update")).data.booking, booking);
  assert(server.logged.some((entry) => entry.includes("event cannot be rendered")));
  // Over HTTP the page is refused, and `latest` continues behind it.
  await server.settled();
  const token = await server.token("alice");
  await server.refused("cursor_expired", "listEvents", { token });
  const { cursor } = await server.ok("listEvents", { token, query: { after: "latest" } });
  assert.deepEqual((await server.ok("listEvents", { token, query: { after: cursor } })).items, []);
});

Deno.test("feed: an older transaction is open -> events wait, and follow when it ends", async () => {
  await using server = await sharedServer();
  const [slot] = await slotsOf(server);
  assert(slot);
  await using socket = await join(server);
  await socket.expect("joined");
  const token = await server.token("alice");
  let booking: unknown;
  await server.db.transaction().execute(async (trx) => {
    await sql`select pg_current_xact_id()`.execute(trx);
    booking = await newBooking(server, "alice", slot);
    assert.deepEqual((await server.ok("listEvents", { token })).items, []);
    socket.send({ action: "ping" });
    await socket.expect("pong");
  });
  assert.deepEqual((await socket.expect("booking_update")).data.booking, booking);
  await server.settled();
  assert.equal((await server.ok("listEvents", { token })).items.length, 1);
});

Deno.test("resume: the database is set back behind a running server -> closed with 1012, then gap", async () => {
  await using server = await startServer();
  const [first, second] = await slotsOf(server);
  assert(first && second);
  await using socket = await join(server);
  await socket.expect("joined");
  // Like a failover to a standby without the last transactions: the feed's position lies ahead of the database.
  const { transactionId } = server.feed.position;
  server.feed.position = { transactionId: transactionId + 1_000_000, id: 0 };
  const ahead = `${server.feed.generation}.${(transactionId + 1_000_000).toString(36)}.0`;
  server.feed.announce();
  assert.equal((await socket.closed).code, 1012);
  assert(server.logged.some((entry) => entry.includes("feed interrupted")));

  await using again = await join(server, ahead);
  await again.expect("joined");
  await again.expect("gap");
  const booking = await newBooking(server, "alice", second);
  assert.deepEqual((await again.expect("booking_update")).data.booking, booking);
});

Deno.test("resume: events are removed during the replay -> gap after the events before them", async () => {
  await using server = await startServer();
  const [slot] = await slotsOf(server);
  assert(slot);
  await newBooking(server, "alice", slot);
  await server.settled();
  const token = await server.token("alice");
  const { cursor } = await server.ok("listEvents", { token });
  await sql`
    insert into booking_events (type, user_id, room_id, booking_id, occurred_at, data)
    select type, user_id, room_id, booking_id, occurred_at, data from booking_events, generate_series(1, 120)
    where type = 'created'
  `.execute(server.db);
  await server.settled();
  // Between the first 50 missed events and the next ones.
  const replay = server.feed.replay.bind(server.feed);
  let reads = 0;
  server.feed.replay = async (query) => {
    if (++reads === 2) {
      await sql`
        update event_feed set (removed_transaction_id, removed_id) =
          (select transaction_id, id from booking_events order by transaction_id desc, id desc limit 1)
      `.execute(server.db);
      await sql`truncate booking_events`.execute(server.db);
    }
    return await replay(query);
  };
  await using socket = await join(server, cursor);
  await socket.expect("joined");
  await socket.until((frames) => frames.length === 52);
  assert.deepEqual(socket.frames.slice(1).map(({ event }) => event), [...Array(50).fill("booking_update"), "gap"]);
});
