/** Reads the access of an operation, and derives the problems that it can answer. */
import { fail, isNode, type Json, text } from "./nodes.ts";

/** The access of an operation, from its `security` in the contract. */
export interface Security {
  access: "public" | "user" | "admin";
  /** The scope that an API key needs. `any` accepts every key, null none. */
  scope: string | null;
  /** Whether a ticket is accepted instead of a token. */
  takesTicket: boolean;
}

/** Reads `security`: empty, or a token with a role, optionally an API key with a scope, optionally a ticket. */
export function securityOf(written: Json | undefined, scopes: Json[], where: string): Security {
  const refuse = () =>
    fail(
      where,
      "security must be [] for public, or a list of `bearer: [user]` or `bearer: [admin]`, then maybe `apiKey: [scope]` " +
        "or `apiKey: []` for any key, then maybe `ticket: []`",
    );
  if (!Array.isArray(written)) return refuse();
  const ways = written.map((way) => isNode(way) ? Object.entries(way) : []);
  if (ways.some((way) => way.length !== 1)) refuse();
  const [bearer, ...others] = ways.flat();
  if (bearer === undefined) return { access: "public", scope: null, takesTicket: false };
  const access = { 'bearer["user"]': "user", 'bearer["admin"]': "admin" } as const;
  const role = Object.entries(access).find(([way]) => way === bearer[0] + text(bearer[1]))?.[1] ?? refuse();

  const ticket = others.at(-1)?.[0] === "ticket" ? others.pop() : undefined;
  if (ticket !== undefined && text(ticket[1]) !== "[]") refuse();
  const [apiKey, ...unknown] = others;
  if (unknown.length > 0 || apiKey !== undefined && apiKey[0] !== "apiKey") refuse();
  const [scope, ...more] = Array.isArray(apiKey?.[1]) ? apiKey[1] : [];
  if (more.length > 0 || scope !== undefined && !scopes.includes(scope)) refuse();
  return {
    access: role,
    scope: apiKey === undefined ? null : scope === undefined ? "any" : String(scope),
    takesTicket: ticket !== undefined,
  };
}

/** The body of an operation: JSON that is validated, or the raw text, because its signature covers it. */
export type BodyKind = "none" | "json" | "raw";

/** The properties of an operation that decide its common problems. */
export interface OperationKind extends Pick<Security, "access" | "scope"> {
  bodyKind: BodyKind;
  /** The class of its rate limit, or `none`. */
  rateLimit: string;
  /** Its class, or `none`. */
  concurrencyLimit: string;
  takesIdempotencyKey: boolean;
  takesIfMatch: boolean;
}

/** Returns the problem codes that every operation of this kind can answer. */
export function impliedProblems(kind: OperationKind): string[] {
  const { access, scope, bodyKind, rateLimit, concurrencyLimit, takesIdempotencyKey, takesIfMatch } = kind;
  return [
    "validation_failed",
    "internal_error",
    ...(access === "public" ? [] : ["token_missing", "token_invalid", "token_expired", "service_unavailable"]),
    ...(access === "admin" ? ["admin_required"] : []),
    ...(scope === null || scope === "any" ? [] : ["scope_missing"]),
    ...(bodyKind === "none" ? [] : ["malformed_json", "body_too_large", "request_timeout"]),
    ...(bodyKind === "json" ? ["unsupported_media_type"] : []),
    ...(rateLimit === "none" ? [] : ["rate_limited"]),
    ...(concurrencyLimit === "none" ? [] : ["service_unavailable"]),
    ...(takesIdempotencyKey ? ["idempotency_in_progress", "idempotency_key_reused"] : []),
    ...(takesIfMatch ? ["precondition_failed"] : []),
  ];
}
