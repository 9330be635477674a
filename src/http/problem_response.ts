/** Converts every refusal and failure to an HTTP answer. */
import type { ProblemCode } from "../../generated/contract.ts";
import { problemText } from "../contract/problem_document.ts";
import { catalogue, Problem } from "../contract/problems.ts";
import { Conflict, isConflict, isUnavailable } from "../database/failures.ts";
import { describeFailure, type Log } from "../log.ts";
import type { Exchange } from "./context.ts";
import { apiHeaders } from "./security_headers.ts";

const internal = "Something went wrong on our side. Quote the requestId when you ask for help.";
const unavailable = "The service cannot answer right now. Try again in a moment.";

/**
 * Answers a thrown `failure`. A failure that is not a {@link Problem} goes only to the log, and the answer is
 * `internal_error` or `service_unavailable`. The same applies to a problem that the operation does not declare in the
 * contract. That is our bug, and clients were promised not to see it.
 */
export function answerFailure(failure: unknown, exchange: Exchange, log: Log): Response {
  const { operation, requestId } = exchange;
  const problem = toProblem(failure);
  const declared: readonly ProblemCode[] | undefined = operation?.problems;
  if (declared !== undefined && !declared.includes(problem.code)) {
    const cause = new Error(`${operation?.id} answered ${problem.code}, which the contract does not declare`, {
      cause: failure,
    });
    return answerFailure(cause, exchange, log);
  }
  // A refusal is no failure of the server, also after a conflict.
  if (catalogue[problem.code].status >= 500 && (problem !== failure || problem.cause !== undefined)) {
    log.error("request failed", { requestId, route: operation?.id, failure: describeFailure(failure) });
  }
  return problemResponse(exchange, problem);
}

function toProblem(failure: unknown): Problem {
  if (failure instanceof Problem) return failure;
  if (failure instanceof Conflict && failure.cause instanceof Problem) return failure.cause;
  if (isUnavailable(failure) || isConflict(failure)) return new Problem("service_unavailable", unavailable);
  return new Problem("internal_error", internal);
}

/** Seconds after which a client may retry a 503. */
const unavailableSeconds = 5;

/** Returns `problem` as `application/problem+json`. */
export function problemResponse(exchange: Exchange, problem: Problem): Response {
  const { code } = problem;
  const { status } = catalogue[code];
  const { headers } = exchange;
  if (status === 401) {
    headers["WWW-Authenticate"] = code === "token_missing" ? "Bearer" : 'Bearer error="invalid_token"';
  }
  if (status === 426) headers.Upgrade = "websocket";
  const retryAfter = problem.retryAfter ?? (status === 503 ? unavailableSeconds : undefined);
  if (retryAfter !== undefined) headers["Retry-After"] = String(retryAfter);
  return problemBody(exchange, problemText(problem, exchange.requestId), status);
}

/** Returns a serialized problem document with the headers of all problems. */
export function problemBody(exchange: Exchange, text: string, status: number): Response {
  return new Response(text, {
    status,
    headers: {
      ...apiHeaders,
      ...exchange.headers,
      "Cache-Control": "no-store",
      "Content-Type": "application/problem+json",
    },
  });
}
