/** What the contract does not declare is neither taken nor told, whatever it is called. */
import assert from "node:assert/strict";
import { SignJWT } from "jose";
import pLimit from "p-limit";
import { operations } from "../../generated/contract.ts";
import { newRoom, newTimeslots } from "../support/builders.ts";
import { type Call, send, startServer, testSecret, type TestServer } from "../support/server.ts";
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
} from "./document.ts";
import { allNames, paths, schemas, undeclared } from "./declared.ts";
import { allRows, exampleCall, newExampleRows, pathOf } from "./example_calls.ts";
import { replaced } from "./faults.ts";
import { placesOf, rawRequest, valueAt } from "./injection_calls.ts";

/** An admin's token where the operation asks for one, else alice's. */
function tokenFor(server: TestServer, operation: ContractOperation): Promise<string> {
  return accessOf(operation) === "admin" ? server.token("admin", "admin") : server.token("alice");
}

/** Fails unless the call is refused and exactly these places are named. */
async function assertNamed(server: TestServer, { operationId }: ContractOperation, call: Call, named: string[]) {
  const { errors = [] } = await server.refused("validation_failed", operationId, call);
  const places = errors.map((error) => `${error.in}.${error.path}`);
  assert.deepEqual(places.sort(), named.toSorted(), `${operationId} was sent ${JSON.stringify(call).slice(0, 500)}`);
}

const varies = "(varies)";

/** What two rows or answers have in common. The rest is what tells any two rows or moments apart. */
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

/** Fails unless the third outcome is like the first two in all in which these are alike. */
function assertAlike([first, second, third]: Json[], what?: string): void {
  const expected = common(first, second);
  assert.notEqual(expected, varies);
  assert.deepEqual(common(expected, third), expected, what);
}

