/** Requests with the same key at the same time: one is executed, and the others are answered 409 at once. */
import assert from "node:assert/strict";
import type { Kysely, Transaction } from "kysely";
import type { Booking, Room, Timeslot } from "../../generated/contract.ts";
import { connect, type Database } from "../../src/database/connect.ts";
import { exampleOperations } from "../contract/document.ts";
import { newExampleRows } from "../contract/example_calls.ts";
import { newBooking, newRoom, newTimeslots } from "../support/builders.ts";
import { untilWaiting } from "../support/database.ts";
import { eventually } from "../support/process.ts";
import { type Call, type OperationId, sharedServer, startServer, type TestServer } from "../support/server.ts";
import {
  assertDone,
  assertInProgress,
  assertRefused,
  assertReplayed,
  exampleOf,
  keyedOperations,
  newKey,
  sendWithKey,
  type Sent,
} from "./keyed_requests.ts";

interface Pair extends AsyncDisposable {
  servers: [TestServer, TestServer];
  room: Room;
  slots: Timeslot[];
}

const env = { PAYMENT_PROVIDER: "sandbox" };

async function newRoomAndSlots(server: TestServer): Promise<{ room: Room; slots: Timeslot[] }> {
  const room = await newRoom(server);
  return { room, slots: await newTimeslots(server, room, { date: "2026-03-09", slotDuration: 15 }) };
}

/** The shared server, and another one on its database. */
async function newPair(): Promise<Pair> {
  const first = await sharedServer({ env });
  const second = await startServer({ pool: 10, env, database: { url: first.databaseUrl } });
  const dispose = () => second[Symbol.asyncDispose]();
  return { servers: [first, second], ...await newRoomAndSlots(first), [Symbol.asyncDispose]: dispose };
}

/** Sends a request `count` times at once, half of them to each server. */
function sendAtOnce(
  { servers }: Pair,
  id: OperationId,
  { call, key, count }: { call: Call; key: string; count: number },
): Promise<Sent[]> {
  return Promise.all(
    Array.from({ length: count }, (_, index) => sendWithKey(servers[index % 2] ?? servers[0], id, call, key)),
  );
}

/** Returns the answer of the executed request. Fails unless all others replay it or are `idempotency_in_progress`. */
function assertDoneOnce(answers: Sent[]): Sent {
  const [done, ...doneAgain] = answers.filter(({ status, isReplay }) => status < 400 && !isReplay);
  assert(done, answers.map(({ text }) => text).join("\n"));
  assert.deepEqual(doneAgain.map(({ text }) => text), []);
  for (const answer of answers) {
    if (answer.isReplay) assertReplayed(done, answer);
    else if (answer !== done) assertInProgress(answer);
  }
  return done;
}

Deno.test("createBooking: 50 requests with one key at once to two servers -> one booking", async () => {
  await using pair = await newPair();
  const { servers: [server], room, slots } = pair;
  const token = await server.token("alice");
  const ids: number[] = [];
  for (const { id: timeslotId, roomId } of slots.slice(0, 8)) {
    const call = { token, body: { roomId, timeslotId } };
    const key = newKey();
    const done = assertDoneOnce(await sendAtOnce(pair, "createBooking", { call, key, count: 50 }));
    assertReplayed(done, await sendWithKey(server, "createBooking", call, key));
    ids.push(JSON.parse(done.text).booking.id);
  }
  const bookings = await server.db.selectFrom("bookings").select("id").where("room_id", "=", room.id).orderBy("id")
    .execute();
  assert.deepEqual(bookings.map(({ id }) => id), ids);
  const events = await server.db.selectFrom("booking_events").select("booking_id").where("type", "=", "created")
    .where("booking_id", "in", ids).execute();
  assert.equal(events.length, ids.length);
});

Deno.test("keyed operations: 20 requests with one key at once -> executed once", async (t) => {
  await using pair = await newPair();
  const { servers: [server] } = pair;
  assert(exampleOperations.length > keyedOperations.length && keyedOperations.length > 0);
  for (const operation of keyedOperations) {
    const id = operation.operationId;
    // Each server has a clock of its own.
    if (id === "setSandboxClock") continue;
    await t.step(id, async () => {
      const call = await exampleOf(server, operation, await newExampleRows(server));
      const key = newKey();
      const done = assertDoneOnce(await sendAtOnce(pair, id, { call, key, count: 20 }));
      for (const each of pair.servers) assertReplayed(done, await sendWithKey(each, id, call, key));
    });
  }
});

/** Locks rows until `release()`. */
async function lockRows(
  db: Kysely<Database>,
  lock: (trx: Transaction<Database>) => Promise<unknown>,
): Promise<{ release: () => Promise<void> }> {
  const [locked, released] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
  const transaction = db.transaction().execute(async (trx) => {
    await lock(trx);
    locked.resolve();
    await released.promise;
  });
  await Promise.race([locked.promise, transaction]);
  return {
    async release() {
      released.resolve();
      await transaction;
    },
  };
}

interface BlockedCall {
  id: OperationId;
  call: Call;
  lock: (trx: Transaction<Database>) => Promise<unknown>;
}

