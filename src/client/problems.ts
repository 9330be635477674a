/** Problems (RFC 9457): the answers to requests that failed. */
import type { components } from "../../generated/api.d.ts";

export type Problem = components["schemas"]["Problem"];
export type ProblemCode = components["schemas"]["ProblemCode"];

/** Fields that problems with this code always have. */
interface ExtraFields {
  timeslot_unavailable: "alternatives";
  validation_failed: "errors";
}

/** A problem with this code, and the fields that always come with it. */
export type ProblemOf<Code extends ProblemCode> = Code extends keyof ExtraFields
  ? Problem & { code: Code } & Required<Pick<Problem, ExtraFields[Code]>>
  : Problem & { code: Code };

const typePrefix = "urn:slotkeeper:problem:";

/**
 * Returns whether `error` is a problem, and has one of `codes` if there are any.
 * `error` is the `error` of an answer, or an exception of {@link unwrap}, `items` or `subscribe`.
 */
export function isProblem<Code extends ProblemCode = ProblemCode>(
  error: unknown,
  ...codes: Code[]
): error is ProblemOf<Code> {
  if (typeof error !== "object" || error === null || !("type" in error) || !("code" in error)) return false;
  const { type, code } = error;
  if (type !== `${typePrefix}${code}`) return false;
  const expected: readonly unknown[] = codes;
  return codes.length === 0 || expected.includes(code);
}

/**
 * A problem as an exception. It has the fields of the problem, and serializes to the same JSON.
 * Its message is the problem's `detail`.
 */
export class ProblemError extends Error implements Problem {
  static {
    // On the prototype, because the own fields of the error are those of the problem.
    this.prototype.name = "ProblemError";
  }
  declare readonly type: string;
  declare readonly title: string;
  declare readonly status: number;
  declare readonly detail: string;
  declare readonly code: ProblemCode;
  declare readonly requestId: string;
  declare readonly error: string;
  declare readonly errors?: NonNullable<Problem["errors"]>;
  declare readonly alternatives?: NonNullable<Problem["alternatives"]>;

  constructor(problem: Problem) {
    super(problem.detail);
    Object.assign(this, problem);
  }
}

/** The answer is neither the expected JSON nor a problem, for example the page of a proxy, or a 304. */
export class UnexpectedAnswerError extends Error {
  override readonly name = "UnexpectedAnswerError";

  constructor(
    /** The HTTP status of the answer. */
    readonly status: number,
    { cause }: { cause: unknown },
  ) {
    super(`The answer with status ${status} is neither the expected JSON nor a problem. See its cause.`, {
      cause,
    });
  }
}

/** The result of a call: `data`, or `error`. */
interface Answer {
  data?: unknown;
  error?: unknown;
  response: Response;
}

/**
 * Returns the data of an answer: `const room = await unwrap(client.GET(…))`.
 *
 * @throws {ProblemError} if the answer is a problem.
 * @throws {UnexpectedAnswerError} if it is neither data nor a problem.
 */
export async function unwrap<AnyAnswer extends Answer>(
  answer: AnyAnswer | Promise<AnyAnswer>,
): Promise<Extract<AnyAnswer, { error?: never }>["data"]> {
  const { data, error, response } = await answer;
  if (response.ok) return data;
  throw isProblem(error) ? new ProblemError(error) : new UnexpectedAnswerError(response.status, { cause: error });
}
