/** Real locks that another transaction holds for longer than `lock_timeout`, 5 seconds. */
import assert from "node:assert/strict";
import { sql } from "kysely";
import { startTemporaryPostgres } from "../../scripts/temporary_postgres.ts";
import { migrate } from "../../src/boot/migrate.ts";
import { newBooking, newRoom, newTimeslots } from "../support/builders.ts";
import { lockRows } from "../support/database.ts";
import { type Call, type OperationId, startServer } from "../support/server.ts";

Deno.test("changes of bookings: timeslots locked for over 5 s -> 503 service_unavailable, nothing is changed", async () => {
  // The feeds of all servers on one Postgres wait for this lock.
  await using postgres = await startTemporaryPostgres();
  const url = postgres.url("postgres");
  await migrate(url);
  // Enough connections, so that none of the changes waits for another.
  await using server = await startServer({ database: { url }, pool: 10, env: { MAX_PENDING_BOOKINGS: "0" } });
  const slots = await newTimeslots(server, await newRoom(server), { date: "2026-03-09" });
  const token = await server.token("alice");

  const calls: [OperationId, Call][] = [];
  for (const isKeyed of [false, true]) {
    const [free, cancelled, moved, target] = slots.splice(0, 4);
    assert(free && cancelled && moved && target);
    const { id: bookingId } = await newBooking(server, "alice", cancelled);
    const { id: movedId } = await newBooking(server, "alice", moved);
    const requests: [OperationId, Call][] = [
      ["createBooking", { body: { roomId: free.roomId, timeslotId: free.id } }],
      ["cancelBooking", { params: { bookingId } }],
      ["rescheduleBooking", { params: { bookingId: movedId }, body: { newTimeslotId: target.id } }],
    ];
    for (const [id, call] of requests) {
      calls.push([id, { ...call, token, headers: isKeyed ? { "Idempotency-Key": id } : {} }]);
    }
  }
  const bookings = () => server.ok("listBookings", { token });
  const before = await bookings();

  const { release } = await lockRows(server.db, async (trx) => {
    await sql`set local idle_in_transaction_session_timeout = 0`.execute(trx);
    await sql`select from timeslots for update`.execute(trx);
  });
  await Promise.all(calls.map(async ([id, call]) => {
    const { detail } = await server.refused("service_unavailable", id, call);
    assert.doesNotMatch(detail, /took too long/, "of the server, not of Postgres");
  }));
  assert.deepEqual(await bookings(), before);
  await release();
  for (const [id, call] of calls) await server.ok(id, call);
});
