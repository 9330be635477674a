/** Each change by an admin commits together with an entry of the audit log. The operations are those of the contract. */
import assert from "node:assert/strict";
import { sql } from "kysely";
import { type AuditEntry, type AuditResource, operations, type ProblemCode } from "../../generated/contract.ts";
import { type ContractOperation, exampleOperations } from "../contract/document.ts";
import { allRows, exampleCall, type Ids, newExampleRows, prepareFor } from "../contract/example_calls.ts";
import { findApiKey, newApiKey, revoke } from "../support/api_keys.ts";
import { missingId, newBooking, newRoomWithTimeslot } from "../support/builders.ts";
import { type Call, type OperationId, sharedServer, type TestServer } from "../support/server.ts";

const changes = exampleOperations.filter(({ method }) => method !== "GET");
const isAdmins = ({ operationId }: ContractOperation) => operations[operationId].access === "admin";
const audited = changes.filter(isAdmins);

/** With a provider, so that users can call all operations. The group has the database alone, because all is counted. */
const startPaid = () => sharedServer({ env: { PAYMENT_PROVIDER: "sandbox" }, group: "audit log" });

/** The rows of the examples, an API key, and a clock that was set. */
async function newRows(server: TestServer, id?: OperationId): Promise<Ids> {
  const ids = await newExampleRows(server);
  if (id !== undefined) await prepareFor(server, id, ids);
  const { apiKey } = await newApiKey(server);
  // One minute, so that the hold of the booking does not expire.
  await server.ok("setSandboxClock", { token: await olga(server), body: { now: "2026-03-02T10:01:00Z" } });
  return { ...ids, apiKeyId: apiKey.id };
}

const olga = (server: TestServer) => server.token("olga", "admin");

async function entries(server: TestServer): Promise<AuditEntry[]> {
  return (await server.ok("listAuditLog", { token: await olga(server), query: { limit: 100 } })).items;
}

async function countEntries({ db }: TestServer): Promise<number> {
  const { count } = await db.selectFrom("audit_log").select((eb) => eb.fn.countAll<number>().as("count"))
    .executeTakeFirstOrThrow();
  return count;
}

interface Audited {
  resource: AuditResource;
  /** The name of its id; null for the clock, undefined for a new resource. */
  id?: keyof Ids | null;
  /** Returns the new resource in the answer. */
  made?: (answer: Record<string, unknown>, call: Call) => unknown;
}

const changedResources: Partial<Record<OperationId, Audited>> = {
  createRoom: { resource: "room", made: (room) => room },
  updateRoom: { resource: "room", id: "roomId" },
  deleteRoom: { resource: "room", id: "roomId" },
  generateTimeslots: {
    resource: "timeslots",
    id: "roomId",
    made: ({ message: _, ...generated }, { body }) => ({ ...Object(body), ...generated }),
  },
  deleteTimeslot: { resource: "timeslot", id: "timeslotId" },
  updateBookingStatus: { resource: "booking", id: "bookingId" },
  retryRefund: { resource: "booking", id: "bookingId" },
  settleRefund: { resource: "booking", id: "bookingId" },
  refundBooking: { resource: "booking", id: "bookingId" },
  createApiKey: { resource: "api_key", made: ({ apiKey }) => apiKey },
  revokeApiKey: { resource: "api_key", id: "apiKeyId" },
  setSandboxClock: { resource: "clock", id: null },
  resetSandboxClock: { resource: "clock", id: null },
};

/** Returns the resource as the API does; null if it does not exist. */
async function look(server: TestServer, resource: AuditResource, ids: Ids): Promise<unknown> {
  const { roomId, bookingId, timeslotId, apiKeyId } = ids;
  const token = await olga(server);
  switch (resource) {
    case "room":
      return await server.ok("getRoom", { params: { roomId } });
    case "booking":
      return await server.ok("getBooking", { token, params: { bookingId } });
    case "timeslot": {
      const query = { date: "2026-03-20" };
      const { timeslots } = await server.ok("listFreeTimeslots", { params: { roomId }, query });
      return timeslots.find(({ id }) => id === timeslotId) ?? null;
    }
    case "api_key": {
      const { items } = await server.ok("listApiKeys", { token });
      return items.find(({ id }) => id === apiKeyId) ?? null;
    }
    case "clock":
      return await server.ok("getSandboxClock", { token });
    case "timeslots":
      return null;
  }
}

