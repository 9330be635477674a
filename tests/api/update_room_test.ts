import assert from "node:assert/strict";
import type { ProblemCode, Room } from "../../generated/contract.ts";
import { missingId, newBooking, newRoom, newRoomWithTimeslot, newTimeslots } from "../support/builders.ts";
import { type Call, sharedServer, type TestServer } from "../support/server.ts";

async function update(server: TestServer, { id: roomId }: Room, body: Record<string, unknown>): Promise<Room> {
  return await server.ok("updateRoom", { token: await server.token("admin", "admin"), params: { roomId }, body });
}

const full = {
  name: "Sky Lounge",
  roomType: "meeting",
  description: "Twelfth floor.",
  capacity: 8,
  hourlyRate: 45,
  currency: "EUR",
  timeZone: "Europe/Berlin",
  autoConfirm: true,
  metadata: { floor: 12, projector: true },
};

const changes: Record<string, unknown>[] = [
  { name: "Cloud Lounge" },
  { roomType: "office" },
  { description: "Thirteenth floor." },
  { description: null },
  { capacity: 100_000 },
  { hourlyRate: 0 },
  { hourlyRate: 999_999.99 },
  { hourlyRate: 50.05 },
  { hourlyRate: null },
  { currency: "USD" },
  { timeZone: "America/New_York" },
  { autoConfirm: false },
  { isActive: false },
  { isActive: true },
  { metadata: { colour: "blue" } },
  { metadata: {} },
  { name: "Tea Room", capacity: 2, metadata: { kettle: null } },
];

Deno.test("updateRoom: some fields -> only they change, null clears, metadata is replaced", async () => {
  await using server = await sharedServer();
  let room = await newRoom(server, full);
  for (const [index, change] of changes.entries()) {
    const updatedAt = new Date(Date.UTC(2026, 2, 3, 10, index)).toISOString();
    server.clock.set(updatedAt);
    const changed = await update(server, room, change);
    assert.deepEqual(changed, { ...room, ...change, updatedAt });
    assert.deepEqual(await server.ok("getRoom", { params: { roomId: room.id } }), changed);
    room = changed;
  }
});

Deno.test("updateRoom: empty body -> the room as it is", async () => {
  await using server = await sharedServer();
  const room = await newRoom(server, full);
  assert.deepEqual(await update(server, room, {}), room);
});

Deno.test("updateRoom: two changes at once -> both are kept", async () => {
  await using server = await sharedServer();
  const room = await newRoom(server, full);
  for (let capacity = 10; capacity < 20; capacity++) {
    const name = `Lounge for ${capacity}`;
    await Promise.all([update(server, room, { name }), update(server, room, { capacity })]);
    const now = await server.ok("getRoom", { params: { roomId: room.id } });
    assert.deepEqual({ name: now.name, capacity: now.capacity }, { name, capacity });
  }
});

Deno.test("updateRoom: another room -> unchanged", async () => {
  await using server = await sharedServer();
  const [room, other] = [await newRoom(server, full), await newRoom(server, full)];
  await update(server, room, { name: "Cloud Lounge" });
  assert.deepEqual(await server.ok("getRoom", { params: { roomId: other.id } }), other);
});

Deno.test("updateRoom: rate and currency -> apply to new bookings only", async () => {
  await using server = await sharedServer();
  const room = await newRoom(server, full);
  const [first, second] = await newTimeslots(server, room, { date: "2026-03-09" });
  assert(first && second);
  const earlier = await newBooking(server, "alice", first);
  await update(server, room, { hourlyRate: 99.5, currency: "USD" });
  const params = { bookingId: earlier.id };
  const { price, currency } = await server.ok("getBooking", { token: await server.token("alice"), params });
  assert.deepEqual([price, currency], [45, "EUR"]);
  const later = await newBooking(server, "alice", second);
  assert.deepEqual([later.price, later.currency], [99.5, "USD"]);
});

Deno.test("updateRoom: time zone -> existing timeslots keep their instants, new ones are in the new zone", async () => {
  await using server = await sharedServer();
  const { room, timeslot } = await newRoomWithTimeslot(server, { timeZone: "Asia/Tokyo" });
  assert.equal(timeslot.startTime, "2026-03-09T00:00:00.000Z");
  const moved = await update(server, room, { timeZone: "America/New_York" });
  // Midnight in UTC is the evening before in New York.
  const listed = await server.ok("listFreeTimeslots", { params: { roomId: room.id }, query: { date: "2026-03-08" } });
  assert.deepEqual(listed.timeslots, [timeslot]);
  const [generated] = await newTimeslots(server, moved, { date: "2026-03-09" });
  assert.equal(generated?.startTime, "2026-03-09T13:00:00.000Z");
});

const refusals: [path: string, ...values: unknown[]][] = [
  ["hourlyRate", -0.01, 1_000_000, 0.005, 19.999],
  ["currency", "EUX", "eur", null],
  ["timeZone", "+02:00", "Mars/Olympus_Mons", "Factory", null],
  ["capacity", 0, 100_001, null],
  ["name", "", "x".repeat(201), null],
  ["description", "x".repeat(5_001)],
  ["roomType", "garage", null],
  ["metadata", [], null],
];

Deno.test("updateRoom: one invalid field -> 400 validation_failed with its name, nothing changes", async () => {
  await using server = await sharedServer();
  const room = await newRoom(server, full);
  const request = { token: await server.token("admin", "admin"), params: { roomId: room.id } };
  server.clock.set("2026-03-03T10:00:00.000Z");
  for (const [path, ...values] of refusals) {
    for (const value of values) {
      const body = { autoConfirm: false, isActive: false, [path]: value };
      const { errors } = await server.refused("validation_failed", "updateRoom", { ...request, body });
      const places = new Set(errors?.map((error) => `${error.in}.${error.path}`));
      assert.deepEqual([...places], [`body.${path}`], JSON.stringify(value));
    }
  }
  assert.deepEqual(await server.ok("getRoom", { params: { roomId: room.id } }), room);
});

const unreadable: [code: ProblemCode, status: number, call: Call][] = [
  ["malformed_json", 400, { body: '{"name":"Cloud Lounge"' }],
  ["unsupported_media_type", 415, { body: { name: "Cloud Lounge" }, headers: { "Content-Type": "text/plain" } }],
  ["body_too_large", 413, { body: { name: "Cloud Lounge", metadata: { text: "x".repeat(65_536) } } }],
];

Deno.test("updateRoom: malformed, wrong media type or too large -> refused, nothing changes", async () => {
  await using server = await sharedServer();
  const room = await newRoom(server, full);
  const request = { token: await server.token("admin", "admin"), params: { roomId: room.id } };
  for (const [code, status, call] of unreadable) {
    assert.equal((await server.refused(code, "updateRoom", { ...request, ...call })).status, status);
  }
  assert.deepEqual(await server.ok("getRoom", { params: { roomId: room.id } }), room);
});

Deno.test("updateRoom: unknown room -> 404 room_not_found, none is created", async () => {
  await using server = await sharedServer();
  const token = await server.token("admin", "admin");
  const countRooms = async () => (await server.ok("listRooms", { query: { active: false } })).total;
  const before = await countRooms();
  for (const roomId of [missingId, Number.MAX_SAFE_INTEGER]) {
    const request = { token, params: { roomId }, body: full };
    assert.equal((await server.refused("room_not_found", "updateRoom", request)).status, 404);
  }
  assert.equal(await countRooms(), before);
});
