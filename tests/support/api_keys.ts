/** API keys for tests, created and revoked through the API as an admin does. */
import type { Kysely } from "kysely";
import { type ApiKey, type ApiKeyCreated, ApiKeyScope } from "../../generated/contract.ts";
import { type Authenticator, createAuthenticator } from "../../src/auth/callers.ts";
import { createTokenVerifier } from "../../src/auth/tokens.ts";
import { parseConfig } from "../../src/config.ts";
import type { Database } from "../../src/database/connect.ts";
import { testSecret, type TestServer } from "./server.ts";

/** A key with every scope, unless `fields` say otherwise. */
export async function newApiKey(server: TestServer, fields: Record<string, unknown> = {}): Promise<ApiKeyCreated> {
  const body = { name: "Test key", scopes: ApiKeyScope.options, ...fields };
  return await server.ok("createApiKey", { token: await server.token("admin", "admin"), body });
}

export async function revoke(server: TestServer, { id: apiKeyId }: ApiKey): Promise<void> {
  await server.ok("revokeApiKey", { token: await server.token("admin", "admin"), params: { apiKeyId } });
}

/** The key as listApiKeys returns it. */
export async function findApiKey(server: TestServer, { id }: ApiKey): Promise<ApiKey | undefined> {
  const { items } = await server.ok("listApiKeys", { token: await server.token("admin", "admin") });
  return items.find((each) => each.id === id);
}

/** An authenticator with an empty cache, as in another server. */
export async function newAuthenticator(db: Kysely<Database>): Promise<Authenticator> {
  const { auth } = parseConfig({ AUTH_JWT_SECRET: testSecret });
  return createAuthenticator({ db, verify: await createTokenVerifier(auth) });
}
