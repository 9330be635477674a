/** Filters, order and pages of the audit log. `tests/rules/audit_log_test.ts` has its content. */
import assert from "node:assert/strict";
import type { AuditEntry, AuditPage } from "../../generated/contract.ts";
import { newApiKey } from "../support/api_keys.ts";
import { newRoom, newTimeslots } from "../support/builders.ts";
import { sharedServer, startServer, type TestServer } from "../support/server.ts";

async function list(server: TestServer, query: Record<string, unknown> = {}): Promise<AuditPage> {
  return await server.ok("listAuditLog", { token: await server.token("auditor", "admin"), query });
}

/** Times of the admin's changes that match, the earliest first. */
async function occurredAt(server: TestServer, query: Record<string, unknown>): Promise<string[]> {
  const { id: userId } = await server.ok("getMe", { token: await server.token("admin", "admin") });
  const { items, total } = await list(server, { userId, ...query });
  assert.equal(items.length, total);
  return items.map((entry) => entry.occurredAt).reverse();
}

/** Creates a room at each of these instants of the clock, which stays at the last. */
async function changeAt(server: TestServer, instants: string[]): Promise<void> {
  for (const instant of instants) {
    server.clock.set(instant);
    await newRoom(server);
  }
}

Deno.test("listAuditLog: two changes -> actor, before, after and request of each, newest first", async () => {
  await using server = await startServer();
  assert.deepEqual(await list(server), { items: [], total: 0, page: 1, limit: 50, nextCursor: null });
  const olga = await server.token("olga", "admin");
  const actor = { userId: (await server.ok("getMe", { token: olga })).id, subject: "olga", name: null };

  const body = { name: "Sky Lounge", roomType: "meeting" };
  const made = await server.ok("createRoom", { token: olga, body, headers: { "X-Request-Id": "first" } });
  // Earlier by the clock, but written later: entries are in the order of writing.
  server.clock.set("2026-03-01T10:00:00.000Z");
  const change = { params: { roomId: made.id }, body: { name: "Tea Room" }, headers: { "X-Request-Id": "second" } };
  const renamed = await server.ok("updateRoom", { token: olga, ...change });
  const { items, ...rest } = await list(server);
  assert.deepEqual(rest, { total: 2, page: 1, limit: 50, nextCursor: null });
  const [second, first] = items;
  assert(first && second && second.id > first.id);
  const common = { actor, resource: "room", resourceId: made.id } as const;
  const expected: AuditEntry[] = [
    {
      ...common,
      id: second.id,
      occurredAt: "2026-03-01T10:00:00.000Z",
      operation: "updateRoom",
      before: made,
      after: renamed,
      requestId: "second",
    },
    {
      ...common,
      id: first.id,
      occurredAt: "2026-03-02T10:00:00.000Z",
      operation: "createRoom",
      before: null,
      after: made,
      requestId: "first",
    },
  ];
  assert.deepEqual(items, expected);
});

Deno.test("listAuditLog: change with an API key -> the actor has the key's name", async () => {
  await using server = await sharedServer();
  const { apiKey, key } = await newApiKey(server, { name: "Door displays", scopes: ["rooms:write"] });
  await server.ok("createRoom", { token: key, body: { name: "Sky Lounge", roomType: "meeting" } });
  const { items } = await list(server, { operation: "createRoom", userId: apiKey.userId });
  const me = await server.ok("getMe", { token: key });
  assert.deepEqual(items.map(({ actor }) => actor), [{ userId: apiKey.userId, subject: me.subject, name: me.name }]);
});

