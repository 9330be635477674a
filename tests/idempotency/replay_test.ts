/** Requests sent again with their key get the same bytes and change nothing. Built from the contract. */
import assert from "node:assert/strict";
import { operations } from "../../generated/contract.ts";
import { contractOperations, exampleOperations, type JsonObject } from "../contract/document.ts";
import { exampleCall, type Ids, newExampleRows, prepareFor } from "../contract/example_calls.ts";
import { newApiKey } from "../support/api_keys.ts";
import { missingId, newBooking, newRoom, newRoomWithTimeslot, newTimeslots } from "../support/builders.ts";
import { type Call, type OperationId, sharedServer, startServer, type TestServer } from "../support/server.ts";
import {
  assertDone,
  assertRefused,
  assertReplayed,
  countKeys,
  everything,
  everythingElse,
  exampleOf,
  keyedOperations,
  newKey,
  sendWithKey,
} from "./keyed_requests.ts";

/** `createCheckout` needs a payment provider. */
const env = { PAYMENT_PROVIDER: "sandbox" };

Deno.test("Idempotency-Key: contract -> taken by every POST and PUT but receivePaymentEvent", () => {
  for (const { operationId, method } of contractOperations) {
    const expected = ["POST", "PUT"].includes(method) && operationId !== "receivePaymentEvent";
    assert.equal(operations[operationId].takesIdempotencyKey, expected, operationId);
  }
});

/** Another valid body for each operation with a body. */
const otherBodies: Partial<Record<OperationId, JsonObject>> = {
  createBooking: { notes: "another one" },
  rescheduleBooking: { newTimeslotId: 1 },
  createRoom: { name: "Another room" },
  updateRoom: { name: "Another room" },
  generateTimeslots: { slotDuration: 45 },
  updateBookingStatus: { status: "cancelled" },
  refundBooking: { amount: 2 },
  createApiKey: { name: "Another key" },
  setSandboxClock: { now: "2028-03-09T08:00:00Z" },
};

/** Calls with another body, path or `If-Match`, and a call of another operation. */
function otherRequests(id: OperationId, { params, body, ...call }: Call, ids: Ids): [OperationId, Call][] {
  const others: [OperationId, Call][] = [];
  if (body !== undefined) {
    const other = otherBodies[id];
    assert(other, `${id} needs another body`);
    // The body of an example is an object.
    others.push([id, { ...call, params: params ?? {}, body: { ...body as JsonObject, ...other } }]);
  }
  const [name] = Object.keys(params ?? {});
  if (name !== undefined) others.push([id, { ...call, params: { [name]: missingId }, body }]);
  if (operations[id].takesIfMatch) {
    others.push([id, { ...call, params: params ?? {}, body, headers: { "If-Match": "*" } }]);
  }
  others.push(
    id === "createSocketTicket"
      ? ["createBooking", { ...call, body: { roomId: ids.roomId, timeslotId: ids.timeslotId } }]
      : ["createSocketTicket", call],
  );
  return others;
}

Deno.test("keyed operations: key used again -> same answer for the same request, 422 for another, no change", async (t) => {
  // The test compares all rows.
  await using server = await startServer({ env });
  for (const operation of keyedOperations) {
    const id = operation.operationId;
    await t.step(id, async () => {
      const ids = await newExampleRows(server);
      await prepareFor(server, id, ids);
      const call = await exampleOf(server, operation, ids);
      const key = newKey();
      const first = await sendWithKey(server, id, call, key);
      assertDone(first);
      assert.equal(first.headers.has("ETag"), operations[id].hasEntityTag);
      const before = await everything(server.db);
      const assertSame = async () => {
        const replay = await sendWithKey(server, id, call, key);
        assertReplayed(first, replay);
        assert.notEqual(replay.headers.get("X-Request-Id"), first.headers.get("X-Request-Id"));
      };
      await assertSame();
      await assertSame();
      for (const [other, request] of otherRequests(id, call, ids)) {
        const answer = await sendWithKey(server, other, request, key);
        assertRefused(answer, "idempotency_key_reused");
        assert.deepEqual([answer.status, answer.isReplay], [422, false]);
      }
      await assertSame();
      assert.deepEqual(await everything(server.db), before);
    });
  }
});

Deno.test("Idempotency-Key: same key of another user or of an API key -> another key", async () => {
  const server = await sharedServer();
  const [room, key] = [await newRoom(server), newKey()];
  const slots = await newTimeslots(server, room, { date: "2026-03-09" });
  const { key: apiKey } = await newApiKey(server);
  const callers = [await server.token("alice"), await server.token("bob"), apiKey];
  const bookings = callers.map((token, index) => ({ token, body: { roomId: room.id, timeslotId: slots[index]?.id } }));
  const firsts = [];
  for (const call of bookings) firsts.push(await sendWithKey(server, "createBooking", call, key));
  firsts.forEach(assertDone);
  for (const [index, call] of bookings.entries()) {
    const first = firsts[index];
    assert(first);
    assertReplayed(first, await sendWithKey(server, "createBooking", call, key));
  }
  // The body is the same as well.
  const rival = { token: await server.token("carol"), body: bookings[0]?.body };
  assertRefused(await sendWithKey(server, "createBooking", rival, key), "timeslot_unavailable");
});

