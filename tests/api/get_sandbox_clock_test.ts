import assert from "node:assert/strict";
import { sharedServer } from "../support/server.ts";

Deno.test("getSandboxClock: before and after setSandboxClock -> the server's time and isMoved", async () => {
  await using server = await sharedServer();
  const token = await server.token("admin", "admin");
  assert.deepEqual(await server.ok("getSandboxClock", { token }), { now: "2026-03-02T10:00:00.000Z", isMoved: false });
  server.clock.set("2026-03-02T10:00:07.250Z");
  assert.deepEqual(await server.ok("getSandboxClock", { token }), { now: "2026-03-02T10:00:07.250Z", isMoved: false });
  await server.ok("setSandboxClock", { token, body: { now: "2026-03-09T08:00:00Z" } });
  assert.deepEqual(await server.ok("getSandboxClock", { token }), { now: "2026-03-09T08:00:00.000Z", isMoved: true });
});

Deno.test("getSandboxClock: admin -> 200, user -> 403 admin_required, no token -> 401 token_missing", async () => {
  await using server = await sharedServer({ env: { PAYMENT_PROVIDER: "sandbox" } });
  await server.ok("getSandboxClock", { token: await server.token("admin", "admin") });
  await server.refused("admin_required", "getSandboxClock", { token: await server.token("alice") });
  await server.refused("token_missing", "getSandboxClock");
});

Deno.test("getSandboxClock: SANDBOX=false -> 404 route_not_found, any method and caller", async () => {
  await using server = await sharedServer({ env: { SANDBOX: "false" } });
  const tokens = [await server.token("admin", "admin"), await server.token("alice"), "not a token", undefined];
  for (const method of ["GET", "PUT", "DELETE", "POST", "OPTIONS"]) {
    for (const token of tokens) {
      const answer = await fetch(`${server.url}/api/v1/sandbox/clock`, {
        method,
        headers: {
          ...(token === undefined ? {} : { Authorization: `Bearer ${token}` }),
          ...(method === "PUT" ? { "Content-Type": "application/json" } : {}),
        },
        ...(method === "PUT" ? { body: JSON.stringify({ now: "2027-01-01T00:00:00Z" }) } : {}),
      });
      assert.equal(answer.status, 404, method);
      assert.equal((await answer.json()).code, "route_not_found", method);
    }
  }
});
