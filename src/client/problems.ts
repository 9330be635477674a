/** Refusals: what the server answers when it does not do what was asked (RFC 9457). */
import type { components } from "../../generated/api.d.ts";

export type Problem = components["schemas"]["Problem"];
export type ProblemCode = components["schemas"]["ProblemCode"];

/** What a problem with a certain code has beyond the others. */
interface Extras {
  timeslot_unavailable: "alternatives";
  validation_failed: "errors";
}

/** A problem with this code, and with what comes with it. */
export type ProblemOf<Code extends ProblemCode> = Code extends keyof Extras
  ? Problem & { code: Code } & Required<Pick<Problem, Extras[Code]>>
  : Problem & { code: Code };

const typePrefix = "urn:slotkeeper:problem:";

/**
 * Whether `error` is a refusal, with one of `codes` if any are given: the `error` of an answer, or what {@link unwrap},
 * `items` and `subscribe` throw.
 */
export function isProblem<Code extends ProblemCode = ProblemCode>(
  error: unknown,
  ...codes: Code[]
): error is ProblemOf<Code> {
  if (typeof error !== "object" || error === null || !("type" in error) || !("code" in error)) return false;
  const { type, code } = error;
  if (type !== `${typePrefix}${code}`) return false;
  const wanted: readonly unknown[] = codes;
  return codes.length === 0 || wanted.includes(code);
}

/**
 * A refusal as an exception. It has all that the problem has, and nothing more when it is turned into JSON; its message is the
 * `detail`.
 */
export class ProblemError extends Error implements Problem {
  static {
    // Of the class, since what an error has of its own belongs to the problem.
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

/** What came is neither what was asked for nor a refusal: the page of a proxy in between, or a 304. */
export class UnexpectedAnswerError extends Error {
  override readonly name = "UnexpectedAnswerError";

  constructor(
    /** The HTTP status of what came. */
    readonly status: number,
    { cause }: { cause: unknown },
  ) {
    super(`The answer is a ${status}, and neither what was asked for nor a refusal`, { cause });
  }
}

/** What a call of the client comes to: `data`, or `error`. */
interface Answer {
  data?: unknown;
  error?: unknown;
  response: Response;
}

/**
 * The data of an answer: `const room = await unwrap(client.GET(…))`.
 *
 * @throws {ProblemError} when it was refused.
 * @throws {UnexpectedAnswerError} when what came is neither, as from a proxy in between.
 */
export async function unwrap<Given extends Answer>(
  answer: Given | Promise<Given>,
): Promise<Extract<Given, { error?: never }>["data"]> {
  const { data, error, response } = await answer;
  if (response.ok) return data;
  throw isProblem(error) ? new ProblemError(error) : new UnexpectedAnswerError(response.status, { cause: error });
}
