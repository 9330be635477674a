import assert from "node:assert/strict";
import { mintToken, type TokenRequest } from "../../src/auth/tokens.ts";
import { parseConfig } from "../../src/config.ts";
import { newBooking, newRoomWithTimeslot } from "../support/builders.ts";
import { startServer, testSecret } from "../support/server.ts";

/** A token that may tell a name and an address too. Two of different lifetime are never the same text. */
function tokenFor(claims: Partial<TokenRequest> & { subject: string }): Promise<string> {
  return mintToken(parseConfig({ AUTH_JWT_SECRET: testSecret }).auth, {
    role: "user",
    lifetimeSeconds: 3_600,
    ...claims,
  });
}

Deno.test("getMe answers who the token says the caller is", async () => {
  await using server = await startServer();
  const alice = { subject: "alice", name: "Alice Example", email: "alice@example.com" };
  const me = await server.ok("getMe", { token: await tokenFor(alice) });
  assert.deepEqual(me, { id: me.id, role: "user", ...alice });
});

Deno.test("getMe answers null for a name and an address that no token told", async () => {
  await using server = await startServer();
  const me = await server.ok("getMe", { token: await tokenFor({ subject: "alice" }) });
  assert.deepEqual(me, { id: me.id, subject: "alice", role: "user", name: null, email: null });
});

Deno.test("getMe takes a new name over, and keeps what is known when a token tells nothing", async () => {
  await using server = await startServer();
  const first = { subject: "alice", name: "Alice Example", email: "alice@example.com" };
  const { id } = await server.ok("getMe", { token: await tokenFor(first) });
  const renamed = await server.ok("getMe", { token: await tokenFor({ subject: "alice", name: "Alice Other" }) });
  assert.deepEqual(renamed, { id, role: "user", ...first, name: "Alice Other" });
  const silent = await server.ok("getMe", { token: await tokenFor({ subject: "alice" }) });
  assert.deepEqual(silent, renamed);
});

Deno.test("getMe gives a subject one id for good, whatever its role, and that id is the userId of its bookings", async () => {
  await using server = await startServer();
  const { timeslot } = await newRoomWithTimeslot(server);
  const { userId } = await newBooking(server, "alice", timeslot);
  const user = await server.ok("getMe", { token: await tokenFor({ subject: "alice" }) });
  const admin = await server.ok("getMe", { token: await tokenFor({ subject: "alice", role: "admin" }) });
  assert.deepEqual([user.id, user.role], [userId, "user"]);
  assert.deepEqual([admin.id, admin.role], [userId, "admin"]);
});

Deno.test("getMe gives each subject an id of its own, letter by letter", async () => {
  await using server = await startServer();
  const subjects = ["alice", "Alice", "alice ", "älice", "auth0|42", "42"];
  const ids = new Set<number>();
  for (const subject of subjects) {
    const me = await server.ok("getMe", { token: await tokenFor({ subject }) });
    assert.equal(me.subject, subject);
    ids.add(me.id);
  }
  assert.equal(ids.size, subjects.length);
});

Deno.test("getMe answers first calls of a subject that arrive together with one id", async () => {
  await using server = await startServer({ pool: 8 });
  const calls = Array.from({ length: 20 }, async (_, index) => {
    return await server.ok("getMe", { token: await tokenFor({ subject: "alice", lifetimeSeconds: 3_600 + index }) });
  });
  const ids = new Set((await Promise.all(calls)).map(({ id }) => id));
  assert.equal(ids.size, 1);
  assert.equal((await server.db.selectFrom("users").select("id").execute()).length, 1);
});
