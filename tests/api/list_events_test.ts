/** listEvents: the feed over HTTP. */
import assert from "node:assert/strict";
import { sql } from "kysely";
import type { EventPage, FeedEvent } from "../../generated/contract.ts";
import { confirm, newBooking, newRoom, newRoomWithTimeslot, newTimeslots } from "../support/builders.ts";
import { eventually } from "../support/process.ts";
import { type Call, sharedServer, startServer, type TestServer } from "../support/server.ts";

const kinds = (items: FeedEvent[]): string[] =>
  items.map(({ event, data }) => `${event} ${"type" in data ? data.type : "change" in data ? data.change : ""}`.trim());

async function read(server: TestServer, subject: string, query: Call["query"] = {}): Promise<EventPage> {
  await server.settled();
  return await server.ok("listEvents", { token: await server.token(subject), query });
}

/** Alice books, bob books and cancels, in a new room. */
async function makeThreeChanges(server: TestServer): Promise<{ roomId: number; alice: number; bob: number }> {
  const room = await newRoom(server);
  const [first, second] = await newTimeslots(server, room, { date: "2026-03-09" });
  assert(first && second);
  const { userId: alice } = await newBooking(server, "alice", first);
  const { id: bookingId, userId: bob } = await newBooking(server, "bob", second);
  await server.ok("cancelBooking", { token: await server.token("bob"), params: { bookingId } });
  return { roomId: room.id, alice, bob };
}

Deno.test("listEvents: each change of a booking -> one event of its type, with the booking as it was answered", async () => {
  await using server = await sharedServer();
  const room = await newRoom(server);
  const [first, second, third] = await newTimeslots(server, room, { date: "2026-03-09" });
  assert(first && second && third);
  const [token, admin] = [await server.token("alice"), await server.token("admin", "admin")];
  const answers = [await newBooking(server, "alice", first)];
  const params = { bookingId: answers[0]?.id };
  const decide = async (bookingId: unknown, status: string) =>
    void answers.push(
      await server.ok("updateBookingStatus", { token: admin, params: { bookingId }, body: { status } }),
    );
  const moved = await server.ok("rescheduleBooking", { token, params, body: { newTimeslotId: third.id } });
  answers.push(moved.booking);
  await decide(params.bookingId, "confirmed");
  server.clock.set("2026-03-09T11:30:00.000Z");
  await decide(params.bookingId, "completed");
  const other = await newBooking(
    server,
    "alice",
    (await newTimeslots(server, room, { date: "2026-03-10" }))[0] ?? first,
  );
  answers.push(other);
  answers.push((await server.ok("cancelBooking", { token, params: { bookingId: other.id } })).booking);
  const another = await newBooking(
    server,
    "alice",
    (await newTimeslots(server, room, { date: "2026-03-11" }))[0] ?? first,
  );
  answers.push(another, await confirm(server, another));
  server.clock.set("2026-03-11T09:00:00.000Z");
  await decide(another.id, "no_show");

  const { items } = await read(server, "alice");
  assert.deepEqual(kinds(items), [
    "booking_update created",
    "booking_update rescheduled",
    "booking_update confirmed",
    "booking_update completed",
    "booking_update created",
    "booking_update cancelled",
    "booking_update created",
    "booking_update confirmed",
    "booking_update no_show",
  ]);
  assert.deepEqual(items.map(({ data }) => "booking" in data ? data.booking : undefined), answers);
  assert.deepEqual(items.map(({ occurredAt }) => occurredAt), answers.map(({ updatedAt }) => updatedAt));
});

Deno.test("listEvents: room with autoConfirm -> a booking has a created and a confirmed event", async () => {
  await using server = await sharedServer();
  const { timeslot } = await newRoomWithTimeslot(server, { hourlyRate: null, autoConfirm: true });
  const booking = await newBooking(server, "alice", timeslot);
  const { items } = await read(server, "alice");
  assert.deepEqual(kinds(items), ["booking_update created", "booking_update confirmed"]);
  for (const { data } of items) assert.deepEqual("booking" in data && data.booking, booking);
});

