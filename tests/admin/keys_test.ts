/** `deno task admin keys`. */
import assert from "node:assert/strict";
import { admin, adminJson, assertFits, lines } from "../support/admin.ts";
import { startServer } from "../support/server.ts";

Deno.test("admin keys: create, list and revoke -> key shown once that works until revoked", async () => {
  await using server = await startServer();
  const token = await server.token("admin", "admin");
  assert.deepEqual(await admin(server, "keys create --scopes bookings:read,events:read", "--name", "Door displays"), {
    code: 0,
    stdout: lines(
      "API key 1 was created.",
      "name    Door displays",
      "scopes  bookings:read, events:read",
      "works   until revoked",
      "",
      "  slk_prefix12_key",
      "",
    ),
    stderr: lines("Store the key now: it is not shown again."),
  });
  const options =
    "keys create --name Reports --scopes stats:read --scopes rooms:write --expires 2127-01-01T00:00:00+02:00";
  const created = await adminJson(server, options) as { key: string };
  assert.deepEqual((await server.ok("getMe", { token: created.key })).scopes, ["rooms:write", "stats:read"]);

  const refusal = "There is no terminal to ask on: give --yes. See deno task admin keys revoke --help";
  assert.deepEqual(await admin(server, "keys revoke 1"), { code: 2, stdout: "", stderr: lines(refusal) });
  const revoked = await admin(server, "keys revoke 1 --yes");
  assert.deepEqual(revoked, { code: 0, stdout: lines("API key 1 was revoked."), stderr: "" });

  const { items } = await server.ok("listApiKeys", { token });
  // The database sets this time from its own clock.
  const used = items[0]?.lastUsedAt?.slice(0, 10);
  const listed = await admin(server, "keys list");
  assert.deepEqual(listed, {
    code: 0,
    stdout: lines(
      "id  name           begins with   scopes         last used   works",
      ` 2  Reports        slk_prefix12  rooms:write    ${used}  until 2126-12-31`,
      "                                 stats:read",
      " 1  Door displays  slk_prefix12  bookings:read  never       revoked",
      "                                 events:read",
    ),
    stderr: lines("2 API keys. Days are in UTC."),
  });
  assertFits(listed.stdout);
  assert.deepEqual(await adminJson(server, "keys list"), items);
  assert.deepEqual(await adminJson(server, "keys revoke 2 --yes"), { message: "API key revoked" });
  const unknown = await admin(server, "keys create --name Door --scopes doors:open");
  assert.equal(unknown.code, 1);
  assert.match(unknown.stderr, /^ {2}scopes\.0: must be one of rooms:write, .+, events:read$/m);
});