for (const operation of audited) {
  const id = operation.operationId;

  Deno.test(`${id}: as an admin -> one audit entry with the actor, the resource before and after, and the request id`, async () => {
    await using server = await startPaid();
    const ids = await newRows(server, id);
    const { resource, id: name, made } = changedResources[id] ?? assert.fail(`no resource of ${id}`);
    const { items: [last] } = await server.ok("listAuditLog", { token: await olga(server) });
    const { id: userId } = await server.ok("getMe", { token: await olga(server) });
    const call = exampleCall(operation, ids);
    const before = made === undefined ? await look(server, resource, ids) : null;
    const headers = { "X-Request-Id": `request-of-${id}` };
    const answer = await server.call(id, { ...call, token: await olga(server), headers });
    assert(answer.status < 400, JSON.stringify(answer.body));
    const body = answer.body as Record<string, unknown>;
    const after = made === undefined ? await look(server, resource, ids) : made(body, call);
    assert.notDeepEqual(before, after);

    const [entry, ...older] = await entries(server);
    assert(entry !== undefined);
    assert.equal(older[0]?.id, last?.id);
    const { id: _, occurredAt: __, ...rest } = entry;
    assert.deepEqual(rest, {
      actor: { userId, subject: server.subject("olga"), name: null },
      operation: id,
      resource,
      resourceId: name === undefined ? Object(after).id : name === null ? null : ids[name],
      before,
      after,
      requestId: `request-of-${id}`,
    });
  });

  Deno.test(`${id}: its audit entry cannot be written -> 500, no change, no job, and a retry succeeds`, async () => {
    await using server = await startPaid();
    const ids = await newRows(server, id);
    const call = { ...exampleCall(operation, ids), token: await olga(server) };
    const jobs = () => sql`select * from graphile_worker._private_jobs order by id`.execute(server.db);
    const state = async () => ({
      ...await allRows(server.db),
      jobs: (await jobs()).rows,
      clock: await server.ok("getSandboxClock", { token: call.token }),
    });
    await sql`alter table audit_log add constraint full_disk check (false) not valid`.execute(server.db);
    const before = await state();
    const isKeyed = operations[id].takesIdempotencyKey;
    const keyed = isKeyed ? { ...call, headers: { "Idempotency-Key": "the-same" } } : call;
    try {
      for (const each of [call, keyed]) {
        await server.refused("internal_error", id, each);
        assert.deepEqual(await state(), before);
      }
    } finally {
      await sql`alter table audit_log drop constraint full_disk`.execute(server.db);
    }
    const count = await countEntries(server);
    await server.ok(id, keyed);
    assert.equal(await countEntries(server), count + 1);
    if (!isKeyed) return;
    assert.equal((await server.call(id, keyed)).headers.get("Idempotency-Replayed"), "true");
    assert.equal(await countEntries(server), count + 1);
  });
}

Deno.test("audit log: refusals, also stored ones of an Idempotency-Key -> no entry", async () => {
  await using server = await startPaid();
  const { timeslot } = await newRoomWithTimeslot(server);
  const unpaid = await newBooking(server, "alice", timeslot);
  const ids = await newRows(server);
  const { roomId, bookingId } = ids;
  const absent = { roomId: missingId, bookingId: missingId, timeslotId: missingId, apiKeyId: missingId };
  const day = { startDate: "2026-03-09", endDate: "2026-03-09", slotDuration: 30 };
  const past = "2001-01-01T00:00:00Z";
  /** Refusals that only the handler finds, within its transaction. */
  const refusals: [ProblemCode, OperationId, Call][] = [
    ["validation_failed", "createRoom", { body: { name: "x", roomType: "meeting", timeZone: "Mars/Olympus" } }],
    ["validation_failed", "updateRoom", { params: { roomId }, body: { currency: "EUX" } }],
    ["room_not_found", "updateRoom", { params: absent, body: { name: "x" } }],
    ["room_not_found", "deleteRoom", { params: absent }],
    ["precondition_failed", "deleteRoom", { params: { roomId }, headers: { "If-Match": '"stale"' } }],
    ["timeslot_not_found", "deleteTimeslot", { params: absent }],
    ["timeslot_has_bookings", "deleteTimeslot", { params: { timeslotId: timeslot.id } }],
    ["unknown_room", "generateTimeslots", { body: { roomId: absent.roomId, ...day } }],
    ["booking_not_found", "updateBookingStatus", { params: absent, body: { status: "cancelled" } }],
    ["invalid_status_transition", "updateBookingStatus", { params: { bookingId }, body: { status: "completed" } }],
    ["no_failed_refund", "retryRefund", { params: { bookingId: unpaid.id } }],
    ["no_failed_refund", "settleRefund", { params: { bookingId: unpaid.id } }],
    ["booking_not_refundable", "refundBooking", { params: { bookingId: unpaid.id }, body: { amount: 1 } }],
    ["api_key_not_found", "revokeApiKey", { params: absent }],
    ["validation_failed", "createApiKey", { body: { name: "x", scopes: ["rooms:write"], expiresAt: past } }],
    ["clock_goes_forward", "setSandboxClock", { body: { now: past } }],
  ];
  const count = await countEntries(server);
  const token = await olga(server);
  for (const [index, [code, id, { headers, ...request }]] of refusals.entries()) {
    const key = operations[id].takesIdempotencyKey ? { "Idempotency-Key": `key-${index}` } : undefined;
    for (const more of [{}, key, key]) {
      await server.refused(code, id, { ...request, token, headers: { ...headers, ...more } });
    }
  }
  for (const operation of audited) {
    const call = exampleCall(operation, ids);
    await server.refused("admin_required", operation.operationId, { ...call, token: await server.token("alice") });
    await server.refused("token_missing", operation.operationId, call);
  }
  assert.equal(await countEntries(server), count);
});