Deno.test("listEvents: refused commands -> no events", async () => {
  await using server = await sharedServer();
  const { timeslot } = await newRoomWithTimeslot(server);
  const { id: bookingId } = await newBooking(server, "alice", timeslot);
  const [alice, bob] = [await server.token("alice"), await server.token("bob")];
  const admin = await server.token("admin", "admin");
  await server.refused("timeslot_unavailable", "createBooking", {
    token: bob,
    body: { roomId: timeslot.roomId, timeslotId: timeslot.id },
  });
  await server.refused("not_booking_owner", "cancelBooking", { token: bob, params: { bookingId } });
  await server.refused("timeslot_unavailable", "rescheduleBooking", {
    token: alice,
    params: { bookingId },
    body: { newTimeslotId: timeslot.id },
  });
  await server.refused("invalid_status_transition", "updateBookingStatus", {
    token: admin,
    params: { bookingId },
    body: { status: "completed" },
  });
  await server.refused("timeslot_has_bookings", "deleteTimeslot", {
    token: admin,
    params: { timeslotId: timeslot.id },
  });
  await server.settled();
  const { items } = await server.ok("listEvents", { token: admin, query: { roomId: timeslot.roomId } });
  assert.deepEqual(kinds(items), ["timeslot_update generated", "booking_update created", "timeslot_update taken"]);
});

Deno.test("listEvents: user -> own events only, userId of another -> 403 admin_required", async () => {
  await using server = await sharedServer();
  const { roomId, alice, bob } = await makeThreeChanges(server);
  assert.deepEqual(kinds((await read(server, "alice")).items), ["booking_update created"]);
  assert.deepEqual(kinds((await read(server, "bob")).items), ["booking_update created", "booking_update cancelled"]);
  assert.equal((await read(server, "alice", { userId: alice })).items.length, 1);
  assert.equal((await read(server, "alice", { roomId })).items.length, 1);
  assert.equal((await read(server, "alice", { roomId: roomId + 1 })).items.length, 0);
  const token = await server.token("alice");
  await server.refused("admin_required", "listEvents", { token, query: { userId: bob } });
  await server.refused("admin_required", "listEvents", { token, query: { userId: bob, roomId, wait: 30 } });
});

Deno.test("listEvents: admin -> all events, or those of a user or a room", async () => {
  await using server = await startServer();
  const { roomId, bob } = await makeThreeChanges(server);
  const { room: other } = await newRoomWithTimeslot(server);
  await server.settled();
  const token = await server.token("admin", "admin");
  const all = async (query: Call["query"]) =>
    kinds((await server.ok("listEvents", { token, query: query ?? {} })).items);
  const ofRoom = [
    "timeslot_update generated",
    "booking_update created",
    "timeslot_update taken",
    "booking_update created",
    "timeslot_update taken",
    "booking_update cancelled",
    "timeslot_update freed",
  ];
  assert.deepEqual(await all({}), [...ofRoom, "timeslot_update generated"]);
  assert.deepEqual(await all({ roomId }), ofRoom);
  assert.deepEqual(await all({ roomId: other.id }), ["timeslot_update generated"]);
  assert.deepEqual(await all({ userId: bob }), ["booking_update created", "booking_update cancelled"]);
  assert.deepEqual(await all({ userId: bob, roomId: other.id }), []);
});

Deno.test("listEvents: pages -> every event once, in order, the last cursor is before later events", async () => {
  await using server = await sharedServer();
  const slots = await newTimeslots(server, await newRoom(server), { date: "2026-03-09" });
  for (const slot of slots) await newBooking(server, "alice", slot);
  const whole = await read(server, "alice");
  assert.equal(whole.items.length, slots.length);
  for (const limit of [1, 3, 8, 9]) {
    const seen: FeedEvent[] = [];
    let after: string | undefined;
    for (;;) {
      const page: EventPage = await read(server, "alice", { limit, ...(after === undefined ? {} : { after }) });
      if (page.items.length === 0) break;
      assert(page.items.length <= limit);
      seen.push(...page.items);
      after = page.cursor;
    }
    assert.deepEqual(seen, whole.items);
  }
  const [next] = await newTimeslots(server, await newRoom(server), { date: "2026-03-09" });
  assert(next);
  const booking = await newBooking(server, "alice", next);
  const { items } = await read(server, "alice", { after: whole.cursor });
  assert.deepEqual(items.map(({ data }) => "booking" in data && data.booking.id), [booking.id]);
  assert.deepEqual((await read(server, "alice", { after: "latest" })).items, []);
});

interface Wait {
  limitMs: number;
  /** Whether an event ended the wait. */
  isWoken: Promise<boolean>;
}

