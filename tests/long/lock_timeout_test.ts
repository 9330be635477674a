/** A real lock that another transaction holds for longer than `lock_timeout`, 5 seconds. */
import { sql } from "kysely";
import { newRoomWithTimeslot } from "../support/builders.ts";
import { sharedServer } from "../support/server.ts";

Deno.test("createBooking: timeslot locked for over 5 s -> 503 service_unavailable, nothing is stored", async () => {
  await using server = await sharedServer();
  const { timeslot: { id: timeslotId, roomId } } = await newRoomWithTimeslot(server);
  const call = {
    token: await server.token("alice"),
    body: { roomId, timeslotId },
    headers: { "Idempotency-Key": "1" },
  };
  const held = Promise.withResolvers<void>();
  const begun = Promise.withResolvers<void>();
  const holder = server.db.transaction().execute(async (trx) => {
    // It is idle for longer than a transaction may be.
    await sql`set local idle_in_transaction_session_timeout = 0`.execute(trx);
    // This mode takes no transaction id. With one, the feeds of all other tests would wait as long.
    await sql`lock table timeslots in exclusive mode`.execute(trx);
    begun.resolve();
    await held.promise;
  });
  await begun.promise;
  await server.refused("service_unavailable", "createBooking", call);
  held.resolve();
  await holder;
  await server.ok("createBooking", call);
});
