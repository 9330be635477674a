import assert from "node:assert/strict";
import { newApiKey, revoke } from "../support/api_keys.ts";
import { sharedServer, startServer } from "../support/server.ts";

Deno.test("listApiKeys: active, revoked and expired keys -> all, newest first, without the secrets", async () => {
  await using server = await startServer();
  const token = await server.token("admin", "admin");
  assert.deepEqual(await server.ok("listApiKeys", { token }), {
    items: [],
    total: 0,
    page: 1,
    limit: 50,
    nextCursor: null,
  });

  const first = await newApiKey(server, { name: "First", scopes: ["bookings:read"] });
  const second = await newApiKey(server, { name: "Second", expiresAt: new Date(Date.now() + 3_600_000).toISOString() });
  await revoke(server, first.apiKey);
  await server.db.updateTable("api_keys").set({ expires_at: new Date(0) }).where("id", "=", second.apiKey.id).execute();

  const { items, total } = await server.ok("listApiKeys", { token });
  assert.equal(total, 2);
  const revokedAt = items[1]?.revokedAt;
  assert(typeof revokedAt === "string" && Date.parse(revokedAt) <= Date.now());
  assert.deepEqual(items, [
    { ...second.apiKey, expiresAt: "1970-01-01T00:00:00.000Z" },
    { ...first.apiKey, revokedAt },
  ]);
  for (const { key } of [first, second]) assert(!JSON.stringify(items).includes(key.slice(13)));
});

Deno.test("listApiKeys: page and limit -> that page, at most 100 keys", async () => {
  await using server = await startServer();
  const token = await server.token("admin", "admin");
  const ids: number[] = [];
  for (let count = 0; count < 5; count++) ids.unshift((await newApiKey(server)).apiKey.id);
  const page = async (query: Record<string, number>) => {
    const { items, nextCursor: _, ...rest } = await server.ok("listApiKeys", { token, query });
    return { ids: items.map(({ id }) => id), ...rest };
  };
  assert.deepEqual(await page({ limit: 2 }), { ids: ids.slice(0, 2), total: 5, page: 1, limit: 2 });
  assert.deepEqual(await page({ limit: 2, page: 3 }), { ids: ids.slice(4), total: 5, page: 3, limit: 2 });
  assert.deepEqual(await page({ limit: 2, page: 9 }), { ids: [], total: 5, page: 9, limit: 2 });
  assert.deepEqual(await page({ limit: 1_000 }), { ids, total: 5, page: 1, limit: 100 });
});

Deno.test("listApiKeys: user or API key -> 403 admin_required", async () => {
  await using server = await sharedServer();
  const { key } = await newApiKey(server);
  for (const token of [await server.token("alice"), key]) {
    await server.refused("admin_required", "listApiKeys", { token });
  }
});
