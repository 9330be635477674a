/** Frames of clients, valid and invalid. An invalid frame gets an error with a message, and the socket stays open. */
import assert from "node:assert/strict";
import type { ClientFrame, ServerFrame, SocketErrorCode } from "../../generated/contract.ts";
import { newBooking, newRoom, newTimeslots, userIdOf } from "../support/builders.ts";
import { sharedServer } from "../support/server.ts";
import type { TestSocket } from "../support/socket.ts";
import { frameLimit, open } from "./frames.ts";

/** The one answer to a frame. */
async function answerTo(socket: TestSocket, frame: unknown): Promise<ServerFrame> {
  socket.sendRaw(typeof frame === "string" ? frame : JSON.stringify(frame));
  return await socket.next();
}

async function assertRefused(socket: TestSocket, code: SocketErrorCode, frame: unknown): Promise<string> {
  const answer = await answerTo(socket, frame);
  assert(answer.event === "error", `${JSON.stringify(frame)} is answered ${JSON.stringify(answer)}`);
  assert.equal(answer.code, code, answer.message);
  assert(/^[A-Z].{10,300}\.$/.test(answer.message), `not a sentence: ${answer.message}`);
  assert(!answer.message.includes("Invalid input"), `says nothing: ${answer.message}`);
  return answer.message;
}

Deno.test("frames: 4 KiB, and a byte more -> an answer, and closed with 1009", async (t) => {
  const padded = (padding: string) => `{"action":"ping"}${padding}`;
  const fits = padded(" ".repeat(frameLimit - padded("").length));
  await using server = await sharedServer();
  const cases = { "one space more": `${fits} `, "fewer characters, but more bytes": `"${"ä".repeat(2_100)}"` };
  for (const [name, tooBig] of Object.entries(cases)) {
    await t.step(name, async () => {
      await using socket = await open(server, "alice");
      assert.deepEqual(await answerTo(socket, fits), { event: "pong" });
      socket.sendRaw(tooBig);
      assert.equal((await socket.closed).code, 1009);
    });
  }
});

Deno.test("frames: any binary frame -> closed with 1003", async () => {
  await using server = await sharedServer();
  for (const bytes of [new Uint8Array(), new TextEncoder().encode('{"action":"ping"}'), new Uint8Array(5_000)]) {
    await using socket = await open(server, "alice");
    socket.sendRaw(bytes);
    assert.equal((await socket.closed).code, 1003);
  }
});

Deno.test("frames: not JSON -> malformed_json", async () => {
  await using server = await sharedServer();
  await using socket = await open(server, "alice");
  const frames = ["", " ", "ping", "{", '{"action":"ping"', "{'action':'ping'}", '{"action":"ping"}{}', "NaN", "\0"];
  for (const frame of [...frames, "[".repeat(frameLimit)]) await assertRefused(socket, "malformed_json", frame);
  await socket.settled();
});

Deno.test("frames: JSON, but no frame of the contract -> invalid_frame with the reason", async () => {
  await using server = await sharedServer();
  await using socket = await open(server, "admin", "admin");
  const cases: [string, RegExp][] = [
    ["null", /must be an object/],
    ["[]", /must be an object/],
    ["7", /must be an object/],
    ['"ping"', /must be an object/],
    ["{}", /action must be one of join_booking_room, leave_booking_room, join_room, leave_room, ping/],
    ['{"action":"fly"}', /action must be one of/],
    ['{"action":"Ping"}', /action must be one of/],
    ['{"action":null}', /action must be one of/],
    ['{"action":["ping"]}', /action must be one of/],
    ['{"action":"toString"}', /action must be one of/],
    ['{"action":"ping","extra":1}', /extra is not known here/],
    ['{"action":"ping","__proto__":{"a":1}}', /__proto__ is not known here/],
    ['{"action":"join_room"}', /roomId is required/],
    ['{"action":"join_room","roomId":"1"}', /roomId must be a number/],
    ['{"action":"join_room","roomId":0}', /roomId must be at least 1/],
    ['{"action":"join_room","roomId":1.5}', /roomId must be a whole number/],
    ['{"action":"join_room","roomId":1e300}', /roomId must be/],
    ['{"action":"join_room","roomId":1,"userId":1}', /userId is not known here/],
    ['{"action":"join_booking_room","userId":"everybody"}', /userId/],
    ['{"action":"join_booking_room","userId":null}', /userId/],
    ['{"action":"join_booking_room","userId":{"$ne":1}}', /userId/],
    ['{"action":"join_booking_room","after":7}', /after must be text/],
    ['{"action":"join_booking_room","after":""}', /after/],
    ['{"action":"join_booking_room","after":"yesterday"}', /after/],
    ['{"action":"join_booking_room","after":"abcdefgh.1.1\\n"}', /after/],
    ['{"action":"join_booking_room","after":"abcdefgh.-1.1"}', /after/],
    ['{"action":"join_booking_room","after":"abcdefgh.100000000000.1"}', /after/],
    ['{"action":"leave_room","roomId":1,"after":"latest"}', /after is not known here/],
    [`${"[".repeat(2_000)}${"]".repeat(2_000)}`, /must be an object/],
    [`{"action":"ping","extra":${"[".repeat(2_000)}${"]".repeat(2_000)}}`, /extra is not known here/],
  ];
  for (const [frame, message] of cases) {
    assert.match(await assertRefused(socket, "invalid_frame", frame), message, frame);
    assert.deepEqual(await answerTo(socket, { action: "ping" }), { event: "pong" });
  }
});

