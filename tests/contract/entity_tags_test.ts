/** Entity tags and caching of answers. Generated from the contract, so that it covers new operations. */
import assert from "node:assert/strict";
import { operations } from "../../generated/contract.ts";
import { newRoom } from "../support/builders.ts";
import { type Answer, type OperationId, type SharedServer, sharedServer, type TestServer } from "../support/server.ts";
import { type ContractOperation, contractOperations, exampleOperations } from "./document.ts";
import {
  contractServer,
  type ExampleCall,
  exampleCall,
  type Ids,
  newExampleRows,
  pathOf,
  tokenFor,
} from "./example_calls.ts";

const conditional = exampleOperations.filter(({ operationId }) => operations[operationId].isConditional);
const tagPattern = /^"[\x21\x23-\x7e]+"$/;

const accessOf = ({ operationId }: ContractOperation) => operations[operationId].access;

/** A server with few rooms, so that lists have each of them on the first page. */
const startTagServer = (): Promise<SharedServer> => sharedServer({ group: "entity tags" });

/** Returns the example call, on the day of the example rows. */
function conditionalCall(operation: ContractOperation, ids: Ids): ExampleCall {
  const call = exampleCall(operation, ids);
  const day = Object.keys(call.query).filter((name) => ["date", "from", "to"].includes(name))
    .map((name) => [name, "2026-03-20"]);
  return { ...call, query: { ...call.query, ...Object.fromEntries(day) } };
}

interface Reader {
  operation: ContractOperation;
  /** Sends the request, with `If-None-Match` if it is given. */
  read(ifNoneMatch?: string): Promise<Answer>;
}

/** Returns a reader of the example rows for each conditional operation. */
async function readersOf(server: TestServer, ids: Ids): Promise<Reader[]> {
  return await Promise.all(conditional.map(async (operation) => {
    const call = { ...conditionalCall(operation, ids), ...await tokenFor(server, operation) };
    const read = (ifNoneMatch?: string) => {
      const headers: Record<string, string> = ifNoneMatch === undefined ? {} : { "If-None-Match": ifNoneMatch };
      return server.call(operation.operationId, { ...call, headers });
    };
    return { operation, read };
  }));
}

function tagOf({ status, headers }: Answer, source: string): string {
  assert(status < 300, `${source} answered ${status}`);
  const tag = headers.get("ETag") ?? "";
  assert.match(tag, tagPattern, source);
  return tag;
}

/** Cache-Control of an operation's answer. */
const cacheControlOf = (operation: ContractOperation) =>
  accessOf(operation) === "public" ? "no-cache" : "private, no-cache";

Deno.test("entity tags: operations of the contract with one -> rooms, free timeslots and bookings", () => {
  const tagged = Object.values(operations).filter(({ hasEntityTag }) => hasEntityTag).map(({ id }) => id);
  const reads = [
    ...["listRooms", "listAvailableRooms", "getRoom", "listFreeTimeslots"],
    ...["listBookings", "getBooking", "listAllBookings"],
  ];
  assert.deepEqual(conditional.map(({ operationId }) => operationId), reads);
  assert.deepEqual(tagged.sort(), [...reads, "createRoom", "updateRoom", "updateBookingStatus"].sort());
});

Deno.test("entity tags: If-None-Match of the current answer -> 304 without a body, with the headers of the 200", async (t) => {
  await using server = await startTagServer();
  for (const { operation, read } of await readersOf(server, await newExampleRows(server))) {
    await t.step(operation.operationId, async () => {
      const first = await read();
      const tag = tagOf(first, operation.operationId);
      assert.equal(first.headers.get("Cache-Control"), cacheControlOf(operation));
      const known = [tag, `W/${tag}`, `"another", ${tag}`, `${tag},"another"`, `"another" , W/${tag}`, "*", " * "];
      for (const ifNoneMatch of known) {
        // `call` fails when a 304 has a body.
        const { status, headers } = await read(ifNoneMatch);
        assert.equal(status, 304, ifNoneMatch);
        assert.equal(headers.get("ETag"), tag);
        assert.equal(headers.get("Cache-Control"), cacheControlOf(operation));
        assert((headers.get("X-Request-Id") ?? "").length > 0);
        assert.equal(headers.get("Content-Type"), null);
      }
      const unknown = [
        '"another"',
        'W/"another"',
        '"another", W/"one more"',
        tag.slice(1, -1),
        '""',
        `"${tag}"`,
        '"*"',
      ];
      for (const ifNoneMatch of unknown) {
        const { status, body, headers } = await read(ifNoneMatch);
        assert.equal(status, 200, ifNoneMatch);
        assert.deepEqual(body, first.body);
        assert.equal(headers.get("ETag"), tag);
      }
    });
  }
});

