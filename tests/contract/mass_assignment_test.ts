/** Undeclared names: rejected in requests, never returned. */
import assert from "node:assert/strict";
import { SignJWT } from "jose";
import { operations } from "../../generated/contract.ts";
import { missingId, newRoom, newTimeslots } from "../support/builders.ts";
import { type Call, send, type SharedServer, testSecret, type TestServer } from "../support/server.ts";
import { assertInvalidFrames } from "../support/socket.ts";
import {
  accessOf,
  child,
  type ContractOperation,
  contractOperations,
  exampleOperations,
  type Json,
  jsonBodyOperations,
  type JsonObject,
  object,
  type Schema,
} from "./document.ts";
import { allNames, paths, schemas, undeclared } from "./declared.ts";
import { allRows, contractServer, exampleCall, type Ids, newExampleRows, pathOf } from "./example_calls.ts";
import { replaced } from "./faults.ts";
import { placesOf, rawRequest, valueAt } from "./injection_calls.ts";
import { assertNothingChanges } from "./refusals.ts";

/** Returns an admin's token if the operation needs one, else alice's. */
function tokenFor(server: TestServer, operation: ContractOperation): Promise<string> {
  return accessOf(operation) === "admin" ? server.token("admin", "admin") : server.token("alice");
}

/** Fails unless the call is answered `validation_failed` with exactly these places. */
async function assertNamed(
  server: TestServer,
  { operationId }: ContractOperation,
  { call, places }: { call: Call; places: string[] },
): Promise<void> {
  const { errors = [] } = await server.refused("validation_failed", operationId, call);
  const named = errors.map((error) => `${error.in}.${error.path}`);
  assert.deepEqual(named.sort(), places.toSorted(), operationId);
}

const varies = "(varies)";

/** Returns what two outcomes have in common. The rest, such as ids, differs between any two rows. */
function common(one: Json | undefined, other: Json | undefined): Json {
  if (Array.isArray(one) && Array.isArray(other) && one.length === other.length) {
    return one.map((each, index) => common(each, other[index]));
  }
  const areObjects = [one, other].every((each) => typeof each === "object" && each !== null && !Array.isArray(each));
  if (!areObjects) return one === other ? one ?? null : varies;
  const [left, right] = [object(one), object(other)];
  const names = [...new Set([...Object.keys(left), ...Object.keys(right)])];
  return Object.fromEntries(names.map((name) => [name, common(left[name], right[name])]));
}

/** Fails unless the third outcome has everything that the first two have in common. */
function assertAlike([first, second, third]: Json[], message?: string): void {
  const expected = common(first, second);
  assert.notEqual(expected, varies);
  assert.deepEqual(common(expected, third), expected, message);
}

/**
 * Parses an answer without its cursors. A cursor moves with every transaction of the whole Postgres. So two cursors are
 * equal or different by chance.
 */
function parseWithoutCursors(text: string): Json {
  return JSON.parse(text, (name, value) => /cursor/i.test(name) ? varies : value);
}

/** Returns the rows that are new or changed since `before`, by table. */
function changedRows(before: Record<string, unknown[]>, after: Record<string, unknown[]>): Json {
  // Sorts without the random ids, because their order differs each time.
  const withoutIds = (row: string) => row.replaceAll(/[0-9a-f-]{36}/g, "");
  return Object.entries(after).map(([table, rows]) => {
    const old = new Set(before[table]?.map((row) => JSON.stringify(row)));
    return rows.map((row) => JSON.stringify(row)).filter((row) => !old.has(row))
      .sort((a, b) => withoutIds(a) < withoutIds(b) ? -1 : 1).map((row) => JSON.parse(row));
  });
}

/** A server with the names to try. */
async function startNamed(): Promise<{ server: SharedServer; names: JsonObject }> {
  const server = await contractServer();
  return { server, names: await allNames(server) };
}

function bodySchema({ requestBody }: ContractOperation): Schema {
  return requestBody?.content["application/json"].schema ?? assert.fail();
}

