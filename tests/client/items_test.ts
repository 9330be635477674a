/** Lists of the SDK: each item once and in order, with one request for each page that is read. */
import assert from "node:assert/strict";
import { type Client, createClient, isProblem, ProblemError } from "@slotkeeper/client";
import type { Room, Timeslot } from "../../generated/contract.ts";
import { newApiKey } from "../support/api_keys.ts";
import { newBooking, newRoom, newTimeslots } from "../support/builders.ts";
import { sharedServer, startServer, type TestServer } from "../support/server.ts";

interface ListedBookings {
  /** Ids of the bookings, the newest first. */
  ids: number[];
  freeTimeslots: Timeslot[];
  /** A client of the user who has the bookings. */
  client: Client;
  /** The query of each request of `client`. */
  queries: URLSearchParams[];
}

/** Makes 12 bookings of `subject`, in two rooms. */
async function newBookings(
  server: TestServer,
  subject: string,
  token: () => Promise<string> = () => server.token(subject),
): Promise<ListedBookings> {
  const slots: Timeslot[] = [];
  for (const name of ["First", "Second"]) {
    const rules = { date: "2026-03-09", slotDuration: 15 };
    slots.push(...(await newTimeslots(server, await newRoom(server, { name }), rules)).slice(0, 16));
  }
  const ids: number[] = [];
  for (const slot of [...slots.slice(0, 6), ...slots.slice(16, 22)]) {
    ids.unshift((await newBooking(server, subject, slot)).id);
  }
  const queries: URLSearchParams[] = [];
  const client = createClient({
    baseUrl: server.url,
    token,
    fetch: (request) => {
      queries.push(new URL(request.url).searchParams);
      return fetch(request);
    },
  });
  return { ids, freeTimeslots: [...slots.slice(6, 16), ...slots.slice(22)], client, queries };
}

async function idsOf(items: AsyncIterable<{ id: number }>): Promise<number[]> {
  const ids: number[] = [];
  for await (const { id } of items) ids.push(id);
  return ids;
}

Deno.test("items: any limit -> each page requested once, items in the order of the list", async () => {
  await using server = await sharedServer();
  const { ids, client, queries } = await newBookings(server, "alice");
  for (const [limit, pages] of [[1, 12], [5, 3], [6, 2], [12, 1], [100, 1], [1_000, 1]] as const) {
    queries.length = 0;
    assert.deepEqual(await idsOf(client.items("/api/v1/bookings", { query: { limit } })), ids);
    assert.equal(queries.length, pages);
    assert.deepEqual(queries.map((query) => query.has("after")), queries.map((_, index) => index > 0));
  }
  queries.length = 0;
  assert.deepEqual(await idsOf(client.items("/api/v1/bookings")), ids);
  assert.deepEqual(queries.map(String), ["limit=100"]);
});

Deno.test("items: filter -> only items that match", async () => {
  await using server = await sharedServer();
  const { ids, client } = await newBookings(server, "alice");
  const [, second] = ids;
  await server.ok("cancelBooking", { token: await server.token("alice"), params: { bookingId: second } });
  assert.deepEqual(await idsOf(client.items("/api/v1/bookings", { query: { status: "cancelled" } })), [second]);
  const pending = client.items("/api/v1/bookings", { query: { status: "pending", limit: 2 } });
  assert.deepEqual(await idsOf(pending), ids.filter((id) => id !== second));
  assert.deepEqual(await idsOf(client.items("/api/v1/bookings", { query: { status: "no_show" } })), []);
});

Deno.test("items: new bookings while the list is read -> no old booking lost, none repeated", async () => {
  await using server = await sharedServer();
  const { ids, freeTimeslots, client } = await newBookings(server, "alice");
  // Fewer than the limit, and more than the limit in a page.
  for (const perPage of [1, 3]) {
    const listed: number[] = [];
    for await (const { id } of client.items("/api/v1/bookings", { query: { limit: 4 } })) {
      listed.push(id);
      if (listed.length % 4 !== 0) continue;
      for (let left = perPage; left > 0; left--) {
        const slot = freeTimeslots.pop();
        assert(slot);
        await newBooking(server, "alice", slot);
      }
    }
    assert.deepEqual(listed.filter((id) => ids.includes(id)), ids);
    assert.equal(new Set(listed).size, listed.length);
  }
});

