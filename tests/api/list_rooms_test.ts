import assert from "node:assert/strict";
import { newRoom } from "../support/builders.ts";
import { sharedServer, startServer, type TestServer } from "../support/server.ts";

/** Creates rooms, not in the order of their names. Cedar is deactivated. */
async function newRooms(server: TestServer): Promise<void> {
  for (
    const fields of [
      { name: "Cedar", roomType: "office", isActive: false },
      { name: "Elm", roomType: "office" },
      { name: "Ash", roomType: "treatment" },
      { name: "Birch", roomType: "office" },
      { name: "Dogwood", roomType: "meeting" },
      { name: "Fir", roomType: "consultation" },
    ]
  ) await newRoom(server, fields);
}

const filters: { query: Record<string, unknown>; names: string[] }[] = [
  { query: {}, names: ["Ash", "Birch", "Dogwood", "Elm", "Fir"] },
  { query: { active: true }, names: ["Ash", "Birch", "Dogwood", "Elm", "Fir"] },
  { query: { active: false }, names: ["Ash", "Birch", "Cedar", "Dogwood", "Elm", "Fir"] },
  { query: { type: "office" }, names: ["Birch", "Elm"] },
  { query: { type: "office", active: false }, names: ["Birch", "Cedar", "Elm"] },
  { query: { type: "treatment" }, names: ["Ash"] },
  { query: { type: "meeting" }, names: ["Dogwood"] },
  { query: { type: "consultation" }, names: ["Fir"] },
];

Deno.test("listRooms: type and active -> matching rooms by name, active=false adds the deactivated", async () => {
  await using server = await startServer();
  assert.deepEqual(await server.ok("listRooms"), {
    items: [],
    total: 0,
    page: 1,
    limit: 25,
    pages: 0,
    nextCursor: null,
  });
  await newRooms(server);
  for (const { query, names } of filters) {
    const { items, total } = await server.ok("listRooms", { query });
    assert.deepEqual({ names: items.map(({ name }) => name), total }, { names, total: names.length });
  }
});

Deno.test("listRooms: room -> as createRoom answered it", async () => {
  await using server = await sharedServer();
  // Sorted before the rooms of other tests.
  const room = await newRoom(server, { name: "!", description: "By the lake.", metadata: { floor: 1 } });
  const { items } = await server.ok("listRooms", { query: { limit: 100 } });
  assert.deepEqual(items.find(({ id }) => id === room.id), room);
});

Deno.test("listRooms: rooms of the same name -> each on exactly one page", async () => {
  await using server = await startServer();
  const made: number[] = [];
  for (let number = 0; number < 7; number++) made.push((await newRoom(server, { name: "Twin" })).id);
  const listed: number[] = [];
  for (const page of [1, 2, 3, 4]) {
    const { items, pages } = await server.ok("listRooms", { query: { page, limit: 2 } });
    assert.equal(pages, 4);
    listed.push(...items.map(({ id }) => id));
  }
  assert.deepEqual(listed.toSorted((a, b) => a - b), made);
});

Deno.test("listRooms: 101 rooms -> 25 a page, at most 100, nothing past the end", async () => {
  await using server = await startServer();
  const names = Array.from({ length: 101 }, (_, index) => `Room ${String(index).padStart(3, "0")}`);
  await Promise.all(names.map((name) => newRoom(server, { name })));
  const pages = [
    { query: {}, page: 1, limit: 25, pages: 5, names: names.slice(0, 25) },
    { query: { page: 5 }, page: 5, limit: 25, pages: 5, names: names.slice(100) },
    { query: { limit: 100 }, page: 1, limit: 100, pages: 2, names: names.slice(0, 100) },
    { query: { limit: 101 }, page: 1, limit: 100, pages: 2, names: names.slice(0, 100) },
    { query: { limit: Number.MAX_SAFE_INTEGER }, page: 1, limit: 100, pages: 2, names: names.slice(0, 100) },
    { query: { limit: 5_000, page: 2 }, page: 2, limit: 100, pages: 2, names: names.slice(100) },
    { query: { limit: 1, page: 3 }, page: 3, limit: 1, pages: 101, names: names.slice(2, 3) },
    { query: { page: 6 }, page: 6, limit: 25, pages: 5, names: [] },
    { query: { page: 2_147_483_647, limit: 100 }, page: 2_147_483_647, limit: 100, pages: 2, names: [] },
  ];
  for (const { query, ...expected } of pages) {
    const { items, nextCursor: _, ...answered } = await server.ok("listRooms", { query });
    assert.deepEqual({ ...answered, names: items.map(({ name }) => name) }, { ...expected, total: 101 });
  }
});

Deno.test("listRooms: invalid type, page or limit -> 400 validation_failed with its name", async () => {
  await using server = await sharedServer();
  const wrong = { type: "garage", active: "yes", page: 0, limit: 0 };
  for (const [path, value] of Object.entries(wrong)) {
    const { errors } = await server.refused("validation_failed", "listRooms", { query: { [path]: value } });
    assert.deepEqual(errors?.map((error) => [error.in, error.path]), [["query", path]]);
  }
});
