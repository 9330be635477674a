/** `MAX_PENDING_BOOKINGS` in races: the limit holds for requests at the same moment. */
import assert from "node:assert/strict";
import { insertBookings, userIdOf } from "../support/builders.ts";
import { runs } from "../support/properties.ts";
import { sharedServer, startServer } from "../support/server.ts";
import { book, countPending, env, newHours, tooMany } from "./pending_bookings.ts";

for (const isKeyed of [false, true]) {
  const how = isKeyed ? ", each with an Idempotency-Key" : "";
  Deno.test(`createBooking: 40 at once by one user on two servers${how} -> five 201, others 400 too_many_pending_bookings`, async () => {
    await using first = await sharedServer({ env, pool: 10 });
    await using second = await startServer({ env, pool: 10, database: { url: first.databaseUrl } });
    // The first round opens the connections, so later rounds start more statements at the same moment.
    for (const subject of ["alice", "bob", "carol", "dave"].slice(0, runs(2, 4))) {
      const slots = (await newHours(first)).slice(0, 40);
      const token = await first.token(subject);
      const outcomes = await Promise.all(slots.map((slot, index) => {
        return book(index % 2 === 0 ? first : second, token, slot, isKeyed ? `key-${index}` : undefined);
      }));
      assert.deepEqual(outcomes.sort(), [...Array(5).fill("201"), ...Array(35).fill(tooMany)]);
      assert.equal(await countPending(first, token), 5);
    }
  });
}

Deno.test("createBooking: cancelBooking of one of 5 at once -> 201 or 400 too_many_pending_bookings, never timeslot_unavailable", async () => {
  await using server = await sharedServer({ env, pool: 10 });
  const slots = await newHours(server);
  const token = await server.token("alice");
  const oldSlots = slots.splice(0, 5);
  const bookingIds = await insertBookings(server, await userIdOf(server, "alice"), oldSlots);
  const held = oldSlots.map((slot, index) => ({ slot, bookingId: bookingIds[index] }));
  for (let round = 0; round < runs(20, 150); round++) {
    const oldest = held.shift();
    const slot = slots.shift();
    assert(oldest && slot);
    const [outcome] = await Promise.all([
      book(server, token, slot),
      server.ok("cancelBooking", { token, params: { bookingId: oldest.bookingId } }),
    ]);
    assert(outcome === "201" || outcome === tooMany, `round ${round}: ${outcome}`);
    if (outcome === tooMany) assert.equal(await book(server, token, slot), "201");
    // Only alice books in this room.
    const pending = await server.db.selectFrom("bookings").select(["id", "timeslot_id"])
      .where("room_id", "=", slot.roomId).where("status", "=", "pending").execute();
    const newest = pending.find(({ timeslot_id }) => timeslot_id === slot.id);
    assert(newest !== undefined && pending.length === 5);
    held.push({ slot, bookingId: newest.id });
    // The cancelled one's timeslot is free again.
    slots.push(oldest.slot);
  }
});