Deno.test("join_booking_room: another user or all, as a user -> forbidden, no events of others", async () => {
  await using server = await sharedServer();
  const [slot] = await newTimeslots(server, await newRoom(server), { date: "2026-03-09" });
  assert(slot);
  const [alice, bob] = [await userIdOf(server, "alice"), await userIdOf(server, "bob")];
  await using socket = await open(server, "bob");
  await using owner = await open(server, "alice");
  assert.equal((await answerTo(owner, { action: "join_booking_room", userId: alice })).event, "joined");
  assert.equal((await answerTo(socket, { action: "join_booking_room", userId: bob })).event, "joined");
  for (const userId of [alice, "all", 999, Number.MAX_SAFE_INTEGER]) {
    for (const after of [undefined, "latest", "abcdefgh.1.1"]) {
      await assertRefused(socket, "forbidden", { action: "join_booking_room", userId, after });
    }
  }
  const booking = await newBooking(server, "alice", slot);
  assert.deepEqual((await owner.expect("booking_update")).data.booking, booking);
  await socket.settled();
  assert.deepEqual(socket.events(), []);
});

Deno.test("join_room: the 101st room -> too_many_joins, until a leave_room", async () => {
  await using server = await sharedServer();
  await using socket = await open(server, "alice");
  assert.equal((await answerTo(socket, { action: "join_booking_room" })).event, "joined");
  for (let roomId = 1; roomId < 100; roomId++) {
    assert.equal((await answerTo(socket, { action: "join_room", roomId })).event, "joined");
  }
  await assertRefused(socket, "too_many_joins", { action: "join_room", roomId: 100 });
  // A room that is joined already does not count again.
  assert.equal((await answerTo(socket, { action: "join_room", roomId: 99 })).event, "joined");
  assert.deepEqual(await answerTo(socket, { action: "leave_room", roomId: 50 }), { event: "left", roomId: 50 });
  assert.equal((await answerTo(socket, { action: "join_room", roomId: 100 })).event, "joined");
  await assertRefused(socket, "too_many_joins", { action: "join_room", roomId: 50 });
});

Deno.test("leave_room: joined or not -> left, and no further events", async () => {
  await using server = await sharedServer();
  const room = await newRoom(server);
  const [first, second] = await newTimeslots(server, room, { date: "2026-03-09" });
  assert(first && second);
  await server.settled();
  const userId = await userIdOf(server, "alice");
  await using socket = await open(server, "alice");
  const rooms: [ClientFrame, ClientFrame, ServerFrame][] = [
    [{ action: "join_room", roomId: room.id }, { action: "leave_room", roomId: room.id }, {
      event: "left",
      roomId: room.id,
    }],
    [{ action: "join_booking_room" }, { action: "leave_booking_room" }, { event: "left", userId }],
  ];
  for (const [, leave, left] of rooms) assert.deepEqual(await answerTo(socket, leave), left);
  for (const [join] of rooms) assert.equal((await answerTo(socket, join)).event, "joined");
  await newBooking(server, "alice", first);
  await socket.expect("booking_update");
  await socket.expect("timeslot_update");
  for (const [, leave, left] of rooms) assert.deepEqual(await answerTo(socket, leave), left);
  await using witness = await open(server, "alice");
  assert.equal((await answerTo(witness, { action: "join_room", roomId: room.id })).event, "joined");
  await newBooking(server, "alice", second);
  await witness.expect("timeslot_update");
  await socket.settled();
  assert.equal(socket.events().length, 2);
});

Deno.test("join_room: twice -> each event once", async () => {
  await using server = await sharedServer();
  const room = await newRoom(server);
  const [slot] = await newTimeslots(server, room, { date: "2026-03-09" });
  assert(slot);
  await server.settled();
  const userId = await userIdOf(server, "ada");
  await using socket = await open(server, "ada", "admin");
  const joins = [{ action: "join_booking_room" }, { action: "join_booking_room", userId }, {
    action: "join_booking_room",
    userId: "all",
  }, { action: "join_room", roomId: room.id }];
  for (const join of [...joins, ...joins]) assert.equal((await answerTo(socket, join)).event, "joined");
  await newBooking(server, "ada", slot);
  await socket.until(() => socket.events().length === 2);
  await socket.settled();
  assert.deepEqual(socket.events().map(({ event }) => event), ["booking_update", "timeslot_update"]);
});