Deno.test("audit log: calls that change nothing -> no entry", async (t) => {
  await using server = await startPaid();
  const token = await olga(server);
  const { roomId, apiKeyId } = await newRows(server);
  const day = { startDate: "2026-03-25", endDate: "2026-03-25", slotDuration: 60 };
  const cases: Record<string, () => Promise<unknown>> = {
    "a key that is revoked twice": () => server.ok("revokeApiKey", { token, params: { apiKeyId } }),
    "timeslots that are all there": () => server.ok("generateTimeslots", { token, body: { roomId, ...day } }),
    "a clock that was not moved": () => server.ok("resetSandboxClock", { token }),
    "a room that is deactivated twice": () => server.ok("deleteRoom", { token, params: { roomId } }),
  };
  for (const [name, change] of Object.entries(cases)) {
    await t.step(name, async () => {
      const count = await countEntries(server);
      await change();
      assert.equal(await countEntries(server), count + 1);
      await change();
      assert.equal(await countEntries(server), count + 1);
    });
  }
});

Deno.test("audit log: operations of users -> no entry", async () => {
  await using server = await startPaid();
  const token = await server.token("alice");
  for (const operation of changes.filter((each) => !isAdmins(each))) {
    const ids = await newRows(server);
    const count = await countEntries(server);
    await server.ok(operation.operationId, { ...exampleCall(operation, ids), token });
    assert.equal(await countEntries(server), count, operation.operationId);
  }
});

Deno.test("audit log: a change with an API key -> its actor, and no entry contains a key", async () => {
  await using server = await startPaid();
  const { apiKey, key } = await newApiKey(server);
  const room = { name: "Sky Lounge", roomType: "meeting" };
  await server.ok("createRoom", { token: key, body: room });
  const [entry] = await entries(server);
  const { id, subject, name } = await server.ok("getMe", { token: key });
  assert.equal(id, apiKey.userId);
  assert.deepEqual(entry?.actor, { userId: id, subject, name });
  await revoke(server, apiKey);
  assert((await findApiKey(server, apiKey))?.revokedAt);
  const admin = await server.ok("getMe", { token: await server.token("admin", "admin") });
  const rows = await server.db.selectFrom("audit_log").selectAll().where("user_id", "in", [id, admin.id]).execute();
  assert.equal(rows.length, 3);
  const secret = key.slice(apiKey.prefix.length + 1);
  const { hash } = await server.db.selectFrom("api_keys").select("hash").where("id", "=", apiKey.id)
    .executeTakeFirstOrThrow();
  const text = JSON.stringify([rows, await entries(server)]);
  for (const each of [secret, hash]) assert(!text.includes(each));
});

Deno.test("audit log: update, delete and truncate as the server's role -> refused by the database", async (t) => {
  await using server = await startPaid();
  await newRows(server);
  const before = await allRows(server.db);
  const statements = [
    "update audit_log set after = null",
    "update audit_log set after = null where false",
    "delete from audit_log",
    "delete from audit_log where id = (select min(id) from audit_log)",
    "truncate audit_log",
    "truncate users cascade",
    `insert into audit_log overriding system value select * from audit_log
      on conflict (id) do update set request_id = 'another'`,
    "merge into audit_log a using users u on a.user_id = u.id when matched then delete",
  ];
  for (const statement of statements) {
    await t.step(statement, async () => {
      await assert.rejects(() => sql.raw(statement).execute(server.db), /the audit log is append-only/);
    });
  }
  assert.deepEqual(await allRows(server.db), before);
});
