/** Each event arrives once. Events of a booking arrive in the order of its changes. */
import assert from "node:assert/strict";
import { type Kysely, sql } from "kysely";
import { markCancelled } from "../../src/bookings/cancellation_writes.ts";
import { markConfirmed } from "../../src/bookings/status_writes.ts";
import { insertBooking } from "../../src/bookings/writes.ts";
import { connect, type Database } from "../../src/database/connect.ts";
import { newRoom, newTimeslots } from "../support/builders.ts";
import { eventually } from "../support/process.ts";
import { startServer, type TestServer } from "../support/server.ts";
import { openSocket } from "../support/socket.ts";

const writers = 8;
const changes = 5_000;
const subscribers = 20;
/** Longest time in seconds that a transaction stays open after its write. */
const longestDelay = 0.012;

const random = (below: number): number => Math.floor(Math.random() * below);

/** A change of a booking. */
interface BookingEvent {
  bookingId: number;
  type: string;
}

/** All events of a user in the order of the feed, after the last write. */
async function eventsOf(db: Kysely<Database>, userId: number): Promise<BookingEvent[]> {
  const { rows } = await sql<BookingEvent>`
    select booking_id as "bookingId", type from booking_events where user_id = ${userId} order by transaction_id, id
  `.execute(db);
  return rows;
}

/** Fails unless `received` has each event of `expected` once, with a possible order for each booking. */
function assertExactlyOnce(received: BookingEvent[], expected: BookingEvent[]): void {
  const text = ({ bookingId, type }: BookingEvent) => `${bookingId} ${type}`;
  assert.deepEqual(received.map(text).sort(), expected.map(text).sort());
  const lives = ["created", "created confirmed", "created cancelled", "created confirmed cancelled"];
  for (const [bookingId, events] of Map.groupBy(received, (each) => each.bookingId)) {
    const life = events.map(({ type }) => type).join(" ");
    assert(lives.includes(life), `booking ${bookingId}: ${life}`);
  }
}

interface Work {
  userIds: number[];
  roomId: number;
  /** Free timeslots, and bookings that can still change. */
  timeslotIds: number[];
  live: number[];
}

/** Books, confirms and cancels at random. Each change is a transaction that stays open while others commit. */
async function write(server: TestServer, db: Kysely<Database>, work: Work): Promise<void> {
  const { userIds, roomId, timeslotIds, live } = work;
  const now = server.clock.now();
  const change = (trx: Kysely<Database>, { id = 0, timeslotId }: { id?: number; timeslotId: number | undefined }) => {
    if (timeslotId !== undefined) {
      const userId = userIds[random(userIds.length)] ?? 0;
      const terms = { cancellationTiers: [], maxPendingBookings: 0, checkout: null };
      const rest = { notes: null, bookingType: null, ...terms, now };
      return insertBooking(trx, { userId, roomId, timeslotId, ...rest });
    }
    if (random(2) === 0) return markConfirmed(trx, { id, now });
    return markCancelled(trx, { id, cancellation: { by: "admin" }, now });
  };
  for (let left = changes / writers; left > 0;) {
    const id = live[random(live.length)];
    const timeslotId = id === undefined || random(2) === 0 ? timeslotIds.pop() : undefined;
    const changed = await db.transaction().execute(async (trx) => {
      const row = await change(trx, id === undefined ? { timeslotId } : { id, timeslotId });
      // Without a row nothing was written.
      if (row !== undefined) await sql`select pg_sleep(${Math.random() * longestDelay})`.execute(trx);
      return row;
    });
    // Another writer may have changed the booking first.
    if (changed === undefined) continue;
    left--;
    if (changed.status === "cancelled") live.splice(live.indexOf(changed.id), 1);
    else if (timeslotId !== undefined) live.push(changed.id);
    server.feed.announce();
  }
}

interface Subscriber {
  received: BookingEvent[];
  /** Number of reconnects. */
  reconnects: number;
  /** Resolves when it has received `count` events. */
  finish(count: number): Promise<void>;
}

/** Subscribes to the bookings of a user. Drops the connection after a random number of frames and resumes. */
async function subscribe(server: TestServer, token: string): Promise<Subscriber> {
  let socket = await openSocket(server, { token });
  socket.send({ action: "join_booking_room" });
  let { cursor } = await socket.expect("joined");
  let wanted = Infinity;
  const enough = Promise.withResolvers<undefined>();
  const subscriber: Subscriber = {
    received: [],
    reconnects: 0,
    finish: async (count) => {
      wanted = count;
      if (subscriber.received.length >= count) enough.resolve(undefined);
      await running;
    },
  };
  const run = async () => {
    while (subscriber.received.length < wanted) {
      for (let left = 1 + random(30); left > 0 && subscriber.received.length < wanted; left--) {
        const frame = await Promise.race([socket.next(), enough.promise]);
        if (frame === undefined) break;
        assert(frame.event === "booking_update", JSON.stringify(frame));
        subscriber.received.push({ bookingId: frame.data.booking.id, type: frame.data.type });
        cursor = frame.cursor;
      }
      await socket[Symbol.asyncDispose]();
      socket = await openSocket(server, { token });
      socket.send({ action: "join_booking_room", after: cursor });
      await socket.expect("joined");
      subscriber.reconnects++;
    }
    await socket[Symbol.asyncDispose]();
  };
  const running = run();
  return subscriber;
}

