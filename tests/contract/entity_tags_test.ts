/** Entity tags and what may be kept of an answer. Generated from the contract, so that a new operation cannot escape it. */
import assert from "node:assert/strict";
import { operations } from "../../generated/contract.ts";
import { newRoom } from "../support/builders.ts";
import { type Answer, type OperationId, startServer, type TestServer } from "../support/server.ts";
import { type ContractOperation, contractOperations, exampleOperations } from "./document.ts";
import { type ExampleCall, exampleCall, type Ids, newExampleRows, pathOf } from "./example_calls.ts";

const conditional = exampleOperations.filter(({ operationId }) => operations[operationId].isConditional);
const tagForm = /^"[\x21\x23-\x7e]+"$/;

const accessOf = ({ operationId }: ContractOperation) => operations[operationId].access;

/** The example call, on the day of the example rows. */
function conditionalCall(operation: ContractOperation, ids: Ids): ExampleCall {
  const call = exampleCall(operation, ids);
  const day = Object.keys(call.query).filter((name) => ["date", "from", "to"].includes(name))
    .map((name) => [name, "2026-03-20"]);
  return { ...call, query: { ...call.query, ...Object.fromEntries(day) } };
}

/** A token of who sees the example rows: nobody, alice or an admin. */
async function tokenFor(server: TestServer, operation: ContractOperation): Promise<{ token?: string }> {
  const access = accessOf(operation);
  if (access === "public") return {};
  return { token: access === "admin" ? await server.token("admin", "admin") : await server.token("alice") };
}

interface Asked {
  operation: ContractOperation;
  /** Asks, with an `If-None-Match` if one is given. */
  ask(ifNoneMatch?: string): Promise<Answer>;
}

/** Each of the conditional operations, aimed at the example rows. */
async function askedOf(server: TestServer, ids: Ids): Promise<Asked[]> {
  return await Promise.all(conditional.map(async (operation) => {
    const call = { ...conditionalCall(operation, ids), ...await tokenFor(server, operation) };
    const ask = (ifNoneMatch?: string) => {
      const headers: Record<string, string> = ifNoneMatch === undefined ? {} : { "If-None-Match": ifNoneMatch };
      return server.call(operation.operationId, { ...call, headers });
    };
    return { operation, ask };
  }));
}

function tagOf({ status, headers }: Answer, what: string): string {
  assert(status < 300, `${what} answered ${status}`);
  const tag = headers.get("ETag") ?? "";
  assert.match(tag, tagForm, what);
  return tag;
}

/** What the contract says may be kept of an operation's answer. */
const kept = (operation: ContractOperation) => accessOf(operation) === "public" ? "no-cache" : "private, no-cache";

Deno.test("the contract has entity tags for rooms, free timeslots and bookings", () => {
  const tagged = Object.values(operations).filter(({ hasEntityTag }) => hasEntityTag).map(({ id }) => id);
  const read = [
    ...["listRooms", "listAvailableRooms", "getRoom", "listFreeTimeslots"],
    ...["listBookings", "getBooking", "listAllBookings"],
  ];
  assert.deepEqual(conditional.map(({ operationId }) => operationId), read);
  assert.deepEqual(tagged.sort(), [...read, "createRoom", "updateRoom", "updateBookingStatus"].sort());
});

Deno.test("who has what is answered already gets a 304 without a body, and with the headers of the 200", async (t) => {
  await using server = await startServer();
  for (const { operation, ask } of await askedOf(server, await newExampleRows(server))) {
    await t.step(operation.operationId, async () => {
      const first = await ask();
      const tag = tagOf(first, operation.operationId);
      assert.equal(first.headers.get("Cache-Control"), kept(operation));
      const known = [tag, `W/${tag}`, `"another", ${tag}`, `${tag},"another"`, `"another" , W/${tag}`, "*", " * "];
      for (const ifNoneMatch of known) {
        // `call` fails when a 304 has a body.
        const { status, headers } = await ask(ifNoneMatch);
        assert.equal(status, 304, ifNoneMatch);
        assert.equal(headers.get("ETag"), tag);
        assert.equal(headers.get("Cache-Control"), kept(operation));
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
        const { status, body, headers } = await ask(ifNoneMatch);
        assert.equal(status, 200, ifNoneMatch);
        assert.deepEqual(body, first.body);
        assert.equal(headers.get("ETag"), tag);
      }
    });
  }
});

