/** Failures of requests that got no answer. */

/**
 * A request got no whole answer: the server cannot be reached, the connection broke, or the time was over.
 * The `cause` is the failure of the last attempt, as the runtime reports it. The server may have done the request.
 */
export class ConnectionError extends Error {
  static {
    this.prototype.name = "ConnectionError";
  }
  /** Method and path, for example `POST /api/v1/bookings`. */
  readonly operation: string;
  readonly url: string;
  /** Why there is no answer, in a few words. */
  readonly reason: string;

  constructor(
    { method, url }: Pick<Request, "method" | "url">,
    { reason, cause }: { reason?: string; cause: unknown },
  ) {
    const text = reason ?? innermostMessage(cause);
    super(`No answer to ${method} ${url}: ${text}`, { cause });
    this.operation = `${method} ${new URL(url).pathname}`;
    this.url = url;
    this.reason = text;
  }
}

/** The last attempt took longer than the client's `timeoutMs`. */
export class TimeoutError extends ConnectionError {
  static {
    this.prototype.name = "TimeoutError";
  }
}

/** The client's function for tokens failed, or its token cannot be sent in a header. Nothing was sent. */
export class TokenError extends Error {
  static {
    this.prototype.name = "TokenError";
  }
}

/**
 * Returns the last message in a chain of causes. Node reports `fetch failed` and has the reason in the cause. Deno has it at
 * the end of `error sending request for url (…): client error (Connect): tcp connect error: …`.
 */
function innermostMessage(failure: unknown): string {
  if (!(failure instanceof Error)) return String(failure);
  const next = failure instanceof AggregateError ? failure.errors[0] : failure.cause;
  const inner = next instanceof Error ? innermostMessage(next) : "";
  if (inner !== "") return inner;
  const { message } = failure;
  const [, reason = message] = /^error sending request.*?: (?:client error \(\w+\): )?(.+)$/s.exec(message) ?? [];
  return reason.replace(/^(?:tcp connect|dns) error: /, "").replace(/ \(os error \d+\)$/, "");
}
