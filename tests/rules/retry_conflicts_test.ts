/** `retryConflicts` repeats a transaction that Postgres aborted because of a conflict. */
import { sql } from "kysely";
import assert from "node:assert/strict";
import { retryConflicts } from "../../src/database/transactions.ts";
import { newRoom } from "../support/builders.ts";
import { sharedServer, type TestServer } from "../support/server.ts";

Deno.test("retryConflicts: Postgres aborts a transaction because of a deadlock -> it runs again", async () => {
  await using server = await sharedServer();
  const [one, two] = [(await newRoom(server)).id, (await newRoom(server)).id];
  let runs = 0;
  let holding = 0;
  const bothHoldOne = Promise.withResolvers<void>();
  const oneIsDone = Promise.withResolvers<void>();
  const raiseCapacities = (first: number, second: number) =>
    retryConflicts(server.db, () =>
      server.db.transaction().execute(async (trx) => {
        // The aborted one waits for the other one's commit. Otherwise it could lock first again.
        if (++runs > 2) await oneIsDone.promise;
        // Postgres looks for deadlocks after a second. A superuser may shorten that.
        await sql`select set_config('deadlock_timeout', '10ms', true) from pg_roles
          where rolname = current_user and rolsuper`.execute(trx);
        const raise = (id: number) =>
          trx.updateTable("rooms").set((eb) => ({ capacity: eb("capacity", "+", 1) })).where("id", "=", id).execute();
        await raise(first);
        if (++holding === 2) bothHoldOne.resolve();
        await bothHoldOne.promise;
        await raise(second);
      })).then(oneIsDone.resolve);
  await Promise.all([raiseCapacities(one, two), raiseCapacities(two, one)]);
  assert.equal(runs, 3, "one of the two ran twice");
  const rows = await server.db.selectFrom("rooms").select("capacity").where("id", "in", [one, two]).execute();
  assert.deepEqual(rows, [{ capacity: 3 }, { capacity: 3 }]);
});

/** Raises a room's capacity by one. In the first `times` runs another transaction changes it in between. */
async function raiseAgainst(server: TestServer, times: number): Promise<{ runs: number; failure: unknown }> {
  const { id } = await newRoom(server);
  let runs = 0;
  const failure = await retryConflicts(
    server.db,
    () =>
      server.db.transaction().setIsolationLevel("repeatable read").execute(async (trx) => {
        const { capacity } = await trx.selectFrom("rooms").select("capacity").where("id", "=", id)
          .executeTakeFirstOrThrow();
        if (++runs <= times) {
          await server.db.updateTable("rooms").set({ capacity: 10 * runs }).where("id", "=", id).execute();
        }
        await trx.updateTable("rooms").set({ capacity: capacity + 1 }).where("id", "=", id).execute();
      }),
  ).then(() => undefined, (failure: unknown) => failure);
  const room = await server.ok("getRoom", { params: { roomId: id } });
  assert.equal(room.capacity, 10 * Math.min(times, 10) + (failure === undefined ? 1 : 0));
  return { runs, failure };
}

Deno.test("retryConflicts: serialization failures -> it runs again, at most 10 times", async () => {
  await using server = await sharedServer();
  assert.deepEqual(await raiseAgainst(server, 2), { runs: 3, failure: undefined });
  const { runs, failure } = await raiseAgainst(server, 10);
  assert.equal(runs, 10);
  assert(failure instanceof Error && "code" in failure);
  assert.equal(failure.code, "40001");
});

Deno.test("retryConflicts: a unique violation -> no further run", async () => {
  await using server = await sharedServer();
  let runs = 0;
  const insert = () => {
    runs++;
    return server.db.insertInto("users").values({ subject: server.subject("alice") }).execute();
  };
  await insert();
  await assert.rejects(() => retryConflicts(server.db, insert), { code: "23505" });
  assert.equal(runs, 2);
});
