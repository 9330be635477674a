/** Pages of every list after a cursor: each item once, and only cursors that the server made. */
import assert from "node:assert/strict";
import { newApiKey } from "../support/api_keys.ts";
import { newBooking, newRoom, newTimeslots } from "../support/builders.ts";
import { type OperationId, sharedServer, startServer, type TestServer } from "../support/server.ts";

interface List {
  id: OperationId;
  query: Record<string, unknown>;
}

interface Page {
  items: { id?: number; room?: { id: number } }[];
  total: number;
  page: number;
  nextCursor: string | null;
}

async function read(server: TestServer, { id, query }: List, more: Record<string, unknown> = {}): Promise<Page> {
  const token = await server.token("admin", "admin");
  // The body of any list has these fields.
  return await server.ok(id, { token, query: { ...query, ...more } }) as unknown as Page;
}

const idsOf = ({ items }: Page) => items.map(({ id, room }) => id ?? room?.id);

/** Makes three rooms or more, timeslots, bookings, API keys and entries in the audit log. Returns every list of them. */
async function newLists(server: TestServer): Promise<List[]> {
  const rooms = [];
  for (const name of ["Émile", "Attic", "attic", "Zoo"]) rooms.push(await newRoom(server, { name }));
  const [first, second] = rooms;
  assert(first && second);
  const date = "2026-03-09";
  const slots = await newTimeslots(server, first, { date });
  for (const room of rooms.slice(1)) await newTimeslots(server, room, { date });
  for (const slot of slots.slice(0, 5).toReversed()) await newBooking(server, "admin", slot);
  for (const name of ["One", "Two", "Three"]) await newApiKey(server, { name });
  const search = { from: date, to: date };
  return [
    { id: "listRooms", query: {} },
    { id: "listRooms", query: { sort: "created" } },
    { id: "listAvailableRooms", query: search },
    { id: "listAvailableRooms", query: { ...search, sort: "created" } },
    ...(["listBookings", "listAllBookings"] as const).flatMap((id) =>
      ["created", "start"].flatMap((sort) => ["asc", "desc"].map((order) => ({ id, query: { sort, order } })))
    ),
    { id: "listBookings", query: { status: "pending", from_date: date } },
    { id: "listTimeslots", query: { roomId: first.id } },
    { id: "listApiKeys", query: {} },
    { id: "listAuditLog", query: {} },
  ];
}

Deno.test("lists: `after` the `nextCursor` of each page -> every item once, in the order of the list", async () => {
  await using server = await startServer();
  for (const list of await newLists(server)) {
    const name = `${list.id} ${JSON.stringify(list.query)}`;
    const whole = await read(server, list, { limit: 100 });
    const ids = idsOf(whole);
    assert(ids.length >= 3, name);
    assert.equal(whole.nextCursor, null, name);
    for (const limit of [1, 2, ids.length - 1, ids.length]) {
      const found: unknown[] = [];
      let page = await read(server, list, { limit });
      for (;;) {
        found.push(...idsOf(page));
        assert.equal(page.total, whole.total, name);
        if (page.nextCursor === null) break;
        page = await read(server, list, { limit, after: page.nextCursor });
        assert(page.items.length > 0, name);
        assert.equal(page.page, 1);
      }
      assert.deepEqual(found, ids, `${name} limit ${limit}`);
    }
    // The last page by its number, and one past the end.
    assert.equal((await read(server, list, { limit: ids.length - 1, page: 2 })).nextCursor, null, name);
    assert.equal((await read(server, list, { limit: 1, page: 1_000 })).nextCursor, null, name);
  }
});

const encoded = (place: unknown) =>
  btoa(JSON.stringify(place)).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");

Deno.test("lists: cursor of another list or sort, made up, or with a page -> validation_failed", async () => {
  await using server = await sharedServer();
  const { id: roomId } = await newRoom(server);
  await newRoom(server);
  const byName = (await read(server, { id: "listRooms", query: { limit: 1 } })).nextCursor;
  assert(byName !== null);
  const instant = "2026-03-09T09:00:00.000Z";
  const search = { from: "2026-03-09", to: "2026-03-09" };
  const wrong: [id: OperationId, query: Record<string, unknown>, places: unknown[]][] = [
    ["listRooms", {}, [["name", "A", 0], ["name", "A", 1.5], ["name", "\0", 1], ["name", "\ud800", 1], [
      "id",
      null,
      1,
    ]]],
    ["listRooms", { sort: "created" }, [["name", "A", 1], ["id", "A", 1], ["id", null, 2 ** 60], ["id", null]]],
    ["listAvailableRooms", search, [["name", null, 1], ["id", null, 1], ["name", "A\0", 1], 7]],
    ["listBookings", {}, [
      ["start", instant, 1],
      ["created", "0000-01-01T00:00:00Z", 1],
      ["created", "infinity", 1],
      {},
    ]],
    ["listAllBookings", { sort: "start" }, [["created", instant, 1], ["start", "2026-02-30T00:00:00Z", 1], null]],
    ["listTimeslots", { roomId }, [["start", "9 o'clock", 1], ["start", instant, "1"], "start"]],
    ["listApiKeys", {}, [["id", null, -1], ["start", instant, 1], []]],
    ["listAuditLog", {}, [["id", null, null], ["id", null, 1, 2]]],
  ];
  const token = await server.token("admin", "admin");
  for (const [id, query, places] of wrong) {
    for (const after of [...places.map(encoded), "x", "AAAA", "_-_-"]) {
      const { errors } = await server.refused("validation_failed", id, { token, query: { ...query, after } });
      assert.deepEqual(errors?.map(({ path }) => path), ["after"], `${id} ${after}`);
    }
  }
  const both = { after: byName, page: 2 };
  const { errors } = await server.refused("validation_failed", "listRooms", { query: both });
  assert.deepEqual(errors, [{ in: "query", path: "after", message: "must not be sent with a page" }]);
  await server.refused("validation_failed", "listRooms", { query: { after: byName, sort: "created" } });
});
