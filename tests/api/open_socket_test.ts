import assert from "node:assert/strict";
import { operations, Problem, type ProblemCode } from "../../generated/contract.ts";
import { mintToken } from "../../src/auth/tokens.ts";
import { parseConfig } from "../../src/config.ts";
import { machineTimeAt } from "../support/machine_time.ts";
import { eventually } from "../support/process.ts";
import { sharedServer, startServer, testSecret, type TestServer } from "../support/server.ts";
import { handshake, openSocket, type TestSocket } from "../support/socket.ts";

type Request = Parameters<typeof handshake>[1];

/** The status of a raw handshake, whose connection is closed then. */
async function statusOf(server: TestServer, request: Request): Promise<number> {
  using answer = await handshake(server, request);
  return answer.status;
}

/** Fails unless a raw handshake is refused with this code, as an operation refuses. Returns the headers. */
async function assertRefused(server: TestServer, code: ProblemCode, request: Request): Promise<Headers> {
  using answer = await handshake(server, request);
  const { headers, status, body } = answer;
  assert(status >= 400, `${JSON.stringify(request)} is answered ${status}`);
  assert.equal(headers.get("Content-Type"), "application/problem+json", body);
  const problem = Problem.parse(JSON.parse(body));
  assert.deepEqual([problem.code, problem.status], [code, status], `${JSON.stringify(request)}: ${body}`);
  const declared: readonly ProblemCode[] = operations.openSocket.problems;
  assert(declared.includes(code));
  return headers;
}

async function newTicket(server: TestServer, subject: string): Promise<string> {
  return (await server.ok("createSocketTicket", { token: await server.token(subject) })).ticket;
}

/** Whether it answers a ping. */
async function isUsable(socket: TestSocket): Promise<boolean> {
  socket.send({ action: "ping" });
  return (await socket.next()).event === "pong";
}

Deno.test("openSocket: handshake without a token, or with an invalid or expired one -> 401", async () => {
  await using server = await sharedServer();
  const headers = await assertRefused(server, "token_missing", {});
  assert.equal(headers.get("WWW-Authenticate"), "Bearer");
  await assertRefused(server, "token_invalid", { token: "made.up.token" });
  await assertRefused(server, "token_missing", { headers: { Authorization: "Basic YWxpY2U6c2VjcmV0" } });
  // URLs are logged, so a token in the URL is ignored.
  await assertRefused(server, "token_missing", { query: `?token=${await server.token("alice")}` });
  const expired = await mintToken(parseConfig({ AUTH_JWT_SECRET: testSecret }).auth, {
    subject: "alice",
    role: "user",
    lifetimeSeconds: -1,
  });
  await assertRefused(server, "token_expired", { token: expired });
});

Deno.test("openSocket: no Origin, own or allowed origin -> open", async () => {
  const env = { CORS_ORIGINS: "https://app.example,http://localhost:3000", PUBLIC_URL: "https://booking.example/base" };
  await using server = await sharedServer({ env });
  const token = await server.token("alice");
  const own = [server.url, "https://app.example", "http://localhost:3000", "https://booking.example"];
  for (const Origin of [null, ...own]) {
    assert.equal(await statusOf(server, { token, headers: { Origin } }), 101, `Origin: ${Origin}`);
  }
});

Deno.test("openSocket: any other Origin -> 403 origin_not_allowed", async () => {
  const env = { CORS_ORIGINS: "https://app.example", PUBLIC_URL: "https://booking.example" };
  await using server = await sharedServer({ env });
  const { hostname, port } = new URL(server.url);
  const foreign = [
    "https://evil.example",
    "null",
    "",
    "garbage",
    `http://localhost:${port}`,
    `http://${hostname}:${Number(port) - 1}`,
    `http://${hostname}`,
    "http://app.example",
    "https://app.example:444",
    "https://www.app.example",
    "https://app.example.evil.example",
    "https://booking.example:8443",
    "http://booking.example",
    "https://app.example, https://evil.example",
  ];
  for (const Origin of foreign) {
    const token = await server.token("alice");
    await assertRefused(server, "origin_not_allowed", { token, headers: { Origin } });
    const ticket = await newTicket(server, "alice");
    await assertRefused(server, "origin_not_allowed", { query: `?ticket=${ticket}`, headers: { Origin } });
  }
  const call = { token: await server.token("alice"), headers: { Origin: "https://evil.example" } };
  await server.refused("origin_not_allowed", "openSocket", call);
});

Deno.test("openSocket: used, expired or unknown ticket -> 401 ticket_invalid", async () => {
  await using server = await sharedServer();
  const used = await newTicket(server, "alice");
  assert.equal(await statusOf(server, { query: `?ticket=${used}` }), 101);
  const expired = await newTicket(server, "alice");
  // The used ticket has no row any more, so this is the only one of alice.
  const { id: userId } = await server.ok("getMe", { token: await server.token("alice") });
  const expiry = server.db.updateTable("socket_tickets").set({ expires_at: new Date() }).where("user_id", "=", userId);
  assert.equal((await expiry.executeTakeFirstOrThrow()).numUpdatedRows, 1n);
  for (const ticket of [used, expired, `${await newTicket(server, "alice")}x`, "made up", ""]) {
    await assertRefused(server, "ticket_invalid", { query: `?ticket=${encodeURIComponent(ticket)}` });
    await server.refused("ticket_invalid", "openSocket", { query: { ticket } });
  }
});

