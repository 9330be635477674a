/** A `fetch` that names the caller, and sends again what was not answered. */
import { backoffMs, sleep } from "./backoff.ts";
import { UnexpectedAnswerError } from "./problems.ts";

export interface RetryOptions {
  fetch: (request: Request) => Promise<Response>;
  token: string | (() => string | Promise<string>) | undefined;
  /** How often a request is sent again at most. */
  retries: number;
  /** How long an attempt may take, in milliseconds. */
  timeoutMs: number;
}

/** What a `Retry-After` may ask for and is still waited for, in milliseconds: the window of the rate limits. */
export const longestRetryAfterMs = 60_000;

/** Answers of a server, or of a proxy before it, that cannot answer now. What was asked may have been done. */
const unavailable = [502, 503, 504];
/** The request was not looked at. */
const notDone = [408, 429];

/**
 * Sends a request until it is answered. `POST` and `PUT` go with an `Idempotency-Key`, the same each time, so that the server
 * does them once however often they arrive. `DELETE` takes none, so it is sent again only when the server says that it has
 * not looked at it.
 *
 * Rejects with what the last attempt failed with; an answer that is a refusal is returned.
 */
export function retryingFetch(options: RetryOptions): (request: Request) => Promise<Response> {
  return async (request) => {
    const headers = new Headers(request.headers);
    if (["POST", "PUT"].includes(request.method) && !headers.has("Idempotency-Key")) {
      headers.set("Idempotency-Key", newKey());
    }
    const mayRepeat = request.method !== "DELETE";
    for (let failures = 0;; failures++) {
      const isLast = failures >= options.retries;
      let delayMs = backoffMs(failures);
      try {
        const response = await attempt(request, headers, options);
        // A page to which a wrong address leads. It would fail as JSON that cannot be read.
        if (response.ok && response.body !== null && !isJson(response)) {
          throw new UnexpectedAnswerError(response.status, { cause: await response.text() });
        }
        if (isLast || !isWorthAnother(response, mayRepeat)) return response;
        const askedMs = retryAfterMs(response);
        if (askedMs > longestRetryAfterMs) return response;
        // Not before the server says, and not all at the same moment.
        if (askedMs > 0) delayMs = askedMs + Math.random() * 250;
      } catch (failure) {
        const isFinal = failure instanceof TokenFailure || failure instanceof UnexpectedAnswerError;
        if (request.signal.aborted || isLast || !mayRepeat || isFinal) throw failure;
      }
      await sleep(delayMs, request.signal);
    }
  };
}

/** What a `Retry-After` asks for, in milliseconds, in seconds or as a date, as proxies may send it; 0 without one. */
export function retryAfterMs({ headers }: Response): number {
  const text = headers.get("Retry-After") ?? "";
  const ms = /^\d+$/.test(text) ? Number(text) * 1_000 : Date.parse(text) - Date.now();
  return ms > 0 ? ms : 0;
}

function isJson({ headers }: Response): boolean {
  return /^application\/json\b/i.test(headers.get("Content-Type") ?? "");
}

function isWorthAnother({ status, headers }: Response, mayRepeat: boolean): boolean {
  if (notDone.includes(status)) return true;
  // 409 with Retry-After: the same request is still running.
  return mayRepeat && (unavailable.includes(status) || status === 409 && headers.has("Retry-After"));
}

/** The caller's own function for tokens failed, or gave what no header may have: nothing that another attempt would mend. */
class TokenFailure extends Error {
  override name = "TokenFailure";
}

/** What names the caller in a header. */
async function authorizationOf({ token: given }: RetryOptions): Promise<string | undefined> {
  try {
    const token = typeof given === "function" ? await given() : given;
    if (token === undefined) return undefined;
    return new Headers({ Authorization: `Bearer ${token}` }).get("Authorization") ?? undefined;
  } catch (cause) {
    throw new TokenFailure(`No token: ${cause instanceof Error ? cause.message : cause}`, { cause });
  }
}

/** Sends it once and takes in the whole answer, since a connection may also break in the middle of one. */
async function attempt(request: Request, headers: Headers, options: RetryOptions): Promise<Response> {
  const { fetch, timeoutMs } = options;
  const late = new AbortController();
  const timer = setTimeout(() => late.abort(new Error(`No answer within ${timeoutMs} ms`)), timeoutMs);
  const signal = AbortSignal.any([request.signal, late.signal]);
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
  } finally {
    clearTimeout(timer);
  }
}

/** What `promise` comes to, if it comes to it before `signal` is aborted. */
function unlessAborted<Value>(signal: AbortSignal, promise: Promise<Value>): Promise<Value> {
  return new Promise((resolve, reject) => {
    const abort = () => reject(signal.reason);
    if (signal.aborted) abort();
    signal.addEventListener("abort", abort);
    promise.then(resolve, reject).finally(() => signal.removeEventListener("abort", abort));
  });
}

/** 128 bits of chance. `crypto.randomUUID` would need a page that came by TLS. */
function newKey(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
