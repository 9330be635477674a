/** Problem documents (RFC 9457). */
import { Problem as ProblemSchema } from "../../generated/contract.ts";
import { catalogue, type Problem } from "./problems.ts";

/** Serializes the document of `problem` for the request with this id. */
export function problemText({ code, detail, errors, alternatives }: Problem, requestId: string): string {
  const { status, title } = catalogue[code];
  const type = `urn:slotkeeper:problem:${code}`;
  return JSON.stringify(
    ProblemSchema.parse({ type, title, status, detail, code, requestId, error: detail, errors, alternatives }),
  );
}