Deno.test("Idempotency-Key: GET or DELETE, valid or malformed key -> ignored", async (t) => {
  const server = await sharedServer();
  for (const operation of exampleOperations) {
    const { operationId: id, method } = operation;
    if (method !== "GET" && method !== "DELETE") continue;
    await t.step(id, async () => {
      const ids = await newExampleRows(server);
      const { apiKey } = await newApiKey(server);
      const example = exampleCall(operation, { ...ids, apiKeyId: apiKey.id });
      const call = operations[id].access === "public"
        ? example
        : { ...await exampleOf(server, operation, ids), ...example };
      for (const key of ["key", "no key at all", "x".repeat(256)]) {
        const answer = await sendWithKey(server, id, call, key);
        // The second DELETE finds nothing.
        assert(answer.status < 400 || method === "DELETE" && key !== "key", answer.text);
        assert(!answer.isReplay);
      }
    });
  }
  assert.equal(await countKeys(server.db, server.subject("alice"), server.subject("admin")), 0);
});

interface ChangedCall {
  id: OperationId;
  call: Call;
  /** Changes the resource after the call. */
  change: () => Promise<unknown>;
}

async function newChanges(server: TestServer): Promise<ChangedCall[]> {
  const { room, timeslot } = await newRoomWithTimeslot(server);
  const [first, second] = await newTimeslots(server, room, { date: "2026-03-10" });
  assert(first && second);
  const booked = await newBooking(server, "alice", first);
  const [alice, admin] = [await server.token("alice"), await server.token("admin", "admin")];
  const params = { bookingId: booked.id };
  const cancelAll = async () => {
    const { items } = await server.ok("listBookings", { token: alice, query: { status: "pending" } });
    for (const { id } of items) await server.ok("cancelBooking", { token: alice, params: { bookingId: id } });
  };
  const rename = () =>
    server.ok("updateRoom", { token: admin, params: { roomId: room.id }, body: { name: "Renamed later" } });
  return [
    {
      id: "updateRoom",
      call: { token: admin, params: { roomId: room.id }, body: { name: "Renamed" } },
      change: rename,
    },
    { id: "rescheduleBooking", call: { token: alice, params, body: { newTimeslotId: second.id } }, change: rename },
    {
      id: "createBooking",
      call: { token: alice, body: { roomId: room.id, timeslotId: timeslot.id } },
      change: async () => {
        await cancelAll();
        await newBooking(server, "bob", timeslot);
      },
    },
    {
      id: "cancelBooking",
      call: { token: await server.token("bob"), params: { bookingId: booked.id + 1 } },
      change: () => newBooking(server, "bob", timeslot),
    },
  ];
}

Deno.test("Idempotency-Key: resource has changed since -> first answer is replayed, no change", async () => {
  // The test compares all rows.
  await using server = await startServer();
  for (const { id, call, change } of await newChanges(server)) {
    const request = id === "cancelBooking" ? { ...call, params: { bookingId: await lastOfBob(server) } } : call;
    const key = newKey();
    const first = await sendWithKey(server, id, request, key);
    assertDone(first);
    await change();
    const before = await everythingElse(server.db);
    assertReplayed(first, await sendWithKey(server, id, request, key));
    assert.deepEqual(await everythingElse(server.db), before, id);
  }
});

async function lastOfBob(server: TestServer): Promise<number> {
  const { items } = await server.ok("listBookings", { token: await server.token("bob"), query: { status: "pending" } });
  const [last] = items;
  assert(last);
  return last.id;
}

Deno.test("Idempotency-Key: If-Match is outdated after the change -> replayed", async () => {
  const server = await sharedServer();
  const { timeslot } = await newRoomWithTimeslot(server);
  const { id: bookingId } = await newBooking(server, "alice", timeslot);
  const call = { token: await server.token("alice"), params: { bookingId } };
  const tag = (await server.call("getBooking", call)).headers.get("ETag") ?? "";
  const [conditional, key] = [{ ...call, headers: { "If-Match": tag } }, newKey()];
  const first = await sendWithKey(server, "cancelBooking", conditional, key);
  assertDone(first);
  assertReplayed(first, await sendWithKey(server, "cancelBooking", conditional, key));
  assertRefused(await sendWithKey(server, "cancelBooking", conditional, newKey()), "precondition_failed");
});
