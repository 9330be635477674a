/** Entity tags (RFC 9110, 8.8.3): a short text that stands for one state of what is answered. */
import { createHash } from "node:crypto";
import type { z } from "zod";
import { Problem } from "./problems.ts";

/** The tag of an answer with this body. It changes with anything in it, also with what belongs to another resource. */
export function entityTagOf(body: string): string {
  return `"${createHash("sha256").update(body).digest("base64url").slice(0, 22)}"`;
}

/** Whether a header such as `If-None-Match` names this tag. Tags that were made weak on the way count as the same there. */
export function namesTag(header: string, tag: string): boolean {
  return header.trim() === "*" || listed(header).some((each) => each.replace(/^W\//, "") === tag);
}

/**
 * Holds a resource, as it is answered, against the `If-Match` of a change. Whoever calls this sees to it that it stays as it
 * is until it is changed.
 *
 * @throws {Problem} `precondition_failed` when the caller has seen another state of it.
 */
export function assertMatches<T>(ifMatch: string | undefined, schema: z.ZodType<T>, resource: T): void {
  if (ifMatch === undefined || ifMatch.trim() === "*") return;
  // A weak tag promises less than that nothing has changed.
  if (listed(ifMatch).includes(entityTagOf(JSON.stringify(schema.parse(resource))))) return;
  throw new Problem(
    "precondition_failed",
    "The resource has changed since you read it. Read it again before you change it.",
  );
}

function listed(header: string): string[] {
  return header.match(/(?:W\/)?"[^"]*"/g) ?? [];
}
