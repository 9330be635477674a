/** The same key while its request runs, and requests that do not wait for it. */
import assert from "node:assert/strict";
import { type Kysely, sql, type Transaction } from "kysely";
import type { Booking } from "../../generated/contract.ts";
import { connect, type Database } from "../../src/database/connect.ts";
import { newBooking } from "../support/builders.ts";
import { lockRows, untilWaiting } from "../support/database.ts";
import { eventually } from "../support/process.ts";
import { type Call, type OperationId, sharedServer, startServer } from "../support/server.ts";
import {
  assertDone,
  assertInProgress,
  assertRefused,
  assertReplayed,
  newKey,
  sendWithKey,
  type Sent,
} from "./keyed_requests.ts";
import { env, newPair, newRoomAndSlots, type Pair } from "./pair.ts";

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

for (const [name, settings] of [["a payment provider", env], ["no payment provider", {}]] as const) {
  Deno.test(`Idempotency-Key: ${name}, same key while its request runs -> idempotency_in_progress at once from each server, then replayed`, async (t) => {
    await using pair = await newPair(settings);
    const { servers: [server, other] } = pair;
    await using holder = connect({ url: server.databaseUrl, pool: 1 });
    for (const { id, call, lock } of await newBlockedCalls(pair)) {
      if (id === "createCheckout" && settings !== env) continue;
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
}

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

/** Waits for the advisory locks that transactions hold now. Resolves when it has them; they end with the connection. */
async function queueForKeys(db: Kysely<Database>): Promise<void> {
  const { rows } = await sql<{ key: string }>`
    select distinct ((classid::bigint << 32) | objid::bigint)::text as key from pg_locks
    where locktype = 'advisory' and granted and objsubid = 1
      and database = (select oid from pg_database where datname = current_database())
  `.execute(db);
  assert(rows.length > 0);
  await Promise.all(rows.map(({ key }) => sql`select pg_advisory_lock(${key}::text::bigint)`.execute(db)));
}

Deno.test("createBooking: refused, and its key claimed again before the refusal is stored -> the refusal", async () => {
  await using server = await startServer({ pool: 10, env });
  const { slots: [slot] } = await newRoomAndSlots(server);
  assert(slot);
  const token = await server.token("alice");
  const { id: userId } = await server.ok("getMe", { token: await server.token("bob") });
  await using holder = connect({ url: server.databaseUrl, pool: 1 });
  const { release } = await lockRows(holder, (trx) =>
    sql`
      insert into bookings (user_id, room_id, timeslot_id, status, price, currency, payment_status, amount_paid,
        amount_refunded, cancellation_tiers, created_at, updated_at)
      values (${userId}, ${slot.roomId}, ${slot.id}, 'confirmed', 0, 'EUR', 'not_required', 0, 0, '[]', now(), now())
    `.execute(trx));
  const body = { roomId: slot.roomId, timeslotId: slot.id };
  const sent = sendWithKey(server, "createBooking", { token, body }, newKey());
  await untilWaiting(server.db, 1);
  // They get the locks of the request at the moment of its rollback.
  await using others = connect({ url: server.databaseUrl, pool: 2 });
  const queued = queueForKeys(others);
  await untilWaiting(server.db, 2);
  await release();
  assertRefused(await sent, "timeslot_unavailable");
  await queued;
});
