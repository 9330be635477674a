/** Many, fast and slow subscribers: none waits for another, and none loses events. `deno task test` runs smaller numbers. */
import { sql } from "kysely";
import assert from "node:assert/strict";
import { FeedEvent, ServerFrame } from "../../generated/contract.ts";
import { newBooking, newRoom, newRoomWithTimeslot, newTimeslots } from "../support/builders.ts";
import { runs } from "../support/properties.ts";
import { sharedServer, type TestServer } from "../support/server.ts";
import { type Handshake, handshake, openSocket, type TestSocket } from "../support/socket.ts";

const closeFrame = 8;

/** Alice has booked. {@link repeatEvent} repeats her event. These tests insert events, so no others share their feed. */
async function startFeed(): Promise<TestServer> {
  const server = await sharedServer({ group: "load" });
  const { timeslot } = await newRoomWithTimeslot(server);
  await newBooking(server, "alice", timeslot);
  await server.settled();
  return server;
}

/** Adds `count` events of Alice's booking in one transaction, each with `notes` characters of notes. */
async function repeatEvent(server: TestServer, { count, notes }: { count: number; notes: number }): Promise<void> {
  await sql`
    insert into booking_events (type, user_id, room_id, booking_id, occurred_at, data)
    select e.type, e.user_id, e.room_id, e.booking_id, e.occurred_at,
      jsonb_set(e.data, '{notes}', to_jsonb(repeat('x', ${notes}::int)))
    from (select * from booking_events where user_id is not null order by id desc limit 1) e, generate_series(1, ${count}::int)
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

/** Reads a connection on. Returns the cursors of at most `limit` events, and the code if the server closed it. */
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

Deno.test("subscribe: a subscriber stops reading -> closed, others get all events, and it resumes with the rest", async () => {
  await using server = await startFeed();
  await using reader = await join(server, "alice");
  using stalled = await handshake(server, { token: await server.token("alice") });
  await stalled.send({ action: "join_booking_room" });
  for await (const { payload } of stalled.read()) {
    assert.equal(ServerFrame.parse(JSON.parse(new TextDecoder().decode(payload))).event, "joined");
    break;
  }

  // 17 MB, more than the kernel buffers for a connection that is not read.
  const [rounds, eventsARound] = [36, 40];
  for (let round = 1; round <= rounds; round++) {
    await repeatEvent(server, { count: eventsARound, notes: 12_000 });
    await reader.until((frames) => frames.length === 1 + round * eventsARound);
  }
  // Nothing reads the stalled connection before here, so the reader did not wait for it.
  const all = cursorsOf(reader);
  const { cursors, code } = await readToEnd(stalled, all.length);
  assert.equal(code, 1013);
  assert.equal(all.length, rounds * eventsARound);
  assert(0 < cursors.length && cursors.length < all.length, `${cursors.length} of ${all.length}`);

  await using resumed = await join(server, "alice", cursors.at(-1));
  await resumed.until((frames) => frames.length === 1 + all.length - cursors.length);
  await resumed.settled();
  assert.deepEqual([...cursors, ...cursorsOf(resumed)], all);
});

Deno.test("subscribe: 500 of the largest bookings change at once -> the reader gets all and stays open", async () => {
  await using server = await startFeed();
  await using socket = await join(server, "alice");
  await repeatEvent(server, { count: 500, notes: 2_000 });
  await socket.until((frames) => frames.length === 501);
  assert.equal(new Set(cursorsOf(socket)).size, 500);
});

Deno.test("subscribe: resume after many events, more during the replay -> each once, in order", async () => {
  await using server = await startFeed();
  const count = runs(3_000, 20_000);
  const token = await server.token("alice");
  const { cursor } = await server.ok("listEvents", { token, query: { after: "latest" } });
  await repeatEvent(server, { count, notes: 10 });
  await using socket = await join(server, "alice", cursor);
  await socket.until((frames) => frames.length > count / 4);
  await repeatEvent(server, { count: 100, notes: 10 });
  await socket.until((frames) => frames.length === 1 + count + 100);
  await socket.settled();

  const { id: userId } = await server.ok("getMe", { token });
  const rows = await server.db.selectFrom("booking_events").select(["transaction_id", "id"])
    .where("user_id", "=", userId).orderBy("transaction_id").orderBy("id").execute();
  const ids = cursorsOf(socket).map((each) => parseInt(each.split(".")[2] ?? "", 36));
  assert.deepEqual(ids, rows.slice(1).map(({ id }) => id));
});

Deno.test("subscribe: many subscribers of a room, 20 for each user -> each gets its event once", async () => {
  await using server = await sharedServer();
  const room = await newRoom(server);
  const [timeslot] = await newTimeslots(server, room, { date: "2026-03-09" });
  assert(timeslot);
  await server.settled();
  const users = runs(10, 50);
  await using sockets = new AsyncDisposableStack();
  const subscribers: TestSocket[] = [];
  for (let user = 0; user < users; user++) {
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
  assert.deepEqual(changes, Array(20 * users).fill(taken));
});

Deno.test("frames: over 200 in 10 seconds -> closed with 1008, other sockets served", async () => {
  await using server = await startFeed();
  await using flood = await join(server, "alice");
  await using other = await join(server, "alice");
  // The join was the first frame.
  for (let sent = 1; sent < 200; sent++) flood.send({ action: "ping" });
  flood.send({ action: "ping" });
  assert.equal((await flood.closed).code, 1008);
  assert.equal(flood.frames.filter(({ event }) => event === "pong").length, 199);
  other.send({ action: "ping" });
  await other.expect("pong");
});

Deno.test("generateTimeslots: many timeslots -> one event, and none if all exist", async () => {
  await using server = await sharedServer();
  const room = await newRoom(server);
  const token = await server.token("admin", "admin");
  await server.settled();
  await using socket = await openSocket(server, { token: await server.token("watcher") });
  socket.send({ action: "join_room", roomId: room.id });
  await socket.expect("joined");
  // 288 a day: 4,896 or 49,824.
  const hours = { slotDuration: 5, workingHours: { start: "00:00", end: "24:00" } };
  const endDate = Temporal.PlainDate.from("2026-03-10").add({ days: runs(17, 173) - 1 });
  const body = { roomId: room.id, startDate: "2026-03-10", endDate: endDate.toString(), ...hours };
  const { count } = await server.ok("generateTimeslots", { token, body });
  assert.equal(count, 288 * runs(17, 173));
  assert.deepEqual((await socket.expect("timeslot_update")).data, {
    roomId: room.id,
    timeslotId: null,
    isAvailable: true,
    change: "generated",
    startTime: "2026-03-10T00:00:00.000Z",
    endTime: `${endDate.add({ days: 1 })}T00:00:00.000Z`,
  });
  await server.ok("generateTimeslots", { token, body: { ...body, endDate: body.startDate } });
  await server.ok("deleteRoom", { token, params: { roomId: room.id } });
  assert.equal((await socket.expect("timeslot_update")).data.change, "room_closed");
});