Deno.test("undeclared fields: in any object of a body -> validation_failed with each name, nothing changes", async (t) => {
  const { server, names } = await startNamed();
  const ids = await newExampleRows(server);
  for (const operation of jsonBodyOperations) {
    const schema = bodySchema(operation);
    const call = { ...exampleCall(operation, ids), token: await tokenFor(server, operation) };
    const declaredAt = (at: string[]) => {
      const keys = at.flatMap((name) => name === "0" ? ["items"] : ["properties", name]);
      // A schema is JSON.
      return object(valueAt(schema as unknown as Json, [...keys, "properties"]));
    };
    await t.step(operation.operationId, () =>
      assertNothingChanges(server, async () => {
        for (const at of placesOf(schema).closed) {
          const declared = declaredAt(at);
          const unknown = Object.entries(names).filter(([name]) => !Object.hasOwn(declared, name));
          assert(unknown.length > 100);
          const body = unknown.reduce<Json>(
            (json, [name, value]) => replaced(json, { at: [...at, name], value }),
            call.body ?? {},
          );
          const places = unknown.map(([name]) => `body.${[...at, name].join(".")}`);
          await assertNamed(server, operation, { call: { ...call, body }, places });
        }
      }));
  }
});

Deno.test("undeclared query parameters: sent to each operation -> validation_failed with each name", async () => {
  const { server, names } = await startNamed();
  const ids = await newExampleRows(server);
  await assertNothingChanges(server, async () => {
    for (const operation of contractOperations) {
      const call = { ...exampleCall(operation, ids), token: await tokenFor(server, operation) };
      const declared = operation.parameters.filter((parameter) => parameter.in === "query").map(({ name }) => name);
      const unknown = Object.entries(names).filter(([name]) => !declared.includes(name));
      const query = { ...call.query, ...Object.fromEntries(unknown) };
      const places = unknown.map(([name]) => `query.${name}`);
      await assertNamed(server, operation, { call: { ...call, query }, places });
    }
  });
});

const bodilessOperations = exampleOperations.filter(({ operationId }) => operations[operationId].bodyKind === "none");

Deno.test("undeclared body: sent to an operation without one -> same answer and changes as without it", async (t) => {
  const { server, names } = await startNamed();
  const request = async (operation: ContractOperation, ids: Ids, body?: JsonObject) => {
    const { status, text } = await rawRequest(server, {
      method: operation.method,
      target: pathOf(operation, exampleCall(operation, ids)),
      headers: {
        Authorization: `Bearer ${await tokenFor(server, operation)}`,
        "Content-Type": "application/json",
      },
      ...(body === undefined ? {} : { body: JSON.stringify({ ...body, ...ids }) }),
    });
    assert(status < 300, text);
    return [status, parseWithoutCursors(text)];
  };
  const readIds = await newExampleRows(server);
  // An older transaction on this Postgres, of another database too, hides new events for a moment.
  await server.settled();
  for (const operation of bodilessOperations) {
    await t.step(operation.operationId, async () => {
      const bodies = [undefined, undefined, names];
      const outcomes: Json[] = [];
      if (operation.method === "GET") {
        await assertNothingChanges(server, async () => {
          for (const body of bodies) outcomes.push(await request(operation, readIds, body));
        });
      } else {
        const rowSets: Ids[] = [];
        for (const _ of bodies) rowSets.push(await newExampleRows(server, operation));
        let before = await allRows(server.db);
        for (const [index, ids] of rowSets.entries()) {
          const answer = await request(operation, ids, bodies[index]);
          const after = await allRows(server.db);
          outcomes.push([...answer, changedRows(before, after)]);
          before = after;
        }
      }
      assertAlike(outcomes);
    });
  }
});

Deno.test("undeclared fields: in a frame of the socket -> error invalid_frame", async () => {
  const { server, names } = await startNamed();
  const frames: string[] = [];
  const kinds = child(schemas.ClientFrame, "oneOf");
  assert(Array.isArray(kinds));
  for (const properties of kinds.map((kind) => object(child(kind, "properties")))) {
    const valid = {
      action: child(properties.action, "const") ?? "",
      ...("roomId" in properties ? { roomId: 1 } : {}),
    };
    for (const [name, value] of Object.entries(names).filter(([name]) => !Object.hasOwn(properties, name))) {
      frames.push(JSON.stringify({ ...valid, [name]: value }));
    }
  }
  await assertInvalidFrames(server, { token: await server.token("alice"), frames });
});

Deno.test("undeclared claims: in a token -> same user, same role", async () => {
  const { server, names } = await startNamed();
  const plain = await server.ok("getMe", { token: await server.token("alice") });
  // Together with the long ones the token would exceed the limit of its length.
  const short = Object.entries(names).filter(([, value]) => JSON.stringify(value).length < 200);
  const claims = {
    ...Object.fromEntries(short),
    sub: server.subject("alice"),
    role: "user",
    exp: Math.floor(Date.now() / 1_000) + 600,
  };
  const { nbf: _nbf, iat: _iat, ...others }: JsonObject = claims;
  const token = await new SignJWT({ ...others, id: 1, userId: 1 }).setProtectedHeader({ alg: "HS256" })
    .sign(new TextEncoder().encode(testSecret));
  const me = await server.ok("getMe", { token });
  assert.deepEqual(me, { ...plain, name: "mallory", email: "mallory" });
  assert("role" in plain && plain.role === "user");
});

