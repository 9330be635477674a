import assert from "node:assert/strict";
import { missingId, newRoom } from "../support/builders.ts";
import { sharedServer } from "../support/server.ts";

Deno.test("getRoom: any caller -> the room as created", async () => {
  await using server = await sharedServer();
  await newRoom(server, { name: "Another room" });
  const room = await newRoom(server, { description: "By the lake.", metadata: { floor: 12, tags: ["quiet"] } });
  assert.deepEqual(await server.ok("getRoom", { params: { roomId: room.id } }), room);
});

Deno.test("getRoom: deactivated room -> isActive false", async () => {
  await using server = await sharedServer();
  const room = await newRoom(server);
  const params = { roomId: room.id };
  await server.ok("deleteRoom", { token: await server.token("admin", "admin"), params });
  assert.deepEqual(await server.ok("getRoom", { params }), { ...room, isActive: false });
});

Deno.test("getRoom: unknown room -> 404 room_not_found", async () => {
  await using server = await sharedServer();
  for (const roomId of [missingId, Number.MAX_SAFE_INTEGER]) {
    const { status, detail } = await server.refused("room_not_found", "getRoom", { params: { roomId } });
    assert.equal(status, 404);
    assert(detail.includes(String(roomId)), detail);
  }
});

Deno.test("getRoom: id is no positive whole number -> 400 validation_failed", async () => {
  await using server = await sharedServer();
  for (const roomId of ["0", "-1", "1.5", "one", "1e3", "0x1", " "]) {
    const { errors } = await server.refused("validation_failed", "getRoom", { params: { roomId } });
    assert.deepEqual(errors?.map((error) => [error.in, error.path]), [["path", "roomId"]], roomId);
  }
});
