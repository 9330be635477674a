/** Who may call an operation, and what it can therefore refuse. */
import { fail, isNode, type Json, text } from "./nodes.ts";

/** What the contract's `security` of an operation says. */
export interface Security {
  access: "public" | "user" | "admin";
  /** The scope that an API key needs; `any` when each key will do, null when none does. */
  scope: string | null;
  /** Whether a ticket of the same user stands in for the token. */
  takesTicket: boolean;
}

/** Reads `security`: an empty list, or a token with a role, then an API key with a scope, then a ticket. */
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

/** How an operation takes its body: as JSON that its schema is checked against, or as it came, for its signature. */
export type BodyKind = "none" | "json" | "raw";

/** What decides about the refusals of an operation, whatever it does. */
export interface OperationKind extends Pick<Security, "access" | "scope"> {
  bodyKind: BodyKind;
  /** Its class, or `none`. */
  rateLimit: string;
  takesIdempotencyKey: boolean;
  takesIfMatch: boolean;
}

/** What every operation of its kind can answer. */
export function impliedProblems(kind: OperationKind): string[] {
  const { access, scope, bodyKind, rateLimit, takesIdempotencyKey, takesIfMatch } = kind;
  return [
    "validation_failed",
    "internal_error",
    ...(access === "public" ? [] : ["token_missing", "token_invalid", "token_expired", "service_unavailable"]),
    ...(access === "admin" ? ["admin_required"] : []),
    ...(scope === null || scope === "any" ? [] : ["scope_missing"]),
    ...(bodyKind === "none" ? [] : ["malformed_json", "body_too_large", "request_timeout"]),
    ...(bodyKind === "json" ? ["unsupported_media_type"] : []),
    ...(rateLimit === "none" ? [] : ["rate_limited"]),
    ...(takesIdempotencyKey ? ["idempotency_in_progress", "idempotency_key_reused"] : []),
    ...(takesIfMatch ? ["precondition_failed"] : []),
  ];
}
