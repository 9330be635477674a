/** Many, fast and slow subscribers: nobody waits for another one, and whoever is cut off loses nothing. */
import { sql } from "kysely";
import assert from "node:assert/strict";
import { FeedEvent, ServerFrame } from "../../generated/contract.ts";
import { newBooking, newRoom, newRoomWithTimeslot, newTimeslots } from "../support/builders.ts";
import { startServer, type TestServer } from "../support/server.ts";
import { type Handshake, handshake, openSocket, type TestSocket } from "../support/socket.ts";

const closeFrame = 8;

/** Alice has booked; her event is what {@link repeatEvent} repeats. */
async function startFeed(): Promise<TestServer> {
  const server = await startServer();
  const { timeslot } = await newRoomWithTimeslot(server);
  await newBooking(server, "alice", timeslot);
  await server.settled();
  return server;
}

/** `count` events of Alice's booking in one transaction, each with so many characters of notes. */
async function repeatEvent(server: TestServer, { count, notes }: { count: number; notes: number }): Promise<void> {
  await sql`
    insert into booking_events (type, user_id, room_id, booking_id, occurred_at, data)
    select e.type, e.user_id, e.room_id, e.booking_id, e.occurred_at,
      jsonb_set(e.data, '{notes}', to_jsonb(repeat('x', ${notes}::int)))
    from (select * from booking_events where user_id is not null order by id limit 1) e, generate_series(1, ${count}::int)
  `.execute(server.db);
  server.feed.announce();
}

const cursorsOf = (socket: TestSocket): string[] => socket.events().map(({ cursor }) => cursor);

async function join(server: TestServer, subject: string, after?: string): Promise<TestSocket> {
  const socket = await openSocket(server, { token: await server.token(subject) });
  socket.send({ action: "join_booking_room", ...(after === undefined ? {} : { after }) });
  await socket.expect("joined");
  return socket;
}

/** What comes over a connection that was not read for long: the cursors of at most `limit` events, and how it ended. */
async function readToEnd(
  connection: Handshake,
  limit: number,
): Promise<{ cursors: string[]; code: number | undefined }> {
  const cursors: string[] = [];
  for await (const { opcode, payload } of connection.read()) {
    if (opcode === closeFrame) return { cursors, code: new DataView(payload.buffer).getUint16(0) };
    cursors.push(FeedEvent.parse(JSON.parse(new TextDecoder().decode(payload))).cursor);
    if (cursors.length === limit) break;
  }
  return { cursors, code: undefined };
}

Deno.test("a subscriber who stops reading is cut off, holds nobody up, and resumes with exactly the rest", async () => {
  await using server = await startFeed();
  await using reader = await join(server, "alice");
  using stalled = await handshake(server, { token: await server.token("alice") });
  await stalled.send({ action: "join_booking_room" });
  for await (const { payload } of stalled.read()) {
    assert.equal(ServerFrame.parse(JSON.parse(new TextDecoder().decode(payload))).event, "joined");
    break;
  }

  // 17 MB: more than the kernel takes in for one who does not read.
  const [rounds, eventsARound] = [36, 40];
  const latencies: number[] = [];
  for (let round = 1; round <= rounds; round++) {
    const start = performance.now();
    await repeatEvent(server, { count: eventsARound, notes: 12_000 });
    await reader.until((frames) => frames.length === 1 + round * eventsARound);
    latencies.push(performance.now() - start);
  }
  const median = latencies.toSorted((a, b) => a - b)[rounds / 2] ?? Infinity;
  // Who were held up by one who does not read would wait for it until the end. A busy machine takes its time, too, as do
  // transactions of other tests, which events wait for.
  assert(median < 2_000, `half of the rounds took longer than ${median} ms`);

  const all = cursorsOf(reader);
  const { cursors, code } = await readToEnd(stalled, all.length);
  assert.equal(code, 1013);
  assert.equal(all.length, rounds * eventsARound);
  assert(0 < cursors.length && cursors.length < all.length, `${cursors.length} of ${all.length}`);

  await using resumed = await join(server, "alice", cursors.at(-1));
  await resumed.until((frames) => frames.length === 1 + all.length - cursors.length);
  resumed.send({ action: "ping" });
  await resumed.until((frames) => frames.at(-1)?.event === "pong");
  assert.deepEqual([...cursors, ...cursorsOf(resumed)], all);
});

Deno.test("a subscriber who reads is not cut off by 500 of the largest bookings that change at once", async () => {
  await using server = await startFeed();
  await using socket = await join(server, "alice");
  await repeatEvent(server, { count: 500, notes: 2_000 });
  await socket.until((frames) => frames.length === 501);
  assert.equal(new Set(cursorsOf(socket)).size, 500);
});

Deno.test("a subscriber who comes back after 20,000 events gets each once, in order, and what happens meanwhile", async () => {
  await using server = await startFeed();
  const token = await server.token("alice");
  const { cursor } = await server.ok("listEvents", { token, query: { after: "latest" } });
  await repeatEvent(server, { count: 20_000, notes: 10 });
  await using socket = await join(server, "alice", cursor);
  await socket.until((frames) => frames.length > 5_000);
  await repeatEvent(server, { count: 100, notes: 10 });
  await socket.until((frames) => frames.length === 1 + 20_100);
  socket.send({ action: "ping" });
  await socket.until((frames) => frames.at(-1)?.event === "pong");

  const rows = await server.db.selectFrom("booking_events").select(["transaction_id", "id"])
    .where("user_id", "is not", null).orderBy("transaction_id").orderBy("id").execute();
  const ids = cursorsOf(socket).map((each) => parseInt(each.split(".")[2] ?? "", 36));
  assert.deepEqual(ids, rows.slice(1).map(({ id }) => id));
});

Deno.test("a thousand subscribers of a room, of fifty users, each get its event once", async () => {
  await using server = await startServer();
  const room = await newRoom(server);
  const [timeslot] = await newTimeslots(server, room, { date: "2026-03-09" });
  assert(timeslot);
  await server.settled();
  await using sockets = new AsyncDisposableStack();
  const subscribers: TestSocket[] = [];
  for (let user = 0; user < 50; user++) {
    const token = await server.token(`user ${user}`);
    const opening = Array.from({ length: 20 }, async () => {
      const socket = sockets.use(await openSocket(server, { token }));
      socket.send({ action: "join_room", roomId: room.id });
      assert.equal((await socket.expect("joined")).roomId, room.id);
      return socket;
    });
    subscribers.push(...await Promise.all(opening));
  }
  await newBooking(server, "alice", timeslot);
  const changes = await Promise.all(subscribers.map(async (socket) => {
    const { data } = await socket.expect("timeslot_update");
    socket.send({ action: "ping" });
    await socket.expect("pong");
    return data;
  }));
  const { id: timeslotId, roomId, startTime, endTime } = timeslot;
  const taken = { roomId, timeslotId, isAvailable: false, change: "taken", startTime, endTime };
  assert.deepEqual(changes, Array(1_000).fill(taken));
});

Deno.test("a socket that sends over 200 frames in 10 seconds is closed with 1008, and others are served", async () => {
  await using server = await startFeed();
  const flood = await join(server, "alice");
  const other = await join(server, "alice");
  // The join was the first.
  for (let sent = 1; sent < 200; sent++) flood.send({ action: "ping" });
  flood.send({ action: "ping" });
  assert.equal((await flood.closed).code, 1008);
  assert.equal(flood.frames.filter(({ event }) => event === "pong").length, 199);
  other.send({ action: "ping" });
  await other.expect("pong");
});
