/** Changes that store their result with their key, in one statement. */
import assert from "node:assert/strict";
import { sql } from "kysely";
import type { Booking, Timeslot } from "../../generated/contract.ts";
import { connect } from "../../src/database/connect.ts";
import { newBooking } from "../support/builders.ts";
import { lockRows, untilWaiting } from "../support/database.ts";
import { type Call, type OperationId, sharedServer, startServer, type TestServer } from "../support/server.ts";
import { age, assertDone, assertRefused, assertReplayed, newKey, sendWithKey } from "./keyed_requests.ts";
import { env, newRoomAndSlots } from "./pair.ts";

interface Change {
  id: OperationId;
  call: Call & { token: string };
}

/** A booking of the first timeslot, and the cancellation of a booking of the second one. */
async function newChanges(server: TestServer, [free, booked]: Timeslot[]): Promise<Change[]> {
  assert(free && booked);
  const booking: Booking = await newBooking(server, "alice", booked);
  const token = await server.token("alice");
  return [
    { id: "createBooking", call: { token, body: { roomId: free.roomId, timeslotId: free.id } } },
    { id: "cancelBooking", call: { token, params: { bookingId: booking.id } } },
  ];
}

Deno.test("keyed changes: valid request -> one statement", async (t) => {
  const statements: string[] = [];
  await using server = await startServer({ log: ({ query }) => statements.push(query.sql) });
  const { slots } = await newRoomAndSlots(server);
  for (const { id, call } of await newChanges(server, slots)) {
    await t.step(id, async () => {
      statements.length = 0;
      assertDone(await sendWithKey(server, id, call, newKey()));
      const changes = statements.filter((each) => /idempotency_keys/.test(each));
      assert.equal(changes.length, 1);
      assert.match(changes[0] ?? "", /insert into booking_events/);
      assert(!statements.some((each) => /^\s*begin/i.test(each)));
    });
  }
});

Deno.test("keyed changes: another request commits the key in between -> refused, no change", async (t) => {
  const server = await sharedServer();
  const { slots } = await newRoomAndSlots(server);
  await using holder = connect({ url: server.databaseUrl, pool: 1 });
  for (const { id, call } of await newChanges(server, slots)) {
    await t.step(id, async () => {
      const key = newKey();
      assertDone(await sendWithKey(server, "createSocketTicket", { token: call.token }, key));
      const { rows: [row] } = await sql<{ key_hash: string }>`
        delete from idempotency_keys where created_at = (select max(created_at) from idempotency_keys) returning *
      `.execute(server.db);
      assert(row);
      const { release } = await lockRows(
        holder,
        (trx) =>
          sql`insert into idempotency_keys select * from json_populate_record(null::idempotency_keys, ${row}::json)`
            .execute(trx),
      );
      const before = await bookingsAndEvents(server);
      const sent = sendWithKey(server, id, call, key);
      await untilWaiting(server.db, 1);
      await release();
      assertRefused(await sent, "idempotency_key_reused");
      assert.deepEqual(await bookingsAndEvents(server), before);
      assertDone(await sendWithKey(server, id, call, newKey()));
    });
  }
});

async function bookingsAndEvents({ db }: TestServer): Promise<unknown[]> {
  const { rows: bookings } = await sql`select id, status from bookings order by id`.execute(db);
  const { rows: events } = await sql`select id from booking_events order by id`.execute(db);
  return [bookings, events];
}

Deno.test("keyed changes: key is a day old -> the request runs again, and its new answer is replayed", async () => {
  const server = await sharedServer();
  const { slots: [first, second] } = await newRoomAndSlots(server);
  assert(first && second);
  const [token, key] = [await server.token("alice"), newKey()];
  const book = ({ roomId, id: timeslotId }: Timeslot) =>
    sendWithKey(server, "createBooking", { token, body: { roomId, timeslotId } }, key);
  assertDone(await book(first));
  assertRefused(await book(second), "idempotency_key_reused");
  await age(server.db, "24 hours");
  const again = await book(second);
  assertDone(again);
  assertReplayed(again, await book(second));
  await age(server.db, "24 hours");
  const refused = await book(first);
  assertRefused(refused, "timeslot_unavailable");
  assertReplayed(refused, await book(first));
});

Deno.test("keyed changes: result without a newer column -> replayed; left by an attempt that ended without answer -> not", async (t) => {
  const server = await sharedServer();
  const { slots } = await newRoomAndSlots(server);
  for (const { id, call } of await newChanges(server, slots)) {
    await t.step(id, async () => {
      const key = newKey();
      const done = await sendWithKey(server, id, call, key);
      assertDone(done);
      const latest = sql`created_at = (select max(created_at) from idempotency_keys)`;
      await sql`
        update idempotency_keys set result = (result::jsonb - 'hold_expires_at')::json where ${latest}
      `.execute(server.db);
      assertReplayed(done, await sendWithKey(server, id, call, key));
      await sql`
        update idempotency_keys set pending_until = now() - interval '1 minute' where ${latest}
      `.execute(server.db);
      const refused = await sendWithKey(server, id, call, key);
      assertRefused(refused, id === "createBooking" ? "timeslot_unavailable" : "booking_not_cancellable");
      assert(!refused.isReplay);
    });
  }
});

Deno.test("keyed changes: server has a payment provider now -> the same answers", async () => {
  const server = await sharedServer();
  const { slots } = await newRoomAndSlots(server);
  await using withProvider = await startServer({ env, database: { url: server.databaseUrl } });
  for (const { id, call } of await newChanges(server, slots)) {
    const key = newKey();
    const done = await sendWithKey(server, id, call, key);
    assertDone(done);
    assertReplayed(done, await sendWithKey(withProvider, id, call, key));
  }
});

Deno.test("keyed changes: server of the previous version -> the key is not free for it", async () => {
  const server = await sharedServer();
  const { slots } = await newRoomAndSlots(server);
  const token = await server.token("alice");
  const claim = async () => {
    const { rows } = await sql<{ is_free: boolean; has_answer: boolean }>`
      select c.is_free, c.answer is not null as has_answer
      from idempotency_keys k, claim_idempotency_key(1, k.user_id, k.key_hash, now() - interval '1 day') c
      where k.created_at = (select max(created_at) from idempotency_keys)
    `.execute(server.db);
    return rows;
  };
  assertDone(await sendWithKey(server, "createSocketTicket", { token }, newKey()));
  assert.deepEqual(await claim(), [{ is_free: true, has_answer: true }]);
  for (const { id, call } of await newChanges(server, slots)) {
    assertDone(await sendWithKey(server, id, call, newKey()));
    assert.deepEqual(await claim(), [{ is_free: false, has_answer: false }]);
  }
});
