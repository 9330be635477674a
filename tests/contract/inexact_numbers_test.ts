/** Numbers of JSON that a double cannot hold: refused with their path, never stored as another number. */
import assert from "node:assert/strict";
import { newRoom } from "../support/builders.ts";
import { sharedServer } from "../support/server.ts";

const inexact = [
  ...["12345678901234567890", "9007199254740993", "-9007199254740993", "1e400", "-1E400", "1e-400"],
  ...["0.1234567890123456789012", "123456789.12345678901", "1234567890123456789e-3", "5e-325"],
];
const exact = [
  ...["0", "-0", "1", "1.0", "1.50", "0.1", "1e2", "1E+2", "15e-1", "100e-2", "9007199254740991", "9007199254740992"],
  ...["1e21", "1e308", "5e-324", "0.0000000000000000000001", "1.7976931348623157e308"],
  ...["123456789012.0000000000000000", "0.30000000000000004"],
];

Deno.test("createRoom and updateRoom: number in metadata that a double cannot hold -> 400 validation_failed with its path", async (t) => {
  await using server = await sharedServer();
  const token = await server.token("admin", "admin");
  const room = await newRoom(server);
  for (const number of inexact) {
    await t.step(number, async () => {
      const body = `{"name":"Lounge","roomType":"office","metadata":{"a":[1,{"b":${number}}]}}`;
      const { errors } = await server.refused("validation_failed", "createRoom", { token, body });
      assert.deepEqual(errors?.map(({ in: place, path }) => [place, path]), [["body", "metadata.a.1.b"]]);
      assert.match(errors?.[0]?.message ?? "", /^must be a number that a double can hold, not .*\. Send it as a text$/);
      const change = { token, params: { roomId: room.id }, body: `{"metadata":{"x":${number}}}` };
      await server.refused("validation_failed", "updateRoom", change);
    });
  }
  assert.deepEqual(await server.ok("getRoom", { params: { roomId: room.id } }), room);
});

Deno.test("createRoom: any spelling of a number that a double holds -> stored as that number", async (t) => {
  await using server = await sharedServer();
  const token = await server.token("admin", "admin");
  for (const number of exact) {
    await t.step(number, async () => {
      const body = `{"name":"Lounge","roomType":"office","metadata":{"number":${number}}}`;
      const { id: roomId, metadata } = await server.ok("createRoom", { token, body });
      assert.equal(Number(metadata.number), Number(number) + 0);
      const stored = await server.ok("getRoom", { params: { roomId } });
      assert.equal(Number(stored.metadata.number), Number(number) + 0);
    });
  }
});

Deno.test("createRoom: digits in texts and names -> left alone", async () => {
  await using server = await sharedServer();
  const metadata = { "12345678901234567890": "12345678901234567890", "1e400": ["0.1234567890123456789012", "1e400"] };
  assert.deepEqual((await newRoom(server, { metadata })).metadata, metadata);
});

Deno.test("createBooking: id that a double cannot hold -> 400 validation_failed with its path", async () => {
  await using server = await sharedServer();
  const call = { token: await server.token("alice"), body: '{"roomId":1,"timeslotId":9007199254740993}' };
  const { errors } = await server.refused("validation_failed", "createBooking", call);
  assert.deepEqual(errors?.map(({ path }) => path), ["timeslotId"]);
});