Deno.test("HEAD answers 200 and 304 with the entity tag of GET", async () => {
  await using server = await startServer();
  const ids = await newExampleRows(server);
  for (const { operation, ask } of await askedOf(server, ids)) {
    const tag = tagOf(await ask(), operation.operationId);
    const { token } = await tokenFor(server, operation);
    const url = `${server.url}${pathOf(operation, conditionalCall(operation, ids))}`;
    for (const [ifNoneMatch, expected] of [[tag, 304], ["*", 304], ['"another"', 200]] as const) {
      const headers = new Headers({ "If-None-Match": ifNoneMatch });
      if (token !== undefined) headers.set("Authorization", `Bearer ${token}`);
      const response = await fetch(url, { method: "HEAD", headers });
      assert.equal(await response.text(), "");
      const { status } = response;
      const [etag, cacheControl] = [response.headers.get("ETag"), response.headers.get("Cache-Control")];
      assert.deepEqual([status, etag, cacheControl], [expected, tag, kept(operation)], operation.operationId);
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

/** What changes an answer, for each of the conditional operations. */
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
  listAllBookings: { "one is cancelled": cancelBooking, "somebody books": bookFreeTimeslot },
};

/** What none of them shows of the example rows. */
const hidden: Change = async (server) => {
  await server.ok("createApiKey", {
    token: await server.token("admin", "admin"),
    body: { name: "Unseen", scopes: ["bookings:read"] },
  });
};

for (const operation of conditional) {
  const id = operation.operationId;
  const changes = Object.entries(shown[id] ?? {});
  Deno.test(`${id} answers 200 with another tag after a change of what it shows, and 304 after another change`, async (t) => {
    assert(changes.length > 0, `what does ${id} show?`);
    await using server = await startServer();
    for (const [name, change] of changes) {
      await t.step(name, async () => {
        const ids = await newExampleRows(server);
        const asked = (await askedOf(server, ids)).find((each) => each.operation === operation);
        assert(asked !== undefined);
        const before = await asked.ask();
        const tag = tagOf(before, id);
        await hidden(server, ids);
        assert.equal((await asked.ask(tag)).status, 304);
        await change(server, ids);
        const after = await asked.ask(tag);
        assert.equal(after.status, 200);
        assert.notDeepEqual(after.body, before.body);
        const newTag = tagOf(after, id);
        assert.notEqual(newTag, tag);
        assert.equal((await asked.ask(newTag)).status, 304);
      });
    }
  });
}

/** Where what a change has answered is read afterwards. */
const readers: Partial<Record<OperationId, { id: OperationId; param: string }>> = {
  createRoom: { id: "getRoom", param: "roomId" },
  updateRoom: { id: "getRoom", param: "roomId" },
  updateBookingStatus: { id: "getBooking", param: "bookingId" },
};

Deno.test("a change that answers a tag answers the one of the GET afterwards", async (t) => {
  await using server = await startServer();
  const token = await server.token("admin", "admin");
  const changes = exampleOperations.filter(({ operationId: id }) =>
    operations[id].hasEntityTag && !operations[id].isConditional
  );
  for (const operation of changes) {
    await t.step(operation.operationId, async () => {
      const call = exampleCall(operation, await newExampleRows(server));
      const changed = await server.call(operation.operationId, { ...call, token });
      const tag = tagOf(changed, operation.operationId);
      assert.equal(changed.headers.get("Cache-Control"), "private, no-cache");
      const reader = readers[operation.operationId];
      assert(reader !== undefined, `where is what ${operation.operationId} changes read?`);
      // All of them answer what they have changed, with its id.
      const { id } = changed.body as { id: number };
      const request = { token, params: { [reader.param]: id } };
      assert.equal(tagOf(await server.call(reader.id, request), reader.id), tag);
      assert.equal((await server.call(reader.id, { ...request, headers: { "If-None-Match": tag } })).status, 304);
    });
  }
});

Deno.test("what has no entity tag may not be stored, nor may a refusal", async () => {
  await using server = await startServer();
  for (const operation of exampleOperations) {
    const id = operation.operationId;
    const call = exampleCall(operation, await newExampleRows(server));
    const answer = await server.call(id, { ...call, ...await tokenFor(server, operation) });
    const mayBeKept = operations[id].hasEntityTag && answer.status < 400;
    assert.equal(answer.headers.get("Cache-Control"), mayBeKept ? kept(operation) : "no-store", id);
    assert.equal(answer.headers.has("ETag"), mayBeKept, id);
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

Deno.test("If-None-Match opens nothing: no token, a wrong role, another user's or nothing at all stay refused", async () => {
  await using server = await startServer();
  const ids = await newExampleRows(server);
  const mallory = await server.token("mallory");
  for (const { operation, ask } of await askedOf(server, ids)) {
    const id = operation.operationId;
    const call = conditionalCall(operation, ids);
    for (const ifNoneMatch of ["*", tagOf(await ask(), id)]) {
      const request = { ...call, headers: { "If-None-Match": ifNoneMatch } };
      if (accessOf(operation) !== "public") {
        await server.refused("token_missing", id, request);
        await server.refused("token_invalid", id, { ...request, token: "garbage" });
      }
      if (accessOf(operation) === "admin") await server.refused("admin_required", id, { ...request, token: mallory });
      const names = Object.keys(call.params);
      if (names.includes("bookingId")) await server.refused("not_booking_owner", id, { ...request, token: mallory });
      if (names.length === 0) continue;
      const nothing = { ...request, params: Object.fromEntries(names.map((name) => [name, Number.MAX_SAFE_INTEGER])) };
      const { status } = await server.call(id, { ...nothing, ...await tokenFor(server, operation) });
      assert.equal(status, 404, id);
    }
  }
});
