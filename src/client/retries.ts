/** A `fetch` that authenticates and retries. */
import { backoffMs, withExtraMs } from "./backoff.ts";
import { ConnectionError, TimeoutError, TokenError } from "./connection_error.ts";
import { UnexpectedAnswerError } from "./problems.ts";
import type { Timing } from "./timing.ts";

export interface RetryOptions {
  fetch: (request: Request) => Promise<Response>;
  token: string | (() => string | Promise<string>) | undefined;
  /** Maximum retries of one request. */
  retries: number;
  /** Time limit of one attempt, in milliseconds. */
  timeoutMs: number;
  timing: Timing;
}

/** The longest `Retry-After` that is waited for, in milliseconds: the window of the rate limits. */
export const longestRetryAfterMs = 60_000;

/** Statuses of a server or a proxy that cannot answer now. The server may have done the request. */
const unavailableStatuses = [502, 503, 504];
/** Statuses of a server that did not read the request. */
const unreadStatuses = [408, 429];

/**
 * Retries a request until it is answered. Each attempt of a `POST` or `PUT` has the same `Idempotency-Key`.
 * So the server does it once. `DELETE` has no key. It is retried only if the server did not read it.
 *
 * Returns problems. Rejects with the reason of the request's signal, or with the failure of the last attempt. That is a
 * {@link ConnectionError}, a {@link TokenError} or an {@link UnexpectedAnswerError}.
 */
export function retryingFetch(options: RetryOptions): (request: Request) => Promise<Response> {
  const { retries, timing } = options;
  return async (request) => {
    const headers = new Headers(request.headers);
    if (["POST", "PUT"].includes(request.method) && !headers.has("Idempotency-Key")) {
      headers.set("Idempotency-Key", newKey());
    }
    const isRepeatable = request.method !== "DELETE";
    for (let failures = 0;; failures++) {
      const isLast = failures >= retries;
      let pauseMs = backoffMs(failures, timing);
      try {
        const response = await attempt(request, headers, options);
        // A wrong address may lead to an HTML page. `openapi-fetch` would fail with a syntax error.
        if (response.ok && response.body !== null && !await isJson(response)) {
          throw new UnexpectedAnswerError(response.status, { cause: await response.text() });
        }
        if (isLast || !isRetryable(response, isRepeatable)) return response;
        const askedMs = retryAfterMs(response, timing);
        if (askedMs > longestRetryAfterMs) return response;
        if (askedMs > 0) pauseMs = withExtraMs(askedMs, timing);
      } catch (failure) {
        const isFinal = failure instanceof TokenError || failure instanceof UnexpectedAnswerError;
        if (request.signal.aborted || isLast || !isRepeatable || isFinal) throw failure;
      }
      await timing.sleep(pauseMs, request.signal);
    }
  };
}

/** Returns the `Retry-After` in milliseconds, or 0 without one. It has seconds or, from some proxies, a date. */
export function retryAfterMs({ headers }: Response, { now }: Pick<Timing, "now">): number {
  const text = headers.get("Retry-After") ?? "";
  const ms = /^\d+$/.test(text) ? Number(text) * 1_000 : Date.parse(text) - now();
  return ms > 0 ? ms : 0;
}

/** Returns whether the body is JSON by its type and its text. */
async function isJson(response: Response): Promise<boolean> {
  if (!/^application\/json\b/i.test(response.headers.get("Content-Type") ?? "")) return false;
  return await response.clone().json().then(() => true, () => false);
}

function isRetryable({ status, headers }: Response, isRepeatable: boolean): boolean {
  if (unreadStatuses.includes(status)) return true;
  // 409 with Retry-After: the same request is still running.
  return isRepeatable && (unavailableStatuses.includes(status) || status === 409 && headers.has("Retry-After"));
}

/** Returns the `Authorization` header. */
async function authorizationOf({ token: source }: RetryOptions): Promise<string | undefined> {
  try {
    const token = typeof source === "function" ? await source() : source;
    if (token === undefined) return undefined;
    return new Headers({ Authorization: `Bearer ${token}` }).get("Authorization") ?? undefined;
  } catch (cause) {
    throw new TokenError(`No token: ${cause instanceof Error ? cause.message : cause}`, { cause });
  }
}

/** Sends the request once and reads the whole answer, because a connection may break in the middle of a body. */
async function attempt(request: Request, headers: Headers, options: RetryOptions): Promise<Response> {
  const { fetch, timeoutMs, timing } = options;
  const deadline = new AbortController();
  const tooLate = new DOMException(`No answer within ${timeoutMs} ms`, "TimeoutError");
  const cancelDeadline = timing.startTimer(timeoutMs, () => deadline.abort(tooLate));
  const signal = AbortSignal.any([request.signal, deadline.signal]);
  try {
    const authorization = await unlessAborted(signal, authorizationOf(options));
    if (authorization !== undefined && !request.headers.has("Authorization")) {
      headers.set("Authorization", authorization);
    }
    const response = await fetch(new Request(request.clone(), { headers, signal }));
    const body = await response.arrayBuffer();
    const { status, statusText } = response;
    const hasBody = body.byteLength > 0 && ![204, 304].includes(status);
    return new Response(hasBody ? body : null, { status, statusText, headers: response.headers });
  } catch (cause) {
    if (request.signal.aborted) throw request.signal.reason;
    if (cause instanceof TokenError) throw cause;
    if (deadline.signal.aborted) {
      throw new TimeoutError(request, { reason: `the limit is ${timeoutMs} ms`, cause: tooLate });
    }
    throw new ConnectionError(request, { cause });
  } finally {
    cancelDeadline();
  }
}

/** Returns the result of `promise`. Rejects as soon as `signal` is aborted. */
function unlessAborted<Value>(signal: AbortSignal, promise: Promise<Value>): Promise<Value> {
  return new Promise((resolve, reject) => {
    const abort = () => reject(signal.reason);
    if (signal.aborted) abort();
    signal.addEventListener("abort", abort);
    promise.then(resolve, reject).finally(() => signal.removeEventListener("abort", abort));
  });
}

/** Returns 128 random bits. `crypto.randomUUID` exists only in pages that were loaded with TLS. */
function newKey(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
