import assert from "node:assert/strict";
import type { ProblemCode, Room } from "../../generated/contract.ts";
import { type Call, sharedServer, type TestServer } from "../support/server.ts";

const minimal = { name: "Sky Lounge", roomType: "meeting" };

async function create(server: TestServer, fields: Record<string, unknown>): Promise<Room> {
  return await server.ok("createRoom", {
    token: await server.token("admin", "admin"),
    body: { ...minimal, ...fields },
  });
}

async function countRooms(server: TestServer): Promise<number> {
  const count = server.db.selectFrom("rooms").select((rooms) => rooms.fn.countAll<number>().as("rooms"));
  return (await count.executeTakeFirstOrThrow()).rooms;
}

Deno.test("createRoom: name and type only -> active room with the defaults, no timeslots", async () => {
  await using server = await sharedServer();
  const request = { token: await server.token("admin", "admin"), body: minimal };
  const { status, body } = await server.call("createRoom", request);
  assert.equal(status, 201);
  const room = body as Room;
  assert.deepEqual(room, {
    id: room.id,
    name: "Sky Lounge",
    description: null,
    capacity: 1,
    roomType: "meeting",
    hourlyRate: null,
    currency: "EUR",
    timeZone: "UTC",
    autoConfirm: false,
    isActive: true,
    metadata: {},
    createdAt: "2026-03-02T10:00:00.000Z",
    updatedAt: "2026-03-02T10:00:00.000Z",
  });
  const params = { roomId: room.id };
  assert.deepEqual(await server.ok("getRoom", { params }), room);
  assert.deepEqual((await server.ok("listFreeTimeslots", { params, query: { date: "2026-03-03" } })).timeslots, []);
});

Deno.test("createRoom: every field -> returned and stored unchanged", async () => {
  await using server = await sharedServer();
  const fields = {
    name: "Straße 🪑 \"'; drop table rooms; --",
    roomType: "treatment",
    description: "Twelfth floor.\nView of the park.",
    capacity: 100_000,
    hourlyRate: 45.5,
    currency: "JPY",
    timeZone: "America/Argentina/Buenos_Aires",
    autoConfirm: true,
    isActive: false,
    metadata: { floor: 12, tags: ["quiet", null, { deep: [] }], "": false, text: "{}", constructor: 0.1 },
  };
  const { id, createdAt, updatedAt, ...kept } = await create(server, fields);
  assert.deepEqual(kept, fields);
  assert.deepEqual(await server.ok("getRoom", { params: { roomId: id } }), { id, createdAt, updatedAt, ...kept });
});

Deno.test("createRoom: description and hourlyRate null -> null", async () => {
  await using server = await sharedServer();
  const { description, hourlyRate } = await create(server, { description: null, hourlyRate: null });
  assert.deepEqual({ description, hourlyRate }, { description: null, hourlyRate: null });
});

Deno.test("createRoom: no currency and time zone -> the server's defaults", async () => {
  await using server = await sharedServer({ env: { DEFAULT_CURRENCY: "CHF", DEFAULT_TIME_ZONE: "Europe/Zurich" } });
  const { currency, timeZone } = await create(server, {});
  assert.deepEqual({ currency, timeZone }, { currency: "CHF", timeZone: "Europe/Zurich" });
  const named = await create(server, { currency: "USD", timeZone: "America/New_York" });
  assert.deepEqual([named.currency, named.timeZone], ["USD", "America/New_York"]);
});

Deno.test("createRoom: hourlyRate from 0 to 999999.99 -> exact to the cent", async () => {
  await using server = await sharedServer();
  for (const hourlyRate of [0, 0.01, 0.07, 1.1, 4.35, 8.2, 19.99, 1_005.01, 999_998.87, 999_999.99]) {
    assert.equal((await create(server, { hourlyRate })).hourlyRate, hourlyRate);
  }
});

Deno.test("createRoom: currencies in use, recent ones too -> accepted", async () => {
  await using server = await sharedServer();
  for (const currency of ["EUR", "USD", "JPY", "BHD", "SLE", "VED", "XCG", "ZWG"]) {
    assert.equal((await create(server, { currency })).currency, currency);
  }
});

const refusals: [path: string, ...values: unknown[]][] = [
  ["hourlyRate", -0.01, 1_000_000, 999_999.991, 0.001, 0.005, 19.999, 1e-7, "45"],
  ["currency", "EUX", "XYZ", "eur", "EURO", ""],
  [
    "timeZone",
    "+02:00",
    "-05:30",
    "UTC+2",
    "Mars/Olympus_Mons",
    "Europe/",
    "Europe/Berlin ",
    "Factory",
    "localtime",
    "",
  ],
  ["capacity", 0, 100_001, 1.5],
  ["name", "", "x".repeat(201)],
  ["description", "x".repeat(5_001)],
  ["roomType", "garage"],
  ["metadata", [], null, "floor 12"],
];

Deno.test("createRoom: wrong value -> 400 validation_failed with the field, no room", async () => {
  await using server = await sharedServer();
  const token = await server.token("admin", "admin");
  const before = await countRooms(server);
  for (const [path, ...values] of refusals) {
    for (const value of values) {
      const body = { ...minimal, [path]: value };
      const { errors } = await server.refused("validation_failed", "createRoom", { token, body });
      const places = new Set(errors?.map((error) => `${error.in}.${error.path}`));
      assert.deepEqual([...places], [`body.${path}`], JSON.stringify(value));
    }
  }
  assert.equal(await countRooms(server), before);
});

Deno.test("createRoom: two wrong fields -> both in errors", async () => {
  await using server = await sharedServer();
  const request = {
    token: await server.token("admin", "admin"),
    body: { ...minimal, currency: "EUX", timeZone: "Mars" },
  };
  const { errors } = await server.refused("validation_failed", "createRoom", request);
  assert.deepEqual(errors?.map(({ path }) => path), ["currency", "timeZone"]);
});

const unreadable: [code: ProblemCode, status: number, call: Call][] = [
  ["malformed_json", 400, { body: '{"name":"Sky Lounge","roomType":"meeting"' }],
  ["malformed_json", 400, { body: "" }],
  ["unsupported_media_type", 415, { body: minimal, headers: { "Content-Type": "text/plain" } }],
  ["body_too_large", 413, { body: { ...minimal, metadata: { text: "x".repeat(65_536) } } }],
];

Deno.test("createRoom: unreadable body -> malformed_json, unsupported_media_type or body_too_large, no room", async () => {
  await using server = await sharedServer();
  const token = await server.token("admin", "admin");
  const before = await countRooms(server);
  for (const [code, status, call] of unreadable) {
    assert.equal((await server.refused(code, "createRoom", { token, ...call })).status, status);
  }
  assert.equal(await countRooms(server), before);
});
