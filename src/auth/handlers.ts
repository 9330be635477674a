import type { Handlers } from "../contract/handlers.ts";
import { pageBody, pageRange } from "../contract/pages.ts";
import { listApiKeys } from "./api_key_queries.ts";
import { createApiKey, revokeApiKey, toApiKey } from "./api_keys.ts";

type AuthOperations = "getMe" | "listApiKeys" | "createApiKey" | "revokeApiKey";

export const authHandlers: Pick<Handlers, AuthOperations> = {
  getMe({ caller }) {
    const { userId: id, subject, role, apiKey, name, email } = caller;
    return Promise.resolve({ status: 200, body: { id, subject, role, scopes: apiKey?.scopes ?? null, name, email } });
  },

  async listApiKeys({ query }, { db }) {
    const found = await listApiKeys(db, pageRange("id", query));
    return { status: 200, body: pageBody(found, query, { order: "id", toItem: toApiKey, valueOf: () => null }) };
  },

  async createApiKey({ caller, body }, scope) {
    return { status: 201, body: await createApiKey(scope, caller, body) };
  },

  async revokeApiKey({ params: { apiKeyId } }, scope) {
    await revokeApiKey(scope, apiKeyId);
    return { status: 200, body: { message: "API key revoked" } };
  },
};
