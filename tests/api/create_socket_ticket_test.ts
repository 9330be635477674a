import assert from "node:assert/strict";
import { newBooking, newRoomWithTimeslot } from "../support/builders.ts";
import { sharedServer, startServer, type TestServer } from "../support/server.ts";
import { openSocket } from "../support/socket.ts";
import type { Role } from "../../src/contract/caller.ts";

async function newTicket(server: TestServer, subject: string, role: Role = "user"): Promise<string> {
  return (await server.ok("createSocketTicket", { token: await server.token(subject, role) })).ticket;
}

Deno.test("createSocketTicket: ticket -> opens a socket of the same user", async () => {
  await using server = await sharedServer();
  const { timeslot } = await newRoomWithTimeslot(server);
  await newTicket(server, "bob");
  const { id } = await server.ok("getMe", { token: await server.token("alice") });
  await using socket = await openSocket(server, { query: `?ticket=${await newTicket(server, "alice")}` });
  socket.send({ action: "join_booking_room" });
  assert.equal((await socket.expect("joined")).userId, id);
  const booking = await newBooking(server, "alice", timeslot);
  assert.deepEqual((await socket.expect("booking_update")).data, { type: "created", booking });
});

Deno.test("createSocketTicket: user and admin -> only the admin's ticket may join all", async () => {
  await using server = await sharedServer();
  await using admin = await openSocket(server, { query: `?ticket=${await newTicket(server, "ada", "admin")}` });
  admin.send({ action: "join_booking_room", userId: "all" });
  assert.equal((await admin.expect("joined")).userId, "all");
  // The same subject, with a token that has no admin role.
  await using user = await openSocket(server, { query: `?ticket=${await newTicket(server, "ada")}` });
  user.send({ action: "join_booking_room", userId: "all" });
  assert.equal((await user.expect("error")).code, "forbidden");
});

Deno.test("createSocketTicket: ticket -> stored as a hash, which opens no socket", async () => {
  await using server = await sharedServer();
  const ticket = await newTicket(server, "alice");
  const rows = await server.db.selectFrom("socket_tickets").selectAll().execute();
  assert(!JSON.stringify(rows).includes(ticket));
  const digest = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(ticket));
  const hash = new Uint8Array(digest).toHex();
  assert.equal(rows.filter((row) => row.hash === hash).length, 1);
  await server.refused("ticket_invalid", "openSocket", { query: { ticket: hash } });
  assert(!server.logged.some((line) => line.includes(ticket)), "a ticket is never logged");
});

Deno.test("createSocketTicket: called twice -> two tickets, each valid for 30 s of the machine's time", async () => {
  // The domain's clock does not count, as for tokens.
  await using server = await sharedServer({ now: "2020-01-01T00:00:00.000Z" });
  const token = await server.token("alice");
  const before = Date.now();
  const tickets = [await server.ok("createSocketTicket", { token }), await server.ok("createSocketTicket", { token })];
  const after = Date.now();
  for (const { ticket, expiresAt } of tickets) {
    const expiry = new Date(expiresAt).getTime();
    assert(before + 30_000 <= expiry && expiry <= after + 30_000, expiresAt);
    assert(/^[\w-]{43}$/.test(ticket), "256 bits that need no escapes in a URL");
  }
  assert.notEqual(tickets[0]?.ticket, tickets[1]?.ticket);
});

Deno.test("createSocketTicket: ticket instead of a token -> 401 token_missing", async () => {
  await using server = await sharedServer();
  const query = { ticket: await newTicket(server, "alice") };
  for (const id of ["createSocketTicket", "getMe", "listEvents"] as const) {
    // The operation ignores unknown parameters.
    const { status } = await server.refused("token_missing", id, { query });
    assert.equal(status, 401);
  }
});

Deno.test("createSocketTicket: expired ticket -> swept, others stay", async () => {
  await using server = await startServer();
  const token = await server.token("alice");
  await server.ok("createSocketTicket", { token });
  await server.db.updateTable("socket_tickets").set({ expires_at: new Date(0) }).execute();
  const { ticket } = await server.ok("createSocketTicket", { token });
  await server.sweep();
  const left = await server.db.selectFrom("socket_tickets").select("hash").execute();
  assert.equal(left.length, 1);
  await using socket = await openSocket(server, { query: `?ticket=${ticket}` });
  socket.send({ action: "ping" });
  await socket.expect("pong");
});
