import assert from "node:assert/strict";
import { operations, Problem, type ProblemCode } from "../../generated/contract.ts";
import { mintToken } from "../../src/auth/tokens.ts";
import { parseConfig } from "../../src/config.ts";
import { machineTimeAt } from "../support/machine_time.ts";
import { eventually } from "../support/process.ts";
import { startServer, testSecret, type TestServer } from "../support/server.ts";
import { handshake, openSocket, type TestSocket } from "../support/socket.ts";

type Request = Parameters<typeof handshake>[1];

/** The status of a handshake by hand, which is over then. */
async function statusOf(server: TestServer, request: Request): Promise<number> {
  using answer = await handshake(server, request);
  return answer.status;
}

/** A handshake by hand must be refused with this code, in the way of every operation. */
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

/** Whether it can be written to and answers. */
async function isUsable(socket: TestSocket): Promise<boolean> {
  socket.send({ action: "ping" });
  return (await socket.next()).event === "pong";
}

Deno.test("openSocket answers 401 to a real handshake without a token, or with one that does not work", async () => {
  await using server = await startServer();
  const headers = await assertRefused(server, "token_missing", {});
  assert.equal(headers.get("WWW-Authenticate"), "Bearer");
  await assertRefused(server, "token_invalid", { token: "made.up.token" });
  await assertRefused(server, "token_missing", { headers: { Authorization: "Basic YWxpY2U6c2VjcmV0" } });
  // A token in the URL would end up in logs, so none is taken there.
  await assertRefused(server, "token_missing", { query: `?token=${await server.token("alice")}` });
  const expired = await mintToken(parseConfig({ AUTH_JWT_SECRET: testSecret }).auth, {
    subject: "alice",
    role: "user",
    lifetimeSeconds: -1,
  });
  await assertRefused(server, "token_expired", { token: expired });
});

Deno.test("openSocket lets in programs, and pages of this server and of the origins that are allowed", async () => {
  const env = { CORS_ORIGINS: "https://app.example,http://localhost:3000", PUBLIC_URL: "https://booking.example/base" };
  await using server = await startServer({ env });
  const token = await server.token("alice");
  const own = [server.url, "https://app.example", "http://localhost:3000", "https://booking.example"];
  for (const Origin of [null, ...own]) {
    assert.equal(await statusOf(server, { token, headers: { Origin } }), 101, `Origin: ${Origin}`);
  }
});

Deno.test("openSocket answers 403 origin_not_allowed to pages of any other origin", async () => {
  const env = { CORS_ORIGINS: "https://app.example", PUBLIC_URL: "https://booking.example" };
  await using server = await startServer({ env });
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

Deno.test("openSocket answers 401 ticket_invalid to a ticket that was used, has expired, or never was one", async () => {
  await using server = await startServer();
  const used = await newTicket(server, "alice");
  assert.equal(await statusOf(server, { query: `?ticket=${used}` }), 101);
  const expired = await newTicket(server, "alice");
  await server.db.updateTable("socket_tickets").set({ expires_at: new Date() }).execute();
  for (const ticket of [used, expired, `${await newTicket(server, "alice")}x`, "made up", ""]) {
    await assertRefused(server, "ticket_invalid", { query: `?ticket=${encodeURIComponent(ticket)}` });
    await server.refused("ticket_invalid", "openSocket", { query: { ticket } });
  }
});

Deno.test("openSocket takes the token when there is a ticket too, and leaves the ticket as it is", async () => {
  await using server = await startServer();
  const query = `?ticket=${await newTicket(server, "alice")}`;
  await assertRefused(server, "token_invalid", { query, token: "made.up.token" });
  assert.equal(await statusOf(server, { query }), 101);
});

Deno.test("openSocket lets one of twenty in who redeem the same ticket at once", async () => {
  await using server = await startServer({ pool: 10 });
  const query = `?ticket=${await newTicket(server, "alice")}`;
  const statuses = await Promise.all(Array.from({ length: 20 }, () => statusOf(server, { query })));
  assert.deepEqual(statuses.toSorted(), [101, ...Array<number>(19).fill(401)]);
});

Deno.test("openSocket answers 426 upgrade_required, with what to upgrade to, when no WebSocket is asked for", async () => {
  await using server = await startServer();
  const token = await server.token("alice");
  const { headers, status } = await server.call("openSocket", { token });
  assert.deepEqual([status, headers.get("Upgrade")], [426, "websocket"]);
  await server.refused("upgrade_required", "openSocket", { token });
  await assertRefused(server, "upgrade_required", { token, headers: { Upgrade: "h2c" } });
});

Deno.test("openSocket answers a handshake that is not one with 426, not with a failure, and stays up", async () => {
  await using server = await startServer();
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

Deno.test("openSocket is closed with 4401 when the token expires, be it the one behind a ticket", async () => {
  await using server = await startServer();
  const { auth } = parseConfig({ AUTH_JWT_SECRET: testSecret });
  const token = await mintToken(auth, { subject: "alice", role: "user", lifetimeSeconds: 600 });
  const { ticket } = await server.ok("createSocketTicket", { token });
  const sockets = [await openSocket(server, { token }), await openSocket(server, { query: `?ticket=${ticket}` })];
  await using other = await openSocket(server, { token: await server.token("alice") });
  for (const socket of sockets) assert(await isUsable(socket));
  using _then = machineTimeAt(Date.now() + 600_000);
  for (const socket of sockets) {
    assert.deepEqual(await socket.closed, { code: 4401, reason: "The token has expired" });
  }
  assert(await isUsable(other), "a socket with another token of the same user stays");
});

Deno.test("openSocket answers 429 too_many_sockets to one user and 503 service_unavailable when there is no room", async () => {
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
  for (const socket of [second, third]) assert(await isUsable(socket), "who was in stays in");
});

Deno.test("openSocket keeps no more sockets of a user than allowed, also of fifty opened at once", async () => {
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

Deno.test("openSocket keeps no more sockets in all than allowed, also of fifty users at once", async () => {
  await using server = await startServer({ socketLimits: { perUser: 5, total: 10 } });
  const tokens = await Promise.all(Array.from({ length: 50 }, (_, index) => server.token(`user ${index}`)));
  const attempts = await Promise.allSettled(tokens.map((token) => openSocket(server, { token })));
  const opened = attempts.flatMap((attempt) => attempt.status === "fulfilled" ? [attempt.value] : []);
  const alive = await Promise.all(opened.map((socket) => isUsable(socket).catch(() => false)));
  for (const socket of opened) await socket[Symbol.asyncDispose]();
  assert.equal(alive.filter(Boolean).length, 10);
});
