/** Converts every refusal and failure to an HTTP answer. */
import { Buffer } from "node:buffer";
import type { ProblemCode } from "../../generated/contract.ts";
import { problemText } from "../contract/problem_document.ts";
import { catalogue, Problem } from "../contract/problems.ts";
import { Conflict, isConflict, isUnavailable } from "../database/failures.ts";
import { describeFailure, type Log } from "../log.ts";
import type { Exchange } from "./context.ts";
import { isEncoded } from "./json_body.ts";
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

const upgradeHeaders = { Upgrade: "websocket", Connection: "Upgrade", "Sec-WebSocket-Version": "13" };

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
  if (code === "admin_required" || code === "scope_missing") {
    // RFC 6750, 3.1.
    headers["WWW-Authenticate"] = 'Bearer error="insufficient_scope"';
  }
  // RFC 9110, 7.8 and 15.5.22; RFC 6455, 4.4.
  if (status === 426) Object.assign(headers, upgradeHeaders);
  // RFC 9110, 12.5.3 and 15.5.16: each names the reason, so never both.
  if (status === 415) {
    if (isEncoded(exchange.request)) headers["Accept-Encoding"] = "identity";
    else headers.Accept = "application/json";
  }
  // RFC 9110, 15.5.9. The rest of the request is not read.
  if (status === 408) headers.Connection = "close";
  const retryAfter = problem.retryAfter ?? (status === 503 ? unavailableSeconds : undefined);
  if (retryAfter !== undefined) headers["Retry-After"] = String(retryAfter);
  return problemBody(exchange, problemText(problem, exchange.requestId), status);
}

/** Returns a serialized problem document with the headers of all problems. */
export function problemBody(exchange: Exchange, text: string, status: number): Response {
  const headers = {
    ...apiHeaders,
    ...exchange.headers,
    "Cache-Control": "no-store",
    "Content-Type": "application/problem+json",
  };
  if (exchange.request.method === "HEAD") return answerHead(text, { status, headers });
  return new Response(text, { status, headers });
}

/** Returns the answer to `HEAD`: all headers of the answer to `GET`, also its length (RFC 9110, 8.6). */
export function answerHead(
  text: string,
  { status, headers }: { status: number; headers: Record<string, string> },
): Response {
  headers["Content-Length"] = String(Buffer.byteLength(text));
  return new Response(null, { status, headers });
}
