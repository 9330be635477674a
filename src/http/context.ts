/** A request and the facts about it that its answer and the log need. */
import type { Caller } from "../contract/caller.ts";
import type { Operation } from "../contract/handlers.ts";

/** The environment of Hono. */
export interface AppEnv {
  /** The connection, from `Deno.serve`. Empty for a request that the server sends to itself. */
  Bindings: Partial<Deno.ServeHandlerInfo<Deno.NetAddr>>;
  /** Only for pages and unknown routes. Operations keep their exchange themselves. */
  Variables: { exchange: Exchange };
}

/** Longest id that a client may choose, in characters. */
const requestIdLimit = 255;

export class Exchange {
  /** The client's `X-Request-Id` if it is valid, otherwise a new one. */
  readonly requestId: string;
  /** Headers of the answer that are known before the answer. */
  readonly headers: Record<string, string>;
  caller: Caller | undefined;
  private readonly startedAt = performance.now();

  constructor(
    readonly request: Request,
    private readonly connection: AppEnv["Bindings"] | undefined,
    readonly operation?: Operation,
  ) {
    const sent = request.headers.get("X-Request-Id");
    this.requestId = sent !== null && isRequestId(sent) ? sent : crypto.randomUUID();
    this.headers = { "X-Request-Id": this.requestId };
  }

  /** Undefined for a request that the server sends to itself. */
  get remoteAddress(): string | undefined {
    return this.connection?.remoteAddr?.hostname;
  }

  /** Milliseconds since the request began, to two places. */
  get elapsedMs(): number {
    return Math.round((performance.now() - this.startedAt) * 100) / 100;
  }
}

function isRequestId(text: string): boolean {
  return text !== "" && text.length <= requestIdLimit && !/[^\w\-=]/.test(text);
}