Deno.test("nothing undeclared is taken or told", async (t) => {
  await using server = await startServer({ env: { PAYMENT_PROVIDER: "sandbox" } });
  const { db } = server;
  const names = await allNames(server);
  const limit = pLimit(8);
  const ids = await newExampleRows(server);
  const nothingChanges = async (check: () => Promise<void>) => {
    const before = await allRows(db);
    await check();
    assert.deepEqual(await allRows(db), before);
  };

  for (const operation of jsonBodyOperations) {
    await t.step(
      `${operation.operationId} refuses by name what an object of its body does not declare`,
      () =>
        nothingChanges(async () => {
          const schema = operation.requestBody?.content["application/json"].schema ?? assert.fail();
          const call = { ...exampleCall(operation, ids), token: await tokenFor(server, operation) };
          // A schema is JSON.
          const declaredAt = (at: string[]) =>
            valueAt(schema as unknown as Json, [
              ...at.flatMap((name) => name === "0" ? ["items"] : ["properties", name]),
              "properties",
            ]);
          await Promise.all(
            placesOf(schema).closed.map(async (at) => {
              const unknown = Object.entries(names).filter(([name]) => !Object.hasOwn(object(declaredAt(at)), name));
              assert(unknown.length > 100);
              await Promise.all(unknown.map(([name, value]) =>
                limit(() => {
                  const body = replaced(call.body ?? {}, { at: [...at, name], value });
                  return assertNamed(server, operation, { ...call, body }, [`body.${[...at, name].join(".")}`]);
                })
              ));
            }),
          );
        }),
    );
  }

  await t.step(
    "each operation refuses by name a query parameter that it does not declare",
    () =>
      nothingChanges(async () => {
        for (const operation of contractOperations) {
          const call = exampleCall(operation, ids);
          const declared = operation.parameters.filter((parameter) => parameter.in === "query").map(({ name }) => name);
          const unknown = Object.entries(names).filter(([name]) => !declared.includes(name));
          const query = { ...call.query, ...Object.fromEntries(unknown) };
          const named = unknown.map(([name]) => `query.${name}`);
          await assertNamed(server, operation, { ...call, query, token: await tokenFor(server, operation) }, named);
        }
      }),
  );

  for (const operation of exampleOperations.filter(({ operationId }) => operations[operationId].bodyKind === "none")) {
    await t.step(`${operation.operationId} does and answers the same with a body as without`, async () => {
      const newRows = () => operation.method === "GET" ? ids : newExampleRows(server);
      const siblings = [await newRows(), await newRows(), await newRows()];
      const headers = {
        Authorization: `Bearer ${await tokenFor(server, operation)}`,
        "Content-Type": "application/json",
      };
      const outcomes: Json[] = [];
      let before = await allRows(db);
      // Transactions of other databases hold events back as well, so a list of them may grow while nothing is done here.
      await server.settled();
      for (const [index, own] of siblings.entries()) {
        const { status, text } = await rawRequest(server, {
          method: operation.method,
          target: pathOf(operation, exampleCall(operation, own)),
          headers,
          ...(index < 2 ? {} : { body: JSON.stringify({ ...names, ...own }) }),
        });
        assert(status < 300, text);
        const after = await allRows(db);
        const changes = Object.entries(after).map(([table, rows]) => {
          const old = new Set(before[table]?.map((row) => JSON.stringify(row)));
          // In an order that the ids of chance, by which they are read, do not decide.
          const withoutIds = (row: string) => row.replaceAll(/[0-9a-f-]{36}/g, "");
          return rows.map((row) => JSON.stringify(row)).filter((row) => !old.has(row))
            .sort((a, b) => withoutIds(a) < withoutIds(b) ? -1 : 1).map((row) => JSON.parse(row));
        });
        outcomes.push([status, JSON.parse(text), changes]);
        before = after;
      }
      assertAlike(outcomes);
    });
  }

  await t.step("a frame refuses what it does not declare", async () => {
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

  await t.step("a token's claims make nobody another user or an admin", async () => {
    // All of them would make it longer than a token may be.
    const short = Object.entries(names).filter(([, value]) => JSON.stringify(value).length < 200);
    const claims = {
      ...Object.fromEntries(short),
      sub: "alice",
      role: "user",
      exp: Math.floor(Date.now() / 1_000) + 600,
    };
    const { nbf: _nbf, iat: _iat, ...others }: JsonObject = claims;
    const token = await new SignJWT({ ...others, id: 1, userId: 1 }).setProtectedHeader({ alg: "HS256" })
      .sign(new TextEncoder().encode(testSecret));
    const me = await server.ok("getMe", { token });
    const plain = await server.ok("getMe", { token: await server.token("alice") });
    assert.deepEqual(me, { ...plain, name: "mallory", email: "mallory" });
    assert("subject" in plain && plain.id === ids.userId && plain.role === "user");
  });

  await t.step("of all that is declared together, each property sets itself and no other", async () => {
    const kept = ["createRoom", "updateRoom", "createBooking"];
    for (const operation of jsonBodyOperations.filter(({ operationId }) => kept.includes(operationId))) {
      const schema = operation.requestBody?.content["application/json"].schema ?? assert.fail();
      const outcomes: Json[] = [];
      for (const isFull of [false, false, true]) {
        const call = exampleCall(operation, await newExampleRows(server));
        const sent = Object.entries(call.body ?? {}).filter(([name]) => isFull || schema.required?.includes(name));
        const body = Object.fromEntries(sent);
        const answer = await server.call(operation.operationId, {
          ...call,
          body,
          token: await tokenFor(server, operation),
        });
        // It came as JSON.
        const json = answer.body as Json;
        const resource = object(child(json, "booking") ?? json);
        for (const [name, value] of sent) assert.deepEqual(resource[name], value, `${operation.operationId} ${name}`);
        const others = Object.entries(resource).filter(([name]) => !Object.hasOwn(schema.properties ?? {}, name));
        outcomes.push(Object.fromEntries(others));
      }
      assertAlike(outcomes, operation.operationId);
    }
  });

  await t.step("metadata is kept as it is and sets nothing else", async () => {
    const plain = await newRoom(server);
    const metadata = { ...names, id: 9, isActive: false, roomId: plain.id, metadata: { metadata: { name: null } } };
    const room = await newRoom(server, { metadata });
    const read = await server.ok("getRoom", { params: { roomId: room.id } });
    for (const { id, ...rest } of [room, object(read as unknown as Json)]) {
      const { id: _id, ...expected } = plain;
      assert.notEqual(id, 9);
      assert.deepEqual(rest, { ...expected, metadata });
    }
    const token = await server.token("admin", "admin");
    const change = { token, params: { roomId: room.id }, body: { metadata: { id: plain.id, name: "forged" } } };
    assert.deepEqual(await server.ok("updateRoom", change), { ...room, metadata: change.body.metadata });
    assert.deepEqual(await server.ok("getRoom", { params: { roomId: plain.id } }), plain);
  });

  await t.step("every key of every answer is declared for its status", async () => {
    const room = await newRoom(server, { metadata: { free: { form: [{ a: 1 }] } } });
    await newTimeslots(server, room, { date: "2026-03-09" });
    const seen = new Set<string>();
    for (const operation of contractOperations) {
      const call = exampleCall(operation, await newExampleRows(server));
      const token = await tokenFor(server, operation);
      const wrong = { nonsense: 1, limit: "x", page: "x" };
      const missing = Object.fromEntries(Object.keys(call.params).map((name) => [name, 404_404]));
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
});
