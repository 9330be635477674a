/** Sends the requests of the reference as it fills them in. tests/long/docs_test.ts sends them in a browser. */
import assert from "node:assert/strict";
import { operations } from "../../generated/contract.ts";
import { parseConfig } from "../../src/config.ts";
import { fillInDemo } from "../../src/sandbox/demo.ts";
import { runs } from "../support/properties.ts";
import { type FilledIn, readReference, refusals } from "../support/reference.ts";
import { startServer, type TestServer } from "../support/server.ts";

const env = { PAYMENT_PROVIDER: "sandbox", MAX_PENDING_BOOKINGS: "5" };

/** A sandbox as `deno task start` makes it. */
async function startSandbox(now: string): Promise<TestServer> {
  const server = await startServer({ env, now, docsSubject: "demo-user" });
  await fillInDemo({ ...server, config: parseConfig({}) });
  return server;
}

async function send(
  server: TestServer,
  { method, target, body, scheme }: FilledIn,
): Promise<{ status: number; code: string }> {
  const token = scheme === "adminBearer" ? await server.token("admin", "admin") : await server.token("demo-user");
  const answer = await fetch(server.url + target, {
    method,
    headers: {
      ...(scheme === undefined ? {} : { Authorization: `Bearer ${token}` }),
      ...(body === undefined ? {} : { "Content-Type": "application/json" }),
    },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
  const { code = "" } = await answer.json();
  return { status: answer.status, code };
}

/** Sends every request. Returns what each one answered. */
async function sendAll(server: TestServer, requests: FilledIn[]): Promise<Record<string, string>> {
  const answers: Record<string, string> = {};
  for (const request of requests) {
    const { status, code } = await send(server, request);
    const isSuccess = status < 300 && String(status) in operations[request.id].answers;
    answers[request.id] = isSuccess ? "success" : `${status} ${code}`;
  }
  return answers;
}

function expected(requests: FilledIn[], time: "first" | "again"): Record<string, string> {
  return Object.fromEntries(requests.map(({ id }) => [id, refusals[id]?.[time] ?? "success"]));
}

const codes = (answers: Record<string, string>) =>
  Object.fromEntries(Object.entries(answers).map(([id, answer]) => [id, answer.replace(/^\d+ /, "")]));

const days = [
  "2026-03-02T10:00:00.000Z",
  // Midnight in Berlin is near, a Sunday ends, and clocks change in the next days.
  "2027-03-21T22:59:59.000Z",
  "2026-10-24T23:30:00.000Z",
  "2028-02-29T12:00:00.000Z",
  "2031-12-31T23:59:59.000Z",
];

for (const now of days.slice(0, runs(2, days.length))) {
  Deno.test(`reference: each request as filled in at ${now} -> success, again -> success or what has changed`, async () => {
    await using server = await startSandbox(now);
    const requests = await readReference(server.url);
    assert.deepEqual(requests.map(({ id }) => id).sort(), Object.keys(operations).sort());
    assert.deepEqual(codes(await sendAll(server, requests)), expected(requests, "first"));
    assert.deepEqual(codes(await sendAll(server, requests)), expected(requests, "again"));
  });
}

Deno.test("reference: in any order -> success", async () => {
  await using server = await startSandbox("2026-03-02T10:00:00.000Z");
  const requests = await readReference(server.url);
  const reversed = requests.toReversed().filter(({ id }) => id !== "setSandboxClock");
  assert.deepEqual(codes(await sendAll(server, reversed)), expected(reversed, "first"));
});

Deno.test("reference: its timeslots cancelled and withdrawn, loaded again -> success", async () => {
  await using server = await startSandbox("2026-03-02T10:00:00.000Z");
  const { items: rooms } = await server.ok("listRooms");
  const [user, admin] = [await server.token("demo-user"), await server.token("admin", "admin")];
  for (const { id: roomId } of rooms) {
    const { timeslots } = await server.ok("listFreeTimeslots", { params: { roomId }, query: { date: "2026-03-04" } });
    for (const { id: timeslotId } of timeslots) {
      const { booking } = await server.ok("createBooking", { token: user, body: { roomId, timeslotId } });
      await server.ok("cancelBooking", { token: user, params: { bookingId: booking.id } });
      await server.ok("deleteTimeslot", { token: admin, params: { timeslotId } });
    }
  }
  const requests = await readReference(server.url);
  assert.deepEqual(codes(await sendAll(server, requests)), expected(requests, "first"));
});

Deno.test("reference: loaded again after everything was sent, also weeks later -> success", async () => {
  await using server = await startSandbox("2026-03-02T10:00:00.000Z");
  for (const now of ["2026-03-02T10:00:00.000Z", "2026-03-02T12:00:00.000Z", "2026-04-20T07:00:00.000Z"]) {
    server.clock.set(now);
    await server.sweep();
    await server.work();
    const requests = await readReference(server.url);
    const answers = codes(await sendAll(server, requests));
    // The clock of the sandbox is ahead by then.
    assert.deepEqual(answers, expected(requests, "first"), now);
    await sendAll(server, requests);
  }
});

Deno.test("reference: loaded again and again -> no more bookings, keys or rooms", async () => {
  await using server = await startSandbox("2026-03-02T10:00:00.000Z");
  const token = await server.token("admin", "admin");
  const count = async () => [
    (await server.ok("listAllBookings", { token })).total,
    (await server.ok("listApiKeys", { token })).total,
    (await server.ok("listRooms")).total,
    (await server.ok("listAuditLog", { token })).total,
  ];
  await Promise.all(Array.from({ length: 5 }, () => readReference(server.url)));
  const before = await count();
  await readReference(server.url);
  assert.deepEqual(await count(), before);
});

Deno.test("reference: a currency without fractions -> success", async () => {
  await using server = await startServer({ env, docsSubject: "demo-user" });
  await fillInDemo({ ...server, config: parseConfig({ DEFAULT_CURRENCY: "JPY" }) });
  const requests = await readReference(server.url);
  assert.deepEqual(codes(await sendAll(server, requests)), expected(requests, "first"));
});

Deno.test("reference: no demo data, or another payment provider -> the examples of the contract, and nothing is made", async () => {
  for (const other of [{ DEMO_DATA: "false" }, { PAYMENT_PROVIDER: "none" }]) {
    await using server = await startServer({ env: { ...env, ...other }, docsSubject: "demo-user" });
    const requests = await readReference(server.url);
    assert.equal(requests.find(({ id }) => id === "getBooking")?.target, "/api/v1/bookings/42");
    const { total } = await server.ok("listAllBookings", { token: await server.token("admin", "admin") });
    assert.equal(total, 0);
  }
});

Deno.test("reference: outside the sandbox -> one token for all, dates ahead, nothing optional filled in", async () => {
  const environment = { SANDBOX: "false", PAYMENT_PROVIDER: "none" };
  await using server = await startServer({ env: environment, now: "2026-08-14T10:00:00.000Z" });
  const requests = await readReference(server.url);
  const find = (id: string) => requests.find((request) => request.id === id);
  assert.equal(find("listAvailableRooms")?.target, "/api/v1/bookings/rooms/available?from=2026-08-17&to=2026-08-21");
  assert.equal(find("createRoom")?.scheme, "bearer");
  assert.equal(find("listAllBookings")?.target, "/api/v1/admin/bookings");
});
