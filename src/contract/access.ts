/** Who may call which operation. */
import { ApiKeyScope } from "../../generated/contract.ts";
import { Problem } from "./problems.ts";
import type { Caller } from "./caller.ts";

/** What the contract's `security` says of an operation. */
export interface OperationAccess {
  access: "public" | "user" | "admin";
  /** The scope that a key needs, `"any"` when each key will do, null when none may. */
  scope: string | null;
}

/** Each of the scopes once, in the order of the contract. One that this server does not know lets nobody do anything. */
export function toScopes(texts: readonly string[]): ApiKeyScope[] {
  return ApiKeyScope.options.filter((scope) => texts.includes(scope));
}

/** @throws {Problem} `admin_required`, or `scope_missing` for an API key that was not given the operation's scope. */
export function assertMay({ role, apiKey }: Caller, { access, scope }: OperationAccess): void {
  if (access === "public") return;
  if (apiKey === undefined) {
    if (access === "admin" && role !== "admin") throw new Problem("admin_required", "Only an admin may do this.");
    return;
  }
  if (scope === "any") return;
  if (scope === null) {
    throw new Problem("admin_required", "Only an admin may do this, with a token of their own, not an API key.");
  }
  if (!apiKey.scopes.some((each) => each === scope)) {
    const has = apiKey.scopes.join(", ");
    throw new Problem("scope_missing", `This takes an API key with the scope ${scope}. Yours has ${has}.`);
  }
}