Deno.test("entity tags: HEAD -> 200 and 304 with the tag of GET", async () => {
  await using server = await startTagServer();
  const ids = await newExampleRows(server);
  for (const { operation, read } of await readersOf(server, ids)) {
    const tag = tagOf(await read(), operation.operationId);
    const { token } = await tokenFor(server, operation);
    const url = `${server.url}${pathOf(operation, conditionalCall(operation, ids))}`;
    for (const [ifNoneMatch, expected] of [[tag, 304], ["*", 304], ['"another"', 200]] as const) {
      const headers = new Headers({ "If-None-Match": ifNoneMatch });
      if (token !== undefined) headers.set("Authorization", `Bearer ${token}`);
      const response = await fetch(url, { method: "HEAD", headers });
      assert.equal(await response.text(), "");
      const { status } = response;
      const [etag, cacheControl] = [response.headers.get("ETag"), response.headers.get("Cache-Control")];
      assert.deepEqual([status, etag, cacheControl], [expected, tag, cacheControlOf(operation)], operation.operationId);
    }
  }
});

type Change = (server: TestServer, ids: Ids) => Promise<unknown>;

const renameRoom: Change = async (server, { roomId }) => {
  const token = await server.token("admin", "admin");
  return await server.ok("updateRoom", { token, params: { roomId }, body: { name: "Another name" } });
};
const bookFreeTimeslot: Change = async (server, { roomId, timeslotId }) => {
  return await server.ok("createBooking", { token: await server.token("bob"), body: { roomId, timeslotId } });
};
const cancelBooking: Change = async (server, { bookingId }) => {
  return await server.ok("cancelBooking", { token: await server.token("alice"), params: { bookingId } });
};

/** Changes that alter an answer, for each conditional operation. */
const shown: Partial<Record<OperationId, Record<string, Change>>> = {
  listRooms: { "a room is renamed": renameRoom, "a room is made": (server) => newRoom(server) },
  listAvailableRooms: {
    "a room is renamed": renameRoom,
    "one is booked": bookFreeTimeslot,
    "one is given back": cancelBooking,
  },
  getRoom: { "it is renamed": renameRoom },
  listFreeTimeslots: {
    "its room is renamed": renameRoom,
    "one is booked": bookFreeTimeslot,
    "one is given back": cancelBooking,
  },
  listBookings: { "a room is renamed": renameRoom, "one is cancelled": cancelBooking },
  getBooking: { "its room is renamed": renameRoom, "it is cancelled": cancelBooking },
  listAllBookings: { "one is cancelled": cancelBooking, "a timeslot is booked": bookFreeTimeslot },
};

/** A change that alters none of these answers. */
const hidden: Change = async (server) => {
  await server.ok("createApiKey", {
    token: await server.token("admin", "admin"),
    body: { name: "Unseen", scopes: ["bookings:read"] },
  });
};

for (const operation of conditional) {
  const id = operation.operationId;
  const changes = Object.entries(shown[id] ?? {});
  Deno.test(`${id}: change of its answer -> 200 with another tag, any other change -> 304`, async (t) => {
    assert(changes.length > 0, `no change is listed for ${id}`);
    await using server = await startTagServer();
    for (const [name, change] of changes) {
      await t.step(name, async () => {
        const ids = await newExampleRows(server);
        const reader = (await readersOf(server, ids)).find((each) => each.operation === operation);
        assert(reader !== undefined);
        const before = await reader.read();
        const tag = tagOf(before, id);
        await hidden(server, ids);
        assert.equal((await reader.read(tag)).status, 304);
        await change(server, ids);
        const after = await reader.read(tag);
        assert.equal(after.status, 200);
        assert.notDeepEqual(after.body, before.body);
        const newTag = tagOf(after, id);
        assert.notEqual(newTag, tag);
        assert.equal((await reader.read(newTag)).status, 304);
      });
    }
  });
}