Deno.test("openSocket: token and ticket -> the token counts, the ticket stays valid", async () => {
  await using server = await sharedServer();
  const query = `?ticket=${await newTicket(server, "alice")}`;
  await assertRefused(server, "token_invalid", { query, token: "made.up.token" });
  assert.equal(await statusOf(server, { query }), 101);
});

Deno.test("openSocket: 20 handshakes with one ticket at once -> one 101, others 401", async () => {
  await using server = await startServer({ pool: 10 });
  const query = `?ticket=${await newTicket(server, "alice")}`;
  const statuses = await Promise.all(Array.from({ length: 20 }, () => statusOf(server, { query })));
  assert.deepEqual(statuses.toSorted(), [101, ...Array<number>(19).fill(401)]);
});

Deno.test("openSocket: no upgrade to WebSocket -> 426 upgrade_required with Upgrade", async () => {
  await using server = await sharedServer();
  const token = await server.token("alice");
  const { headers, status } = await server.call("openSocket", { token });
  assert.deepEqual([status, headers.get("Upgrade")], [426, "websocket"]);
  await server.refused("upgrade_required", "openSocket", { token });
  await assertRefused(server, "upgrade_required", { token, headers: { Upgrade: "h2c" } });
});

Deno.test("openSocket: incomplete handshake -> 426 upgrade_required, the server stays up", async () => {
  await using server = await sharedServer();
  const token = await server.token("alice");
  const broken: Record<string, string | null>[] = [
    { "Sec-WebSocket-Key": null },
    { "Sec-WebSocket-Key": null, "Sec-WebSocket-Version": null },
    { Connection: null },
    { Connection: "keep-alive" },
  ];
  for (const headers of broken) await assertRefused(server, "upgrade_required", { token, headers });
  await using socket = await openSocket(server, { token });
  assert(await isUsable(socket));
  assert(!server.logged.some((line) => line.includes("request failed")));
});

Deno.test("openSocket: token expires, used directly or for a ticket -> closed with 4401", async () => {
  await using server = await sharedServer();
  const { auth } = parseConfig({ AUTH_JWT_SECRET: testSecret });
  const token = await mintToken(auth, { subject: "alice", role: "user", lifetimeSeconds: 600 });
  const { ticket } = await server.ok("createSocketTicket", { token });
  const sockets = [await openSocket(server, { token }), await openSocket(server, { query: `?ticket=${ticket}` })];
  await using other = await openSocket(server, { token: await server.token("alice") });
  for (const socket of sockets) assert(await isUsable(socket));
  using _expired = machineTimeAt(Date.now() + 600_000);
  for (const socket of sockets) {
    assert.deepEqual(await socket.closed, { code: 4401, reason: "The token has expired" });
  }
  assert(await isUsable(other), "a socket with another token of the same user stays");
});

Deno.test("openSocket: over the limit of the user -> 429 too_many_sockets, of the server -> 503 service_unavailable", async () => {
  await using server = await startServer({ socketLimits: { perUser: 2, total: 3 } });
  const [alice, bob] = [await server.token("alice"), await server.token("bob")];
  await using first = await openSocket(server, { token: alice });
  await using second = await openSocket(server, { query: `?ticket=${await newTicket(server, "alice")}` });
  await assertRefused(server, "too_many_sockets", { token: alice });
  await using third = await openSocket(server, { token: bob });
  const headers = await assertRefused(server, "service_unavailable", { token: bob });
  assert.equal(headers.get("Retry-After"), "5");

  first.close();
  await first.closed;
  await eventually(async () => await statusOf(server, { token: alice }) === 101);
  for (const socket of [second, third]) assert(await isUsable(socket), "open sockets stay open");
});

Deno.test("openSocket: 50 at once of one user, limit 5 -> 5 stay open, others are closed with 1013", async () => {
  await using server = await startServer({ socketLimits: { perUser: 5, total: 100 } });
  const token = await server.token("alice");
  const attempts = await Promise.allSettled(Array.from({ length: 50 }, () => openSocket(server, { token })));
  const opened = attempts.flatMap((attempt) => attempt.status === "fulfilled" ? [attempt.value] : []);
  const alive = await Promise.all(opened.map((socket) => isUsable(socket).catch(() => false)));
  assert.equal(alive.filter(Boolean).length, 5);
  for (const [index, socket] of opened.entries()) {
    if (!alive[index]) assert.equal((await socket.closed).code, 1013);
    await socket[Symbol.asyncDispose]();
  }
});

Deno.test("openSocket: 50 users at once, limit 10 -> 10 stay open", async () => {
  await using server = await startServer({ socketLimits: { perUser: 5, total: 10 } });
  const tokens = await Promise.all(Array.from({ length: 50 }, (_, index) => server.token(`user ${index}`)));
  const attempts = await Promise.allSettled(tokens.map((token) => openSocket(server, { token })));
  const opened = attempts.flatMap((attempt) => attempt.status === "fulfilled" ? [attempt.value] : []);
  const alive = await Promise.all(opened.map((socket) => isUsable(socket).catch(() => false)));
  for (const socket of opened) await socket[Symbol.asyncDispose]();
  assert.equal(alive.filter(Boolean).length, 10);
});
