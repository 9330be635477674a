/** Problem documents (RFC 9457). */
import { serializeProblem } from "../../generated/serializers.ts";
import { catalogue, type Problem } from "./problems.ts";

/** Serializes the document of `problem` for the request with this id. */
export function problemText({ code, detail, errors, alternatives }: Problem, requestId: string): string {
  const { status, title } = catalogue[code];
  const type = `urn:slotkeeper:problem:${code}`;
  return serializeProblem({ type, title, status, detail, code, requestId, error: detail, errors, alternatives });
}