Deno.test("items: each pending booking cancelled when it is read -> all pending bookings read", async () => {
  await using server = await sharedServer();
  const { ids, client } = await newBookings(server, "alice");
  const token = await server.token("alice");
  const listed: number[] = [];
  for await (const { id: bookingId } of client.items("/api/v1/bookings", { query: { status: "pending", limit: 5 } })) {
    listed.push(bookingId);
    await server.ok("cancelBooking", { token, params: { bookingId } });
  }
  assert.deepEqual(listed, ids);
  assert.deepEqual(await idsOf(client.items("/api/v1/bookings", { query: { status: "cancelled" } })), ids);
});

Deno.test("items: one booking confirmed and another cancelled between pages -> every booking that stays is read once", async () => {
  await using server = await sharedServer();
  const { ids, client } = await newBookings(server, "alice");
  const token = await server.token("admin", "admin");
  const setStatus = (bookingId: number | undefined, status: string) =>
    server.ok("updateBookingStatus", { token, params: { bookingId }, body: { status } });
  for (const bookingId of ids.slice(1)) await setStatus(bookingId, "confirmed");
  const listed: number[] = [];
  for await (const { id } of client.items("/api/v1/bookings", { query: { status: "confirmed", limit: 3 } })) {
    listed.push(id);
    if (listed.length !== 3) continue;
    // The total stays: one comes before the position of the reader, and one that was read goes.
    await setStatus(ids[2], "cancelled");
    await setStatus(ids[0], "confirmed");
  }
  assert.deepEqual(listed, ids.slice(1));
});

Deno.test("items: rooms renamed between pages, also to before the reader's position -> every room once", async () => {
  await using server = await startServer();
  const rooms: Room[] = [];
  for (const name of ["B", "C", "D", "E", "F", "G"]) rooms.push(await newRoom(server, { name }));
  const token = await server.token("admin", "admin");
  const date = "2026-03-09";
  for (const room of rooms) await newTimeslots(server, room, { date });
  const client = createClient({ baseUrl: server.url });
  const read = async (items: AsyncIterable<{ id: number } | { room: { id: number } }>, renamed: string[]) => {
    const listed: number[] = [];
    for await (const item of items) {
      listed.push("id" in item ? item.id : item.room.id);
      if (listed.length !== 2) continue;
      // The last room becomes the first, and a room that was read becomes the last.
      const [first, last] = renamed;
      const rename = (roomId: number | undefined, name = "") =>
        server.ok("updateRoom", { token, params: { roomId }, body: { name } });
      await rename(rooms.at(-1)?.id, first);
      await rename(rooms[0]?.id, last);
    }
    return listed;
  };
  const ids = rooms.map(({ id }) => id);
  assert.deepEqual(await read(client.items("/api/v1/bookings/rooms", { query: { limit: 2 } }), ["A", "Z"]), ids);
  const search = { from: date, to: date, limit: 2 };
  const available = client.items("/api/v1/bookings/rooms/available", { query: search });
  assert.deepEqual(await read(available, ["0", "ZZ"]), ids);
  // By name, as the comment says: the room that has moved back is left out, and none is repeated.
  for (const room of rooms) {
    await server.ok("updateRoom", { token, params: { roomId: room.id }, body: { name: room.name } });
  }
  const byName = client.items("/api/v1/bookings/rooms", { query: { limit: 2, sort: "name" } });
  assert.deepEqual(await read(byName, ["A", "Z"]), ids.slice(0, -1));
});

Deno.test("items: timeslots deleted between pages, also the last one read -> every timeslot that stays, once", async () => {
  await using server = await sharedServer();
  const room = await newRoom(server);
  const slots = await newTimeslots(server, room, { date: "2026-03-09" });
  const token = await server.token("admin", "admin");
  const client = createClient({ baseUrl: server.url, token });
  const listed: number[] = [];
  for await (const { id } of client.items("/api/v1/admin/timeslots", { query: { roomId: room.id, limit: 2 } })) {
    listed.push(id);
    if (listed.length % 2 === 0) await server.ok("deleteTimeslot", { token, params: { timeslotId: id } });
  }
  assert.deepEqual(listed, slots.map(({ id }) => id));
});

