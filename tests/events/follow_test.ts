/** The feed reads events only while somebody follows it. A subscriber that joins then gets each later event, and no older. */
import assert from "node:assert/strict";
import { type LogEvent, sql } from "kysely";
import type { Timeslot } from "../../generated/contract.ts";
import { newBooking, newRoom, newTimeslots } from "../support/builders.ts";
import { machineTimeAt } from "../support/machine_time.ts";
import { eventually } from "../support/process.ts";
import { startServer, type TestServer } from "../support/server.ts";
import { openSocket } from "../support/socket.ts";

/** No poll comes in time, so each event is found by a hint, or because somebody follows. */
const feedPollMs = 3_600_000;

/** A read of the feed: the most events that it may return, and its start in ms. */
interface Read {
  limit: unknown;
  startedAt: number;
}

/** Reads of the feed, in the order of their ends. */
function recordReads(): { reads: Read[]; log: (event: LogEvent) => void } {
  const reads: Read[] = [];
  const log = ({ query, queryDurationMillis }: LogEvent) => {
    if (!query.sql.includes("from event_feed")) return;
    reads.push({ limit: query.parameters.at(-1), startedAt: performance.now() - queryDurationMillis });
  };
  return { reads, log };
}

async function slotsOf(server: TestServer): Promise<Timeslot[]> {
  return await newTimeslots(server, await newRoom(server), { date: "2026-03-09" });
}

/** Whether a follower would be the first one: it causes a read of the position. */
async function isUnfollowed(server: TestServer, reads: Read[]): Promise<boolean> {
  const before = reads.length;
  (await server.feed.follow())();
  return reads.slice(before).some(({ limit }) => limit === 0);
}

Deno.test("feed: changes while nobody listens, also after a subscriber has left -> no event is read", async () => {
  const { reads, log } = recordReads();
  await using server = await startServer({ log, feedPollMs });
  const [first, second, ...others] = await slotsOf(server);
  assert(first && second && others.length > 1);
  const token = await server.token("alice");
  await newBooking(server, "alice", first);
  assert(await isUnfollowed(server, reads));
  {
    await using socket = await openSocket(server, { token });
    socket.send({ action: "join_booking_room" });
    await socket.expect("joined");
    await newBooking(server, "alice", second);
    await socket.expect("booking_update");
    assert(!await isUnfollowed(server, reads));
  }
  await eventually(() => isUnfollowed(server, reads));
  for (const slot of others) {
    const from = performance.now();
    await newBooking(server, "alice", slot);
    const until = performance.now();
    // Reads take turns, so a read that the booking had caused has ended too.
    assert(await isUnfollowed(server, reads));
    const during = reads.filter(({ limit, startedAt }) => limit !== 0 && startedAt > from && startedAt < until);
    assert.deepEqual(during, []);
  }
});

Deno.test("join_booking_room: first subscriber after changes that nobody heard -> only later events", async () => {
  await using server = await startServer({ feedPollMs });
  const token = await server.token("alice");
  const slots = await slotsOf(server);
  for (let slot = slots.pop(); slot !== undefined; slot = slots.pop()) {
    await newBooking(server, "alice", slot);
    // A transaction of another test may delay the event. Then it is a later one.
    await server.settled();
    const next = slots.pop();
    if (next === undefined) break;
    await using socket = await openSocket(server, { token });
    socket.send({ action: "join_booking_room" });
    await socket.expect("joined");
    const booking = await newBooking(server, "alice", next);
    assert.deepEqual((await socket.expect("booking_update")).data, { type: "created", booking });
  }
});

Deno.test("join_booking_room: the only subscriber leaves and joins again while bookings are made -> each event after its cursor", async () => {
  await using server = await startServer({ feedPollMs });
  const token = await server.token("alice");
  const slots = await slotsOf(server);
  let isDone = false;
  const write = async () => {
    for (const slot of slots) await newBooking(server, "alice", slot);
    isDone = true;
  };
  const writing = write();
  const received: { after: string; cursors: string[] }[] = [];
  while (!isDone) {
    await using socket = await openSocket(server, { token });
    socket.send({ action: "join_booking_room" });
    const { cursor: after } = await socket.expect("joined");
    await newBooking(server, "alice", (await slotsOf(server))[0] ?? assert.fail());
    await socket.until(() => socket.events().length > 0);
    received.push({ after, cursors: socket.events().map(({ cursor }) => cursor) });
  }
  await writing;
  await server.settled();
  assert(received.length > 0);
  for (const { after, cursors } of received) {
    const { items } = await server.ok("listEvents", { token, query: { after, limit: cursors.length } });
    assert.deepEqual(cursors, items.map(({ cursor }) => cursor));
  }
});

Deno.test("listEvents: after latest, while nobody listens -> nothing older, and each later event follows its cursor", async () => {
  await using server = await startServer({ feedPollMs });
  const token = await server.token("alice");
  const [first, second, third] = await slotsOf(server);
  assert(first && second && third);
  await newBooking(server, "alice", first);
  await server.settled();
  const page = await server.ok("listEvents", { token, query: { after: "latest" } });
  assert.deepEqual(page.items, []);
  const booking = await newBooking(server, "alice", second);
  const later = await server.ok("listEvents", { token, query: { after: page.cursor, wait: 30 } });
  assert.deepEqual(later.items.map(({ data }) => "booking" in data && data.booking), [booking]);
  // A wait ends with the next event.
  const waiting = server.ok("listEvents", { token, query: { after: later.cursor, wait: 30 } });
  const last = await newBooking(server, "alice", third);
  assert.deepEqual((await waiting).items.map(({ data }) => "booking" in data && data.booking), [last]);
});

Deno.test("feed: an event waits for a transaction for over 30 s while nobody listens -> a warning", async () => {
  const { reads, log } = recordReads();
  await using server = await startServer({ log, feedPollMs: 5 });
  const [slot] = await slotsOf(server);
  assert(slot);
  await server.db.transaction().execute(async (trx) => {
    await sql`select pg_current_xact_id()`.execute(trx);
    await newBooking(server, "alice", slot);
    const warnings = () => server.logged.filter((entry) => entry.includes("Events wait for a long transaction"));
    // Until this transaction is the oldest, another test's transaction may delay the event.
    await eventually(async () => {
      reads.length = 0;
      await eventually(() => Promise.resolve(reads.length > 2));
      using _later = machineTimeAt(Date.now() + 31_000);
      reads.length = 0;
      await eventually(() => Promise.resolve(reads.length > 2));
      return warnings().length > 0;
    });
  });
});