async function newBlockedCalls({ servers: [server], room, slots: [booked, free, next] }: Pair): Promise<BlockedCall[]> {
  assert(booked && free && next);
  const booking: Booking = await newBooking(server, "alice", booked);
  const [token, admin] = [await server.token("alice"), await server.token("admin", "admin")];
  const lockBooking = (trx: Transaction<Database>) =>
    trx.selectFrom("bookings").select("id").where("id", "=", booking.id).forUpdate().execute();
  const params = { bookingId: booking.id };
  return [
    {
      id: "createBooking",
      call: { token, body: { roomId: room.id, timeslotId: free.id } },
      lock: (trx) => trx.selectFrom("timeslots").select("id").where("id", "=", free.id).forUpdate().execute(),
    },
    { id: "rescheduleBooking", call: { token, params, body: { newTimeslotId: next.id } }, lock: lockBooking },
    { id: "createCheckout", call: { token, params }, lock: lockBooking },
    { id: "updateBookingStatus", call: { token: admin, params, body: { status: "confirmed" } }, lock: lockBooking },
    { id: "cancelBooking", call: { token, params }, lock: lockBooking },
    {
      id: "updateRoom",
      call: { token: admin, params: { roomId: room.id }, body: { name: "Renamed" } },
      lock: (trx) => trx.selectFrom("rooms").select("id").where("id", "=", room.id).forUpdate().execute(),
    },
  ];
}

Deno.test("Idempotency-Key: same key while its request runs -> idempotency_in_progress at once from each server, then replayed", async (t) => {
  await using pair = await newPair();
  const { servers: [server, other] } = pair;
  await using holder = connect({ url: server.databaseUrl, pool: 1 });
  for (const { id, call, lock } of await newBlockedCalls(pair)) {
    await t.step(id, async () => {
      const key = newKey();
      const { release } = await lockRows(holder, lock);
      const first = sendWithKey(server, id, call, key);
      await untilWaiting(server.db, 1);
      // The first one still waits.
      assertInProgress(await sendWithKey(server, id, call, key));
      assertInProgress(await sendWithKey(other, id, call, key));
      await release();
      const done = await first;
      assertDone(done);
      assertReplayed(done, await sendWithKey(other, id, call, key));
      assertReplayed(done, await sendWithKey(server, id, call, key));
    });
  }
});

Deno.test("Idempotency-Key: another key or another caller while a request runs -> answered at once", async () => {
  const server = await sharedServer({ env });
  const { slots: [held] } = await newRoomAndSlots(server);
  assert(held);
  await using holder = connect({ url: server.databaseUrl, pool: 1 });
  const { release } = await lockRows(
    holder,
    (trx) => trx.selectFrom("timeslots").select("id").where("id", "=", held.id).forUpdate().execute(),
  );
  const [alice, key] = [await server.token("alice"), newKey()];
  const body = { roomId: held.roomId, timeslotId: held.id };
  const first = sendWithKey(server, "createBooking", { token: alice, body }, key);
  await untilWaiting(server.db, 1);
  assertDone(await sendWithKey(server, "createSocketTicket", { token: alice }, newKey()));
  assertDone(await sendWithKey(server, "createSocketTicket", { token: await server.token("bob") }, key));
  await release();
  assertDone(await first);
});

Deno.test("createBooking: refused after it waited for a rival -> refusal is replayed by each server", async () => {
  await using pair = await newPair();
  const { servers: [server, other], slots: [slot] } = pair;
  assert(slot);
  await using holder = connect({ url: server.databaseUrl, pool: 1 });
  const { release } = await lockRows(
    holder,
    (trx) => trx.selectFrom("timeslots").select("id").where("id", "=", slot.id).forUpdate().execute(),
  );
  const body = { roomId: slot.roomId, timeslotId: slot.id };
  const key = newKey();
  const calls = [{ token: await server.token("alice"), body }, { token: await server.token("bob"), body }];
  const both = calls.map((call) => sendWithKey(server, "createBooking", call, key));
  await untilWaiting(server.db, 2);
  await release();
  const answers = await Promise.all(both);
  assert.deepEqual(answers.map(({ status }) => status).toSorted(), [201, 400]);
  for (const [index, answer] of answers.entries()) {
    if (answer.status === 400) assertRefused(answer, "timeslot_unavailable");
    assertReplayed(answer, await sendWithKey(other, "createBooking", calls[index] ?? {}, key));
  }
});

Deno.test("createBooking: client disconnects while it runs -> the same key returns its only booking", async () => {
  const server = await sharedServer({ env });
  const { slots: [slot] } = await newRoomAndSlots(server);
  assert(slot);
  await using holder = connect({ url: server.databaseUrl, pool: 1 });
  const { release } = await lockRows(
    holder,
    (trx) => trx.selectFrom("timeslots").select("id").where("id", "=", slot.id).forUpdate().execute(),
  );
  const [token, key, body] = [await server.token("alice"), newKey(), { roomId: slot.roomId, timeslotId: slot.id }];
  const hangUp = new AbortController();
  const cut = fetch(`${server.url}/api/v1/bookings`, {
    method: "POST",
    headers: { Authorization: `Bearer ${token}`, "Content-Type": "application/json", "Idempotency-Key": key },
    body: JSON.stringify(body),
    signal: hangUp.signal,
  });
  await untilWaiting(server.db, 1);
  hangUp.abort();
  await assert.rejects(cut, { name: "AbortError" });
  assertInProgress(await sendWithKey(server, "createBooking", { token, body }, key));
  await release();
  let answer: Sent | undefined;
  await eventually(async () => {
    answer = await sendWithKey(server, "createBooking", { token, body }, key);
    return answer.status !== 409;
  });
  assert(answer);
  assert.deepEqual([answer.status, answer.isReplay], [201, true]);
  const { items } = await server.ok("listBookings", { token });
  assert.deepEqual(items.map(({ id }) => id), [JSON.parse(answer.text).booking.id]);
});