Deno.test("items: bookings moved between pages, sorted by creation -> every booking once", async () => {
  await using server = await sharedServer();
  const { ids, freeTimeslots, client } = await newBookings(server, "alice");
  const token = await server.token("alice");
  const listed: number[] = [];
  for await (const { id: bookingId, roomId } of client.items("/api/v1/bookings", { query: { limit: 2 } })) {
    listed.push(bookingId);
    const index = freeTimeslots.findIndex((slot) => slot.roomId === roomId);
    const [slot] = freeTimeslots.splice(index, 1);
    const body = { newTimeslotId: slot?.id };
    await server.ok("rescheduleBooking", { token, params: { bookingId }, body });
  }
  assert.deepEqual(listed, ids);
});

Deno.test("items: server without cursors -> UnexpectedAnswerError instead of the first page alone", async () => {
  const page = { items: [{ id: 1 }], total: 2, page: 1, limit: 1 };
  const client = createClient({ baseUrl: "http://127.0.0.1", fetch: () => Promise.resolve(Response.json(page)) });
  await assert.rejects(client.items("/api/v1/bookings").next(), { name: "UnexpectedAnswerError", status: 200 });
});

Deno.test("items: loop left, or signal aborted -> no further page requested, reason of the signal thrown", async () => {
  await using server = await sharedServer();
  const { ids, client, queries } = await newBookings(server, "alice");
  const listed: number[] = [];
  for await (const { id } of client.items("/api/v1/bookings", { query: { limit: 3 } })) {
    listed.push(id);
    if (listed.length === 6) break;
  }
  assert.deepEqual(listed, ids.slice(0, 6));
  assert.equal(queries.length, 2);
  const controller = new AbortController();
  const items = client.items("/api/v1/bookings", { query: { limit: 1 }, signal: controller.signal });
  assert.equal((await items.next()).value?.id, ids[0]);
  controller.abort(new RangeError("enough"));
  await assert.rejects(items.next(), { name: "RangeError", message: "enough" });
  assert.equal(queries.length, 3);
});

Deno.test("items: problem on a later page -> ProblemError after all items of the earlier pages", async () => {
  await using server = await sharedServer();
  let calls = 0;
  const token = () => calls++ < 2 ? server.token("alice") : Promise.resolve("wrong");
  const { ids, client } = await newBookings(server, "alice", token);
  const listed: number[] = [];
  const readAll = async () => {
    for await (const { id } of client.items("/api/v1/bookings", { query: { limit: 3 } })) listed.push(id);
  };
  await assert.rejects(readAll(), (failure) => {
    return failure instanceof ProblemError && isProblem(failure, "token_invalid") && failure.status === 401;
  });
  assert.deepEqual(listed, ids.slice(0, 6));
});

Deno.test("items: no admin role, or invalid limit -> ProblemError", async () => {
  await using server = await sharedServer();
  const client = createClient({ baseUrl: server.url, token: await server.token("alice") });
  await assert.rejects(client.items("/api/v1/admin/audit-log").next(), {
    name: "ProblemError",
    code: "admin_required",
  });
  await assert.rejects(client.items("/api/v1/bookings", { query: { limit: 0 } }).next(), { code: "validation_failed" });
});

Deno.test("items: rooms, all bookings, API keys, audit log -> the same items as one page of the list", async () => {
  // The lists of a shared server are long.
  await using server = await startServer();
  const { ids } = await newBookings(server, "alice");
  const token = await server.token("admin", "admin");
  for (let index = 0; index < 3; index++) await newApiKey(server, { name: `Key ${index}` });
  const client = createClient({ baseUrl: server.url, token });
  const onePage = { token, query: { limit: 100 } };
  const query = { limit: 2 };
  assert.deepEqual(await idsOf(client.items("/api/v1/admin/bookings", { query })), ids);
  for (
    const [all, { items }] of [
      [
        client.items("/api/v1/bookings/rooms", { query: { ...query, sort: "name" } }),
        await server.ok("listRooms", onePage),
      ],
      [client.items("/api/v1/admin/api-keys", { query }), await server.ok("listApiKeys", onePage)],
      [client.items("/api/v1/admin/audit-log", { query }), await server.ok("listAuditLog", onePage)],
    ] as const
  ) {
    assert(items.length > 1);
    assert.deepEqual(await Array.fromAsync<unknown>(all), items);
  }
});
