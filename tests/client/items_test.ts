/** Walking through lists with the SDK: everything once and in order, with as many requests as there are pages to read. */
import assert from "node:assert/strict";
import { type Client, createClient, isProblem, ProblemError } from "@slotkeeper/client";
import type { Timeslot } from "../../generated/contract.ts";
import { newApiKey } from "../support/api_keys.ts";
import { newBooking, newRoom, newTimeslots } from "../support/builders.ts";
import { startServer, type TestServer } from "../support/server.ts";

interface World {
  server: TestServer;
  /** Alice's bookings, the newest first. */
  ids: number[];
  free: Timeslot[];
  client: Client;
  /** The query of each request of `client`. */
  queries: URLSearchParams[];
}

/** A server with 12 bookings of alice's, in two rooms. */
async function newWorld(server: TestServer, { token }: { token?: () => Promise<string> } = {}): Promise<World> {
  const slots: Timeslot[] = [];
  for (const name of ["First", "Second"]) {
    const rules = { date: "2026-03-09", slotDuration: 15 };
    slots.push(...(await newTimeslots(server, await newRoom(server, { name }), rules)).slice(0, 16));
  }
  const bookings = [];
  for (const slot of [...slots.slice(0, 6), ...slots.slice(16, 22)]) {
    bookings.push(await newBooking(server, "alice", slot));
  }
  const queries: URLSearchParams[] = [];
  const client = createClient({
    baseUrl: server.url,
    token: token ?? (() => server.token("alice")),
    fetch: (request) => {
      queries.push(new URL(request.url).searchParams);
      return fetch(request);
    },
  });
  const free = [...slots.slice(6, 16), ...slots.slice(22)];
  return { server, ids: bookings.map(({ id }) => id).toReversed(), free, client, queries };
}

async function idsOf(walk: AsyncIterable<{ id: number }>): Promise<number[]> {
  const ids: number[] = [];
  for await (const { id } of walk) ids.push(id);
  return ids;
}

Deno.test("a walk reads each page once and gives everything in the order of the list, which fits the filter", async () => {
  await using server = await startServer();
  const { ids, client, queries } = await newWorld(server);
  for (const [limit, pages] of [[1, 12], [5, 3], [6, 2], [12, 1], [100, 1], [1_000, 1]] as const) {
    queries.length = 0;
    assert.deepEqual(await idsOf(client.items("/api/v1/bookings", { query: { limit } })), ids);
    assert.deepEqual(queries.map((query) => query.get("page")), Array.from({ length: pages }, (_, i) => `${i + 1}`));
  }
  queries.length = 0;
  assert.deepEqual(await idsOf(client.items("/api/v1/bookings")), ids);
  assert.deepEqual(queries.map(String), ["limit=100&page=1"]);
  const [, second] = ids;
  await server.ok("cancelBooking", { token: await server.token("alice"), params: { bookingId: second } });
  assert.deepEqual(await idsOf(client.items("/api/v1/bookings", { query: { status: "cancelled" } })), [second]);
  const pending = client.items("/api/v1/bookings", { query: { status: "pending", limit: 2 } });
  assert.deepEqual(await idsOf(pending), ids.filter((id) => id !== second));
  assert.deepEqual(await idsOf(client.items("/api/v1/bookings", { query: { status: "no_show" } })), []);
});

Deno.test("bookings that are made during a walk neither hide old ones nor bring any twice", async () => {
  await using server = await startServer();
  const { ids, free, client } = await newWorld(server);
  for (const perStep of [1, 3]) {
    const walked: number[] = [];
    for await (const { id } of client.items("/api/v1/bookings", { query: { limit: 4 } })) {
      walked.push(id);
      // More of them arrive than fit a page, or fewer.
      if (walked.length % 4 !== 0) continue;
      for (let left = perStep; left > 0; left--) {
        const slot = free.pop();
        assert(slot);
        await newBooking(server, "alice", slot);
      }
    }
    assert.deepEqual(walked.filter((id) => ids.includes(id)), ids);
    assert.equal(new Set(walked).size, walked.length);
  }
});

Deno.test("what is walked through may be changed on the way: each pending booking is met, although it is cancelled at once", async () => {
  await using server = await startServer();
  const { ids, client } = await newWorld(server);
  const walked: number[] = [];
  for await (const { id: bookingId } of client.items("/api/v1/bookings", { query: { status: "pending", limit: 5 } })) {
    walked.push(bookingId);
    await server.ok("cancelBooking", { token: await server.token("alice"), params: { bookingId } });
  }
  assert.deepEqual(walked, ids);
  assert.deepEqual(await idsOf(client.items("/api/v1/bookings", { query: { status: "cancelled" } })), ids);
});

Deno.test("who has seen enough asks for no more pages, and who was aborted is told why", async () => {
  await using server = await startServer();
  const { ids, client, queries } = await newWorld(server);
  const walked: number[] = [];
  for await (const { id } of client.items("/api/v1/bookings", { query: { limit: 3 } })) {
    walked.push(id);
    if (walked.length === 6) break;
  }
  assert.deepEqual(walked, ids.slice(0, 6));
  assert.equal(queries.length, 2);
  const controller = new AbortController();
  const walk = client.items("/api/v1/bookings", { query: { limit: 1 }, signal: controller.signal });
  assert.equal((await walk.next()).value?.id, ids[0]);
  controller.abort(new RangeError("enough"));
  await assert.rejects(walk.next(), { name: "RangeError", message: "enough" });
  assert.equal(queries.length, 3);
});

Deno.test("a page that is refused is thrown as a ProblemError, after all that came before it", async () => {
  await using server = await startServer();
  let asked = 0;
  const token = () => asked++ < 2 ? server.token("alice") : Promise.resolve("wrong");
  const { ids, client } = await newWorld(server, { token });
  const walked: number[] = [];
  const walk = async () => {
    for await (const { id } of client.items("/api/v1/bookings", { query: { limit: 3 } })) walked.push(id);
  };
  await assert.rejects(walk(), (failure) => {
    return failure instanceof ProblemError && isProblem(failure, "token_invalid") && failure.status === 401;
  });
  assert.deepEqual(walked, ids.slice(0, 6));
  const user = createClient({ baseUrl: server.url, token: await server.token("alice") });
  await assert.rejects(user.items("/api/v1/admin/audit-log").next(), { name: "ProblemError", code: "admin_required" });
  await assert.rejects(user.items("/api/v1/bookings", { query: { limit: 0 } }).next(), { code: "validation_failed" });
});

Deno.test("rooms, everybody's bookings, API keys and the audit log are walked through alike", async () => {
  await using server = await startServer();
  const { ids } = await newWorld(server);
  const token = await server.token("admin", "admin");
  for (let index = 0; index < 3; index++) await newApiKey(server, { name: `Key ${index}` });
  const client = createClient({ baseUrl: server.url, token });
  const all = { token, query: { limit: 100 } };
  const query = { limit: 2 };
  assert.deepEqual(await idsOf(client.items("/api/v1/admin/bookings", { query })), ids);
  for (
    const [walk, { items }] of [
      [client.items("/api/v1/bookings/rooms", { query }), await server.ok("listRooms", all)],
      [client.items("/api/v1/admin/api-keys", { query }), await server.ok("listApiKeys", all)],
      [client.items("/api/v1/admin/audit-log", { query }), await server.ok("listAuditLog", all)],
    ] as const
  ) {
    assert(items.length > 1);
    assert.deepEqual(await Array.fromAsync<unknown>(walk), items);
  }
});