/** Records the waits for events until it is disposed of. They take at most `limitMs`. */
function recordWaits({ feed }: TestServer, limitMs = Infinity): Disposable & { waits: Wait[] } {
  const waits: Wait[] = [];
  const original = feed.next;
  const next = original.bind(feed);
  feed.next = (filter) => {
    const event = next(filter);
    const within = (ms: number) => {
      const isWoken = event.within(Math.min(ms, limitMs));
      waits.push({ limitMs: ms, isWoken });
      return isWoken;
    };
    return { ...event, within };
  };
  return { waits, [Symbol.dispose]: () => void (feed.next = original) };
}

Deno.test("listEvents: wait -> answered by an own event or the shutdown, not by another user's event", async () => {
  await using server = await startServer();
  const { timeslot } = await newRoomWithTimeslot(server);
  using recorded = recordWaits(server);
  const { waits } = recorded;
  const { cursor } = await read(server, "alice", { after: "latest" });
  const query = { after: cursor, wait: 30 };
  const bob = server.ok("listEvents", { token: await server.token("bob"), query });
  await eventually(() => Promise.resolve(waits.length === 1));
  const alice = server.ok("listEvents", { token: await server.token("alice"), query });
  await eventually(() => Promise.resolve(waits.length === 2));
  const booking = await newBooking(server, "alice", timeslot);
  assert.deepEqual((await alice).items.map(({ data }) => "booking" in data && data.booking), [booking]);
  await server.feed.close();
  assert.deepEqual((await bob).items, []);
  assert.deepEqual(await Promise.all(waits.map(({ isWoken }) => isWoken)), [false, true]);
});

Deno.test("listEvents: no event within wait seconds -> an empty page", async () => {
  await using server = await sharedServer();
  using recorded = recordWaits(server, 0);
  const { cursor } = await read(server, "alice", { after: "latest" });
  assert.deepEqual((await read(server, "alice", { after: cursor, wait: 20 })).items, []);
  const [wait, ...others] = recorded.waits;
  assert(wait && others.length === 0);
  assert(wait.limitMs > 10_000 && wait.limitMs <= 20_000, `${wait.limitMs} ms`);
});

Deno.test("listEvents: cursor of removed events, of another feed or of the future -> 410 cursor_expired", async () => {
  await using server = await startServer({ env: { EVENT_RETENTION_DAYS: "7" } });
  const [timeslot] = await newTimeslots(server, await newRoom(server), { date: "2026-03-20" });
  assert(timeslot);
  const token = await server.token("alice");
  await server.settled();
  const before = await server.ok("listEvents", { token });
  await newBooking(server, "alice", timeslot);
  await server.settled();
  const after = await server.ok("listEvents", { token });
  server.clock.set("2026-03-09T10:00:00.000Z");
  await server.sweep();
  assert.equal((await server.ok("listEvents", { token, query: { after: before.cursor } })).items.length, 1);
  server.clock.set("2026-03-09T10:00:00.001Z");
  await server.sweep();
  await server.refused("cursor_expired", "listEvents", { token, query: { after: before.cursor } });
  assert.deepEqual((await server.ok("listEvents", { token, query: { after: after.cursor } })).items, []);
  assert.deepEqual((await server.ok("listEvents", { token })).items, []);
  const [generation = "", transaction = ""] = after.cursor.split(".");
  const future = `${generation}.${(parseInt(transaction, 36) + 1_000_000).toString(36)}.1`;
  await server.refused("cursor_expired", "listEvents", { token, query: { after: future } });
  await server.refused("cursor_expired", "listEvents", { token, query: { after: `zzzzzzzz.${transaction}.0` } });
});

Deno.test("listEvents: events without holds and refunds of earlier versions -> defaults", async () => {
  await using server = await sharedServer();
  const { roomId } = await makeThreeChanges(server);
  await sql`
    update booking_events set data = data - 'hold_expires_at' - 'refund_amount' where room_id = ${roomId}
  `.execute(server.db);
  const { items } = await read(server, "bob");
  assert.deepEqual(kinds(items), ["booking_update created", "booking_update cancelled"]);
  for (const { data } of items) {
    assert("booking" in data);
    const { holdExpiresAt, refundAmount, amountRefunded } = data.booking;
    assert.deepEqual([holdExpiresAt, refundAmount, amountRefunded], [null, 0, 0]);
  }
});