Deno.test("listAuditLog: each combination of user, operation, resource and day -> matching entries", async () => {
  await using server = await startServer();
  for (const day of ["2026-03-02", "2026-03-03"]) {
    server.clock.set(`${day}T12:00:00.000Z`);
    for (const subject of ["olga", "otto"]) {
      const token = await server.token(subject, "admin");
      const room = { name: "Sky Lounge", roomType: "meeting" };
      const { id: roomId } = await server.ok("createRoom", { token, body: room });
      await server.ok("updateRoom", { token, params: { roomId }, body: { name: "Tea Room" } });
      const date = "2026-03-09";
      const body = { roomId, startDate: date, endDate: date, slotDuration: 60 };
      await server.ok("generateTimeslots", { token, body });
      const { timeslots } = await server.ok("listFreeTimeslots", { params: { roomId }, query: { date } });
      await server.ok("deleteTimeslot", { token, params: { timeslotId: timeslots[0]?.id } });
    }
  }
  const { items: all } = await list(server);
  assert.equal(all.length, 16);
  const { id: userId } = await server.ok("getMe", { token: await server.token("otto", "admin") });
  // Entries of the first room and of its timeslots have the same resource id.
  const roomId = all.at(-1)?.resourceId;
  const filters: { query: Record<string, unknown>; keeps: (entry: AuditEntry) => boolean; count: number }[] = [
    { query: { userId }, keeps: ({ actor }) => actor.userId === userId, count: 8 },
    { query: { operation: "updateRoom" }, keeps: ({ operation }) => operation === "updateRoom", count: 4 },
    { query: { resource: "room" }, keeps: ({ resource }) => resource === "room", count: 8 },
    { query: { resourceId: roomId }, keeps: ({ resourceId }) => resourceId === roomId, count: 4 },
    {
      query: { fromDate: "2026-03-03", toDate: "2026-03-03" },
      keeps: (entry) => entry.occurredAt.startsWith("2026-03-03"),
      count: 8,
    },
  ];
  for (let chosen = 0; chosen < 2 ** filters.length; chosen++) {
    const together = filters.filter((_, index) => chosen & (1 << index));
    const query = Object.assign({}, ...together.map((filter) => filter.query));
    const expected = all.filter((entry) => together.every(({ keeps }) => keeps(entry)));
    const envelope = { total: expected.length, page: 1, limit: 50, nextCursor: null };
    assert.deepEqual(await list(server, query), { items: expected, ...envelope });
    const [only, ...others] = together;
    if (only !== undefined && others.length === 0 && only.query.resourceId === undefined) {
      assert.equal(expected.length, only.count, JSON.stringify(query));
    }
  }
  const ofRoom = await list(server, { resource: "room", resourceId: roomId });
  assert.deepEqual(ofRoom.items.map(({ operation }) => operation), ["updateRoom", "createRoom"]);
  const ofTimeslots = await list(server, { resource: "timeslots", resourceId: roomId });
  assert.deepEqual(ofTimeslots.items.map(({ operation }) => operation), ["generateTimeslots"]);
  const none = [{ userId: Number.MAX_SAFE_INTEGER }, { operation: "retryRefund" }, { resource: "clock" }];
  for (const query of none) assert.equal((await list(server, query)).total, 0);
});

for (
  const { DEFAULT_TIME_ZONE, dayStarts, dayEnds } of [
    { DEFAULT_TIME_ZONE: "UTC", dayStarts: "2026-03-08T00:00:00.000Z", dayEnds: "2026-03-09T00:00:00.000Z" },
    // The clocks go forward in New York on that day, so it has 23 hours.
    {
      DEFAULT_TIME_ZONE: "America/New_York",
      dayStarts: "2026-03-08T05:00:00.000Z",
      dayEnds: "2026-03-09T04:00:00.000Z",
    },
  ]
) {
  Deno.test(`listAuditLog: dates, default time zone ${DEFAULT_TIME_ZONE} -> calendar days there, both included`, async () => {
    await using server = await sharedServer({ env: { DEFAULT_TIME_ZONE } });
    const before = (instant: string) => new Date(Date.parse(instant) - 1).toISOString();
    const changed = [before(dayStarts), dayStarts, before(dayEnds), dayEnds];
    await changeAt(server, changed);
    const day = "2026-03-08";
    assert.deepEqual(await occurredAt(server, { fromDate: day, toDate: day }), changed.slice(1, 3));
    assert.deepEqual(await occurredAt(server, { fromDate: day }), changed.slice(1));
    assert.deepEqual(await occurredAt(server, { toDate: day }), changed.slice(0, 3));
    assert.deepEqual(await occurredAt(server, { fromDate: dayStarts, toDate: before(dayEnds) }), changed.slice(1, 3));
    assert.deepEqual(await occurredAt(server, { fromDate: "1900-01-01", toDate: "9999-12-31" }), changed);
  });
}

