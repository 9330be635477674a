/** Limits of simultaneous requests (`x-concurrency-limits`). Generated from the contract, so that it covers new classes. */
import assert from "node:assert/strict";
import { sql } from "kysely";
import { concurrencyLimits } from "../../generated/contract.ts";
import { untilWaiting } from "../support/database.ts";
import { eventually } from "../support/process.ts";
import { type ContractOperation, contractOperations } from "./document.ts";
import { contractServer, exampleCall, tokenFor } from "./example_calls.ts";

/** The operations of a class. */
function operationsOf(name: string): ContractOperation[] {
  return contractOperations.filter((operation) => operation["x-concurrency-limit"] === name);
}

for (const [name, { running, queued }] of Object.entries(concurrencyLimits)) {
  for (const operation of operationsOf(name)) {
    const { operationId: id } = operation;
    Deno.test(`${id}: 3 requests more than the limits of ${name} -> 3 x 503, ${running} run at once, all others served`, async () => {
      await using server = await contractServer();
      const call = { ...exampleCall(operation, {}), ...await tokenFor(server, operation) };
      await server.ok(id, call);
      const statuses: number[] = [];
      const requests = await server.db.transaction().execute(async (trx) => {
        // The requests may take longer on a busy machine.
        await sql`set local idle_in_transaction_session_timeout = 0`.execute(trx);
        await sql`lock table timeslots, bookings in access exclusive mode`.execute(trx);
        const sent = Array.from({ length: running + queued + 3 }, async () => {
          const { status, headers } = await server.call(id, call);
          if (status === 503) assert(Number(headers.get("Retry-After")) > 0);
          statuses.push(status);
        });
        await eventually(() => Promise.resolve(statuses.length === 3));
        await untilWaiting(server.db, running);
        // The database still serves other requests. Meanwhile no other request of the class starts.
        for (let count = 0; count < 5; count++) await server.ok("listRooms");
        await untilWaiting(server.db, running);
        return sent;
      });
      await Promise.all(requests);
      assert.deepEqual(statuses, [...Array(3).fill(503), ...Array(running + queued).fill(200)]);
    });
  }
}

Deno.test("concurrency limits: classes of the contract -> each has an operation, each operation has a known class", () => {
  const names = contractOperations.flatMap((operation) => operation["x-concurrency-limit"] ?? []);
  assert.deepEqual([...new Set(names)].sort(), Object.keys(concurrencyLimits).sort());
});
