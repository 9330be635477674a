import assert from "node:assert/strict";
import { newRoom } from "../support/builders.ts";
import { startServer } from "../support/server.ts";

Deno.test("getRoom answers anybody with the room as it was created", async () => {
  await using server = await startServer();
  await newRoom(server, { name: "Another room" });
  const room = await newRoom(server, { description: "By the lake.", metadata: { floor: 12, tags: ["quiet"] } });
  assert.deepEqual(await server.ok("getRoom", { params: { roomId: room.id } }), room);
});

Deno.test("getRoom answers a deactivated room, and says that it is not active", async () => {
  await using server = await startServer();
  const room = await newRoom(server);
  const params = { roomId: room.id };
  await server.ok("deleteRoom", { token: await server.token("admin", "admin"), params });
  assert.deepEqual(await server.ok("getRoom", { params }), { ...room, isActive: false });
});

Deno.test("getRoom answers 404 room_not_found for a room that is not there", async () => {
  await using server = await startServer();
  const { id } = await newRoom(server);
  for (const roomId of [id + 1, Number.MAX_SAFE_INTEGER]) {
    const { status, detail } = await server.refused("room_not_found", "getRoom", { params: { roomId } });
    assert.equal(status, 404);
    assert(detail.includes(String(roomId)), detail);
  }
});

Deno.test("getRoom answers 400 validation_failed for an id that is no positive whole number", async () => {
  await using server = await startServer();
  for (const roomId of ["0", "-1", "1.5", "one", "1e3", "0x1", " "]) {
    const { errors } = await server.refused("validation_failed", "getRoom", { params: { roomId } });
    assert.deepEqual(errors?.map((error) => [error.in, error.path]), [["path", "roomId"]], roomId);
  }
});
