/** listTimeslots: refusals. `tests/rules/withdrawn_timeslots_test.ts` has what it lists. */
import assert from "node:assert/strict";
import { missingId, newRoom } from "../support/builders.ts";
import { sharedServer } from "../support/server.ts";

Deno.test("listTimeslots: unknown room -> 400 unknown_room, reversed range -> 400 invalid_date_range", async () => {
  await using server = await sharedServer();
  const { id: roomId } = await newRoom(server);
  const token = await server.token("admin", "admin");
  const unknown = { token, query: { roomId: missingId } };
  assert.equal((await server.refused("unknown_room", "listTimeslots", unknown)).status, 400);
  const reversed = { token, query: { roomId, from: "2026-03-10", to: "2026-03-09" } };
  assert.equal((await server.refused("invalid_date_range", "listTimeslots", reversed)).status, 400);
});

Deno.test("listTimeslots: room without timeslots -> an empty page", async () => {
  await using server = await sharedServer();
  const { id: roomId } = await newRoom(server);
  const page = await server.ok("listTimeslots", { token: await server.token("admin", "admin"), query: { roomId } });
  assert.deepEqual(page, { items: [], total: 0, page: 1, limit: 50, nextCursor: null });
});
