import assert from "node:assert/strict";
import { newBooking, newRoomWithTimeslot } from "../support/builders.ts";
import { startServer, type TestServer } from "../support/server.ts";
import { openSocket } from "../support/socket.ts";
import type { Role } from "../../src/contract/caller.ts";

async function newTicket(server: TestServer, subject: string, role: Role = "user"): Promise<string> {
  return (await server.ok("createSocketTicket", { token: await server.token(subject, role) })).ticket;
}

Deno.test("createSocketTicket gives a ticket that opens a socket of the same user", async () => {
  await using server = await startServer();
  const { timeslot } = await newRoomWithTimeslot(server);
  await newTicket(server, "bob");
  const { id } = await server.ok("getMe", { token: await server.token("alice") });
  await using socket = await openSocket(server, { query: `?ticket=${await newTicket(server, "alice")}` });
  socket.send({ action: "join_booking_room" });
  assert.equal((await socket.expect("joined")).userId, id);
  const booking = await newBooking(server, "alice", timeslot);
  assert.deepEqual((await socket.expect("booking_update")).data, { type: "created", booking });
});

Deno.test("createSocketTicket carries the caller's role over: only an admin's ticket may join all", async () => {
  await using server = await startServer();
  await using admin = await openSocket(server, { query: `?ticket=${await newTicket(server, "ada", "admin")}` });
  admin.send({ action: "join_booking_room", userId: "all" });
  assert.equal((await admin.expect("joined")).userId, "all");
  // The same person, this time with a token that makes no admin of her.
  await using user = await openSocket(server, { query: `?ticket=${await newTicket(server, "ada")}` });
  user.send({ action: "join_booking_room", userId: "all" });
  assert.equal((await user.expect("error")).code, "forbidden");
});

Deno.test("createSocketTicket stores a hash of the ticket, from which nobody gets in", async () => {
  await using server = await startServer();
  const ticket = await newTicket(server, "alice");
  const rows = await server.db.selectFrom("socket_tickets").selectAll().execute();
  assert.equal(rows.length, 1);
  assert(!JSON.stringify(rows).includes(ticket));
  const digest = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(ticket));
  const hash = rows[0]?.hash ?? "";
  assert.equal(hash, new Uint8Array(digest).toHex());
  await server.refused("ticket_invalid", "openSocket", { query: { ticket: hash } });
  assert(!server.logged.some((line) => line.includes(ticket)), "a ticket is nothing for the log");
});

Deno.test("createSocketTicket gives each time another ticket, for 30 seconds of the machine's time", async () => {
  // The domain's clock has no say, as it has none for tokens.
  await using server = await startServer({ now: "2020-01-01T00:00:00.000Z" });
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

Deno.test("createSocketTicket takes no ticket in the place of a token", async () => {
  await using server = await startServer();
  const query = { ticket: await newTicket(server, "alice") };
  for (const id of ["createSocketTicket", "getMe", "listEvents"] as const) {
    // A parameter that the operation does not know is none of its own.
    const { status } = await server.refused("token_missing", id, { query });
    assert.equal(status, 401);
  }
});

Deno.test("tickets that nobody used in time are swept away, others stay", async () => {
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