Deno.test("declared fields: all sent together -> each sets itself and no other", async () => {
  const server = await contractServer();
  const kept = ["createRoom", "updateRoom", "createBooking"];
  for (const operation of jsonBodyOperations.filter(({ operationId }) => kept.includes(operationId))) {
    const schema = bodySchema(operation);
    const outcomes: Json[] = [];
    for (const isFull of [false, false, true]) {
      const call = exampleCall(operation, await newExampleRows(server, operation));
      const sent = Object.entries(call.body ?? {}).filter(([name]) => isFull || schema.required?.includes(name));
      const body = Object.fromEntries(sent);
      const answer = await server.call(operation.operationId, {
        ...call,
        body,
        token: await tokenFor(server, operation),
      });
      // `call` parsed it from JSON.
      const json = answer.body as Json;
      const resource = object(child(json, "booking") ?? json);
      for (const [name, value] of sent) assert.deepEqual(resource[name], value, `${operation.operationId} ${name}`);
      const others = Object.entries(resource).filter(([name]) => !Object.hasOwn(schema.properties ?? {}, name));
      outcomes.push(Object.fromEntries(others));
    }
    assertAlike(outcomes, operation.operationId);
  }
});

Deno.test("metadata: names of other fields in it -> stored unchanged, set nothing else", async () => {
  const { server, names } = await startNamed();
  const plain = await newRoom(server);
  const metadata = {
    ...names,
    id: missingId,
    isActive: false,
    roomId: plain.id,
    metadata: { metadata: { name: null } },
  };
  const room = await newRoom(server, { metadata });
  const read = await server.ok("getRoom", { params: { roomId: room.id } });
  for (const { id, ...rest } of [room, object(read as unknown as Json)]) {
    const { id: _id, ...expected } = plain;
    assert.notEqual(id, missingId);
    assert.deepEqual(rest, { ...expected, metadata });
  }
  const token = await server.token("admin", "admin");
  const change = { token, params: { roomId: room.id }, body: { metadata: { id: plain.id, name: "forged" } } };
  assert.deepEqual(await server.ok("updateRoom", change), { ...room, metadata: change.body.metadata });
  assert.deepEqual(await server.ok("getRoom", { params: { roomId: plain.id } }), plain);
});

Deno.test("undeclared fields: any answer of any operation -> has none for its status", async () => {
  const server = await contractServer();
  const room = await newRoom(server, { metadata: { free: { form: [{ a: 1 }] } } });
  await newTimeslots(server, room, { date: "2026-03-09" });
  const readIds = await newExampleRows(server);
  const seen = new Set<string>();
  for (const operation of contractOperations) {
    const ids = operation.method === "GET" ? readIds : await newExampleRows(server, operation);
    const call = exampleCall(operation, ids);
    const token = await tokenFor(server, operation);
    const wrong = { nonsense: 1, limit: "x", page: "x" };
    const missing = Object.fromEntries(Object.keys(call.params).map((name) => [name, missingId]));
    for (
      const request of [
        { ...call, token },
        call,
        { ...call, token: "garbage" },
        { ...call, token: await server.token("mallory") },
        { ...call, token, query: wrong },
        { ...call, token, params: missing },
        { ...call, token, body: "{" },
        { ...call, token, body: wrong },
      ]
    ) {
      if (operation.method === "GET" && "body" in request) continue;
      const { status, text } = await send(server.url, operation.operationId, request);
      const responses = valueAt(paths, [operation.path, operation.method.toLowerCase(), "responses"]);
      const content = object(valueAt(responses, [String(status), "content"]));
      const [schema] = Object.values(content).map((each) => child(each, "schema"));
      assert(schema, `${operation.operationId} answered ${status}: ${text}`);
      assert.deepEqual(
        undeclared(schema, JSON.parse(text)),
        [],
        `${operation.operationId} answered ${status}: ${text}`,
      );
      seen.add(`${operation.operationId} ${status < 300}`);
    }
  }
  for (const { operationId } of exampleOperations) assert(seen.has(`${operationId} true`), operationId);
  for (const { operationId } of jsonBodyOperations) assert(seen.has(`${operationId} false`), operationId);
});
