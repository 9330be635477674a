/** Holds that expire in large numbers: one sweep works on them in chunks of 100. */
import assert from "node:assert/strict";
import { sql } from "kysely";
import { lockBooking } from "../../src/bookings/queries.ts";
import { newBooking, newRoom, newTimeslots } from "../support/builders.ts";
import { sharedServer } from "../support/server.ts";

Deno.test("sweep: 130 holds have expired, another transaction has locked one of the first 100 -> the other 129 are released", async () => {
  await using server = await sharedServer({ env: { PAYMENT_PROVIDER: "sandbox" } });
  const slots = await newTimeslots(server, await newRoom(server), {
    date: "2026-03-09",
    slotDuration: 5,
    workingHours: { start: "08:00", end: "20:00" },
  });
  const taken = slots.slice(0, 130);
  assert.equal(taken.length, 130);
  // Five bookings per user, the limit of pending ones.
  const bookings = await Promise.all(taken.map((slot, index) => newBooking(server, `guest-${index % 26}`, slot)));
  const [locked] = bookings.map(({ id }) => id).sort((a, b) => a - b);
  assert(locked);
  const held = async () => {
    const rows = await server.db.selectFrom("bookings").select("id")
      .where("id", "in", bookings.map(({ id }) => id)).where("status", "=", "pending").execute();
    return rows.map(({ id }) => id);
  };
  // The locked hold expires first, so the first chunk has it.
  await server.db.updateTable("bookings").set({ hold_expires_at: new Date("2026-03-02T10:00:01.000Z") }).where(
    "id",
    "=",
    locked,
  )
    .execute();
  server.clock.set("2026-03-02T11:00:00.000Z");
  await server.db.transaction().execute(async (trx) => {
    // The sweep may take longer on a busy machine.
    await sql`set local idle_in_transaction_session_timeout = 0`.execute(trx);
    await lockBooking(trx, locked);
    await server.sweep();
    assert.deepEqual(await held(), [locked]);
  });
  await server.sweep();
  assert.deepEqual(await held(), []);
});