/** Milliseconds between two reads of {@link readNaively}. Most reads still meet an open transaction. */
const naivePauseMs = 8;

/** Reads events by the last id only, which loses some. */
function readNaively(db: Kysely<Database>): { received: (BookingEvent & { userId: number })[]; stop(): Promise<void> } {
  const received: (BookingEvent & { userId: number })[] = [];
  let isStopped = false;
  const run = async () => {
    for (let last = 0, isLast = false; !isLast;) {
      isLast = isStopped;
      const { rows } = await sql<BookingEvent & { id: number; userId: number | null }>`
        select id, booking_id as "bookingId", type, user_id as "userId" from booking_events
        where id > ${last} order by id
      `.execute(db);
      last = rows.at(-1)?.id ?? last;
      received.push(...rows.flatMap(({ userId, ...event }) => userId === null ? [] : [{ ...event, userId }]));
      await new Promise((turn) => setTimeout(turn, naivePauseMs));
    }
  };
  const running = run();
  return { received, stop: () => (isStopped = true, running) };
}

Deno.test("feed: 20 subscribers drop and resume, 8 writers make 5,000 events -> each event once; a reader by id loses some", async () => {
  await using server = await startServer();
  const room = await newRoom(server, { hourlyRate: null });
  const days = { roomId: room.id, startDate: "2026-03-10", endDate: "2026-03-21" };
  const hours = { workingHours: { start: "00:00", end: "24:00" }, slotDuration: 5 };
  await server.ok("generateTimeslots", { token: await server.token("admin", "admin"), body: { ...days, ...hours } });
  const slots = await sql<{ id: number }>`select id from timeslots`.execute(server.db);
  const tokens = await Promise.all(Array.from({ length: subscribers }, (_, index) => server.token(`user ${index}`)));
  const userIds: number[] = [];
  for (const token of tokens) userIds.push((await server.ok("getMe", { token })).id);

  const all = await Promise.all(tokens.map((token) => subscribe(server, token)));
  const db = connect({ url: server.databaseUrl, pool: writers + 1 });
  const naive = readNaively(db);
  const work = { userIds, roomId: room.id, timeslotIds: slots.rows.map(({ id }) => id), live: [] };
  await Promise.all(Array.from({ length: writers }, () => write(server, db, work)));
  await naive.stop();

  let total = 0;
  const misledUsers: number[] = [];
  for (const [index, subscriber] of all.entries()) {
    const userId = userIds[index] ?? 0;
    const expected = await eventsOf(server.db, userId);
    await subscriber.finish(expected.length);
    assertExactlyOnce(subscriber.received, expected);
    assert.deepEqual(subscriber.received, expected, "not in the order of the feed");
    assert(subscriber.reconnects > 0);
    total += expected.length;
    try {
      assertExactlyOnce(naive.received.filter((event) => event.userId === userId), expected);
    } catch {
      misledUsers.push(userId);
    }
  }
  assert.equal(total, changes);
  assert(misledUsers.length > 0, "this test would not notice a reader that loses events");
  await db.destroy();
});

Deno.test("feed: changes that wait for a lock of their booking or timeslot -> no transaction id yet, so ids follow the order", async () => {
  await using server = await startServer();
  const [slot, free] = await newTimeslots(server, await newRoom(server), { date: "2026-03-09" });
  assert(slot && free);
  const token = await server.token("alice");
  const admin = await server.token("admin", "admin");
  const body = { roomId: slot.roomId, timeslotId: slot.id };
  const { booking } = await server.ok("createBooking", { token, body });
  const params = { bookingId: booking.id };
  const requests = [
    () => server.call("updateBookingStatus", { token: admin, params, body: { status: "confirmed" } }),
    () => server.call("rescheduleBooking", { token, params, body: { newTimeslotId: free.id } }),
    () => server.call("createBooking", { token, body }),
    () => server.call("cancelBooking", { token, params }),
    () => server.call("createBooking", { token, body: { ...body, timeslotId: free.id } }),
  ];
  const blocker = connect({ url: server.databaseUrl, pool: 1 });
  const watcher = connect({ url: server.databaseUrl, pool: 1 });
  for (const request of requests) {
    const { waiting } = await blocker.transaction().execute(async (trx) => {
      await sql`select from bookings for update`.execute(trx);
      await sql`select from timeslots for update`.execute(trx);
      const waiting = request();
      await eventually(async () => {
        const { rows } = await sql<{ backend_xid: string | null }>`
          select backend_xid::text from pg_stat_activity
          where datname = current_database() and wait_event_type = 'Lock'
        `.execute(watcher);
        if (rows.length > 0) assert.deepEqual(rows, [{ backend_xid: null }]);
        return rows.length > 0;
      });
      return { waiting };
    });
    assert((await waiting).status < 300);
  }
  await Promise.all([blocker.destroy(), watcher.destroy()]);
});
