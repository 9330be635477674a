/** The authenticated caller of a request. */
import type { ApiKeyScope } from "../../generated/contract.ts";

/** A role of a token. An API key acts as an admin within its scopes. */
export type Role = "user" | "admin";

/** The caller of an operation. `userId` is our own id and stays the same for a `subject`. */
export interface Caller {
  userId: number;
  /** The `sub` of the token. For an API key, `api-key:` and its prefix. */
  subject: string;
  role: Role;
  name: string | null;
  email: string | null;
  /** Seconds since 1970. The caller may not act after it. */
  expiresAt: number;
  /** The API key of the request and its scopes; undefined for a token. */
  apiKey: { id: number; scopes: ApiKeyScope[] } | undefined;
}
