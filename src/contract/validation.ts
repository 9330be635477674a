/** Converts the issues of zod to the `errors` of a problem. */
import type { z } from "zod";
import type { FieldError } from "../../generated/contract.ts";
import { invalidFields, type Problem } from "./problems.ts";

const places: Record<string, FieldError["in"]> = { json: "body", query: "query", param: "path", header: "header" };

/** An invalid part of a request, as zod-openapi gives it to its hook. */
export interface InvalidPart {
  target: string;
  data?: unknown;
  error: z.core.$ZodError;
}

/** Returns `validation_failed` for one part of a request, with the first error of each invalid field. */
export function validationProblem({ target, data, error }: InvalidPart): Problem {
  const place = places[target] ?? "body";
  const found = error.issues.flatMap((issue) => fieldErrors(issue, place, data));
  const [first, ...others] = found.filter(({ path }, index) => found.findIndex((each) => each.path === path) === index);
  return invalidFields([first ?? { in: place, path: "", message: "is not valid" }, ...others]);
}

function fieldErrors(issue: z.core.$ZodIssue, place: FieldError["in"], data: unknown): FieldError[] {
  const path = issue.path.map(String);
  if (issue.code === "unrecognized_keys") {
    return issue.keys.map((key) => ({ in: place, path: [...path, key].join("."), message: "is not known here" }));
  }
  const value = valueAt(data, issue.path);
  const message = path.length > 0 && value === undefined
    ? "is required"
    : place === "query" && Array.isArray(value)
    ? "must be sent once"
    : messageOf(issue);
  return [{ in: place, path: path.join("."), message }];
}

const kinds: Record<string, string> = {
  array: "a list",
  boolean: "true or false",
  int: "a whole number",
  number: "a number",
  object: "an object",
  record: "an object",
  string: "text",
};
const units: Record<string, string> = { array: " entries", string: " characters" };

/** Returns the message after the name of a field, such as "must be a number". Our own messages already have this form. */
function messageOf(issue: z.core.$ZodIssue): string {
  switch (issue.code) {
    case "invalid_type":
      return `must be ${kinds[issue.expected] ?? issue.expected}`;
    case "too_small":
      if (issue.origin in units && issue.minimum === 1) return "must not be empty";
      return `must ${issue.origin in units ? "have" : "be"} at least ${issue.minimum}${units[issue.origin] ?? ""}`;
    case "too_big":
      return `must ${issue.origin in units ? "have" : "be"} at most ${issue.maximum}${units[issue.origin] ?? ""}`;
    case "invalid_value":
      return issue.message.startsWith("must")
        ? issue.message
        : `must be ${issue.values.length > 1 ? "one of " : ""}${issue.values.join(", ")}`;
    default:
      return issue.message;
  }
}

function valueAt(data: unknown, path: PropertyKey[]): unknown {
  return path.reduce<unknown>(
    (value, key) => typeof value === "object" && value !== null ? Reflect.get(value, key) : undefined,
    data,
  );
}
