/** Access to operations. */
import { ApiKeyScope } from "../../generated/contract.ts";
import type { Caller } from "./caller.ts";
import { Problem } from "./problems.ts";

/** The access to an operation, from the contract's `security`. */
export interface OperationAccess {
  access: "public" | "user" | "admin";
  /** The scope that a key needs. `"any"` allows every key, null allows none. */
  scope: string | null;
}

/** Returns the scopes without duplicates, in the order of the contract. A scope unknown to this server is dropped. */
export function toScopes(texts: readonly string[]): ApiKeyScope[] {
  return ApiKeyScope.options.filter((scope) => texts.includes(scope));
}

/** @throws {Problem} `admin_required`, or `scope_missing` for an API key without the operation's scope. */
export function assertMay({ role, apiKey }: Caller, { access, scope }: OperationAccess): void {
  if (access === "public") return;
  if (apiKey === undefined) {
    if (access === "admin" && role !== "admin") throw new Problem("admin_required", "Only an admin may do this.");
    return;
  }
  if (scope === "any") return;
  if (scope === null) {
    throw new Problem("admin_required", "An API key may not do this. Send the token of an admin.");
  }
  if (!apiKey.scopes.some((each) => each === scope)) {
    const has = apiKey.scopes.join(", ");
    throw new Problem("scope_missing", `This takes an API key with the scope ${scope}. Yours has ${has}.`);
  }
}