Deno.test("listAuditLog: range that ends before it starts -> 400 invalid_date_range", async (t) => {
  await using server = await sharedServer({ env: { DEFAULT_TIME_ZONE: "America/New_York" } });
  const token = await server.token("admin", "admin");
  const ranges = [
    ["2026-03-10", "2026-03-09"],
    ["2026-03-09T10:00:00", "2026-03-09T09:59:59"],
    ["2026-03-09T10:00:00Z", "2026-03-09T11:30:00+02:00"],
    // The day starts at 04:00 UTC in New York.
    ["2026-03-09", "2026-03-09T03:59:59Z"],
  ];
  for (const [fromDate, toDate] of ranges) {
    await t.step(`${fromDate} to ${toDate}`, async () => {
      const query = { fromDate, toDate };
      assert.equal((await server.refused("invalid_date_range", "listAuditLog", { token, query })).status, 400);
    });
  }
  assert.deepEqual(await occurredAt(server, { fromDate: "2026-03-09", toDate: "2026-03-09T04:00:00Z" }), []);
});

Deno.test("listAuditLog: invalid filter or page -> 400 validation_failed with its name", async () => {
  await using server = await sharedServer();
  const token = await server.token("admin", "admin");
  const wrong = {
    resource: "rooms",
    userId: 0,
    resourceId: "x",
    operation: "updateroom",
    fromDate: "2026-02-30",
    page: 0,
  };
  for (const [path, value] of Object.entries(wrong)) {
    const { errors } = await server.refused("validation_failed", "listAuditLog", { token, query: { [path]: value } });
    assert.deepEqual(errors?.map((error) => `${error.in}.${error.path}`), [`query.${path}`]);
  }
});

Deno.test("listAuditLog: 105 entries -> pages of at most 100, each entry on one page", async () => {
  await using server = await sharedServer();
  const total = 105;
  const roomIds: (number | null)[] = [];
  for (let count = 0; count < total; count++) roomIds.unshift((await newRoom(server)).id);
  const { id: userId } = await server.ok("getMe", { token: await server.token("admin", "admin") });
  const page = async (query: Record<string, unknown>) => {
    const { items, nextCursor: _, ...rest } = await list(server, { userId, ...query });
    return { roomIds: items.map(({ resourceId }) => resourceId), ...rest };
  };
  assert.deepEqual(await page({}), { roomIds: roomIds.slice(0, 50), total, page: 1, limit: 50 });
  assert.deepEqual(await page({ page: 3 }), { roomIds: roomIds.slice(100), total, page: 3, limit: 50 });
  assert.deepEqual(await page({ limit: 500 }), { roomIds: roomIds.slice(0, 100), total, page: 1, limit: 100 });
  assert.deepEqual(await page({ limit: 500, page: 2 }), { roomIds: roomIds.slice(100), total, page: 2, limit: 100 });
  assert.deepEqual(await page({ limit: 7, page: 99 }), { roomIds: [], total, page: 99, limit: 7 });
});

Deno.test("listAuditLog: user, or API key with every scope -> 403 admin_required", async () => {
  await using server = await sharedServer();
  await newTimeslots(server, await newRoom(server), { date: "2026-03-09" });
  const { key } = await newApiKey(server);
  for (const token of [await server.token("alice"), key]) {
    assert.equal((await server.refused("admin_required", "listAuditLog", { token })).status, 403);
  }
  await server.refused("token_missing", "listAuditLog");
});
