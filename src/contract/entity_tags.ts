/** Entity tags (RFC 9110, 8.8.3): a short text for one state of an answer. */
import { createHash } from "node:crypto";
import type { Serialize } from "../serializing.ts";
import { Problem } from "./problems.ts";

/** Returns the tag of an answer with this body. It changes with every part of the body, also of another resource. */
export function entityTagOf(body: string): string {
  return `"${createHash("sha256").update(body).digest("base64url").slice(0, 22)}"`;
}

/** Returns whether a header such as `If-None-Match` names this tag. Its weak form counts too: a proxy may make it weak. */
export function namesTag(header: string, tag: string): boolean {
  return header.trim() === "*" || listed(header).some((each) => each.replace(/^W\//, "") === tag);
}

/**
 * Compares the `If-Match` of a change with the resource as it is answered. The caller of this function must keep the
 * resource unchanged until the change.
 *
 * @throws {Problem} `precondition_failed` if the client has read another state of the resource.
 */
export function assertMatches(ifMatch: string | undefined, serialize: Serialize, resource: unknown): void {
  if (ifMatch === undefined || ifMatch.trim() === "*") return;
  const tag = entityTagOf(serialize(resource));
  const tags = listed(ifMatch);
  if (tags.includes(tag)) return;
  throw new Problem("precondition_failed", whyNoneMatches(tags, tag));
}

/** The comparison is strong (RFC 9110, 13.1.1): a weak tag does not promise that nothing has changed. */
function whyNoneMatches(tags: string[], tag: string): string {
  if (tags.length === 0) return 'If-Match must be the ETag of the resource, with its quotes: If-Match: "…".';
  if (tags.includes(`W/${tag}`)) {
    return "The entity tag in If-Match is weak. A proxy may have added W/ when it compressed the answer. " +
      "Send the tag without W/.";
  }
  if (tags.some((each) => each.replace(/^W\/|-(gzip|br|deflate|zstd)(?="$)/g, "") === tag)) {
    return "The entity tag in If-Match has a suffix such as -gzip, which a proxy adds to compressed answers. " +
      "Send the tag without it.";
  }
  return "The resource does not have the entity tag of If-Match. Read it again before you change it.";
}

function listed(header: string): string[] {
  return header.match(/(?:W\/)?"[^"]*"/g) ?? [];
}