/** Operations that read the answer of a change again. */
const rereads: Partial<Record<OperationId, { id: OperationId; param: string }>> = {
  createRoom: { id: "getRoom", param: "roomId" },
  updateRoom: { id: "getRoom", param: "roomId" },
  updateBookingStatus: { id: "getBooking", param: "bookingId" },
};

Deno.test("entity tags: change with a tag in its answer -> the tag of the next GET", async (t) => {
  await using server = await startTagServer();
  const token = await server.token("admin", "admin");
  const changes = exampleOperations.filter(({ operationId: id }) =>
    operations[id].hasEntityTag && !operations[id].isConditional
  );
  for (const operation of changes) {
    await t.step(operation.operationId, async () => {
      const call = exampleCall(operation, await newExampleRows(server, operation));
      const changed = await server.call(operation.operationId, { ...call, token });
      const tag = tagOf(changed, operation.operationId);
      assert.equal(changed.headers.get("Cache-Control"), "private, no-cache");
      const reader = rereads[operation.operationId];
      assert(reader !== undefined, `no operation is listed that reads the answer of ${operation.operationId}`);
      // The answer of each change has the id.
      const { id } = changed.body as { id: number };
      const request = { token, params: { [reader.param]: id } };
      assert.equal(tagOf(await server.call(reader.id, request), reader.id), tag);
      assert.equal((await server.call(reader.id, { ...request, headers: { "If-None-Match": tag } })).status, 304);
    });
  }
});

Deno.test("caching: answer without an entity tag, or a problem -> no-store", async () => {
  await using server = await contractServer();
  const readIds = await newExampleRows(server);
  for (const operation of exampleOperations) {
    const id = operation.operationId;
    const ids = operation.method === "GET" ? readIds : await newExampleRows(server, operation);
    const call = exampleCall(operation, ids);
    const answer = await server.call(id, { ...call, ...await tokenFor(server, operation) });
    const isTagged = operations[id].hasEntityTag && answer.status < 400;
    assert.equal(answer.headers.get("Cache-Control"), isTagged ? cacheControlOf(operation) : "no-store", id);
    assert.equal(answer.headers.has("ETag"), isTagged, id);
  }
  for (const { operationId: id } of contractOperations) {
    const { status, headers } = await server.call(id, { query: { nonsense: 1 }, params: { roomId: "x" } });
    if (status < 400) continue;
    assert.deepEqual([headers.get("Cache-Control"), headers.get("ETag")], ["no-store", null], id);
  }
  for (const init of [{}, { method: "PATCH" }]) {
    const response = await fetch(`${server.url}${init.method === undefined ? "/nowhere" : "/api/v1/bookings"}`, init);
    await response.body?.cancel();
    assert(response.status >= 400);
    assert.equal(response.headers.get("Cache-Control"), "no-store");
  }
});

Deno.test("entity tags: If-None-Match by a caller who may not read, or of a missing row -> 401, 403 or 404", async () => {
  await using server = await contractServer();
  const ids = await newExampleRows(server);
  const mallory = await server.token("mallory");
  for (const { operation, read } of await readersOf(server, ids)) {
    const id = operation.operationId;
    const call = conditionalCall(operation, ids);
    for (const ifNoneMatch of ["*", tagOf(await read(), id)]) {
      const request = { ...call, headers: { "If-None-Match": ifNoneMatch } };
      if (accessOf(operation) !== "public") {
        await server.refused("token_missing", id, request);
        await server.refused("token_invalid", id, { ...request, token: "garbage" });
      }
      if (accessOf(operation) === "admin") await server.refused("admin_required", id, { ...request, token: mallory });
      const names = Object.keys(call.params);
      if (names.includes("bookingId")) await server.refused("not_booking_owner", id, { ...request, token: mallory });
      if (names.length === 0) continue;
      const missing = { ...request, params: Object.fromEntries(names.map((name) => [name, Number.MAX_SAFE_INTEGER])) };
      const { status } = await server.call(id, { ...missing, ...await tokenFor(server, operation) });
      assert.equal(status, 404, id);
    }
  }
});
