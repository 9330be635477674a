import assert from "node:assert/strict";
import pLimit from "p-limit";
import type { ProblemCode, Room } from "../../generated/contract.ts";
import { type Call, startServer, type TestServer } from "../support/server.ts";

const least = { name: "Sky Lounge", roomType: "meeting" };

async function create(server: TestServer, fields: Record<string, unknown>): Promise<Room> {
  return await server.ok("createRoom", { token: await server.token("admin", "admin"), body: { ...least, ...fields } });
}

async function countRooms(server: TestServer): Promise<number> {
  const count = server.db.selectFrom("rooms").select((rooms) => rooms.fn.countAll<number>().as("rooms"));
  return (await count.executeTakeFirstOrThrow()).rooms;
}

Deno.test("createRoom makes an active, free room for one from a name and a type, without timeslots", async () => {
  await using server = await startServer();
  const request = { token: await server.token("admin", "admin"), body: least };
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

Deno.test("createRoom keeps every field as it was sent", async () => {
  await using server = await startServer();
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

Deno.test("createRoom takes null for a description and a rate that are not there", async () => {
  await using server = await startServer();
  const { description, hourlyRate } = await create(server, { description: null, hourlyRate: null });
  assert.deepEqual({ description, hourlyRate }, { description: null, hourlyRate: null });
});

Deno.test("createRoom takes the server's currency and time zone when none is sent", async () => {
  await using server = await startServer({ env: { DEFAULT_CURRENCY: "CHF", DEFAULT_TIME_ZONE: "Europe/Zurich" } });
  const { currency, timeZone } = await create(server, {});
  assert.deepEqual({ currency, timeZone }, { currency: "CHF", timeZone: "Europe/Zurich" });
  const named = await create(server, { currency: "USD", timeZone: "America/New_York" });
  assert.deepEqual([named.currency, named.timeZone], ["USD", "America/New_York"]);
});

Deno.test("createRoom takes an hourly rate of two places from 0 to 999999.99, to the cent", async () => {
  await using server = await startServer();
  for (const hourlyRate of [0, 0.01, 0.07, 1.1, 4.35, 8.2, 19.99, 1_005.01, 999_998.87, 999_999.99]) {
    assert.equal((await create(server, { hourlyRate })).hourlyRate, hourlyRate);
  }
});

Deno.test("createRoom takes every currency that is legal tender, the youngest too", async () => {
  await using server = await startServer();
  for (const currency of ["EUR", "USD", "JPY", "BHD", "SLE", "VED", "XCG", "ZWG"]) {
    assert.equal((await create(server, { currency })).currency, currency);
  }
});

/** Names that `Intl` does not list, since they are older names of zones that it does. */
const olderNames = ["CET", "EET", "MET", "WET", "EST", "MST", "HST", "EST5EDT", "PST8PDT", "NZ", "GB", "Asia/Calcutta"];

Deno.test("createRoom takes or refuses each IANA time zone, and a room of each has its whole local day", async () => {
  await using server = await startServer();
  const token = await server.token("admin", "admin");
  const zones = [...Intl.supportedValuesOf("timeZone"), ...olderNames];
  const wrong: unknown[] = [];
  const tryZone = async (timeZone: string) => {
    const { status, body } = await server.call("createRoom", { token, body: { ...least, timeZone } });
    if (status === 400) return false;
    if (status !== 201) wrong.push({ timeZone, status });
    // The first and the last hour of a day, in summer in the north.
    const date = "2026-07-15";
    const roomId = (body as Room).id;
    const hours = { workingHours: { start: "00:00", end: "24:00" }, breaks: [{ start: "01:00", end: "23:00" }] };
    const rules = { roomId, startDate: date, endDate: date, slotDuration: 60, ...hours };
    await server.ok("generateTimeslots", { token, body: rules });
    const { timeslots } = await server.ok("listFreeTimeslots", { params: { roomId }, query: { date } });
    if (timeslots.length !== 2) wrong.push({ timeZone, timeslots });
    return true;
  };
  // A few at once: the last of them all would wait for so long on a busy machine that it is answered 503.
  const limit = pLimit(8);
  const taken = await Promise.all(zones.map((zone) => limit(() => tryZone(zone))));
  assert.deepEqual(wrong, []);
  assert(taken.filter(Boolean).length > 400, "Nearly all zones are taken");
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

Deno.test("createRoom answers 400 validation_failed that names the field for a wrong value, and makes no room", async () => {
  await using server = await startServer();
  const token = await server.token("admin", "admin");
  for (const [path, ...values] of refusals) {
    for (const value of values) {
      const body = { ...least, [path]: value };
      const { errors } = await server.refused("validation_failed", "createRoom", { token, body });
      const places = new Set(errors?.map((error) => `${error.in}.${error.path}`));
      assert.deepEqual([...places], [`body.${path}`], JSON.stringify(value));
    }
  }
  assert.equal(await countRooms(server), 0);
});

Deno.test("createRoom names all fields at fault at once", async () => {
  await using server = await startServer();
  const request = {
    token: await server.token("admin", "admin"),
    body: { ...least, currency: "EUX", timeZone: "Mars" },
  };
  const { errors } = await server.refused("validation_failed", "createRoom", request);
  assert.deepEqual(errors?.map(({ path }) => path), ["currency", "timeZone"]);
});

const unreadable: [code: ProblemCode, status: number, call: Call][] = [
  ["malformed_json", 400, { body: '{"name":"Sky Lounge","roomType":"meeting"' }],
  ["malformed_json", 400, { body: "" }],
  ["unsupported_media_type", 415, { body: least, headers: { "Content-Type": "text/plain" } }],
  ["body_too_large", 413, { body: { ...least, metadata: { text: "x".repeat(65_536) } } }],
];

Deno.test("createRoom answers malformed_json, unsupported_media_type and body_too_large, and makes no room", async () => {
  await using server = await startServer();
  const token = await server.token("admin", "admin");
  for (const [code, status, call] of unreadable) {
    assert.equal((await server.refused(code, "createRoom", { token, ...call })).status, status);
  }
  assert.equal(await countRooms(server), 0);
});
