/** Serves the contract's operations on HTTP: limits, authentication, decoding, execution, and the answer. */
import { type Context, type Handler, Hono, type MiddlewareHandler } from "hono";
import { except } from "hono/combine";
import { TrieRouter } from "hono/router/trie-router";
import type { H, RouterRoute } from "hono/types";
import { operations } from "../../generated/contract.ts";
import type { Authenticator } from "../auth/callers.ts";
import type { Config } from "../config.ts";
import { assertMay } from "../contract/access.ts";
import type { Caller } from "../contract/caller.ts";
import { entityTagOf, namesTag } from "../contract/entity_tags.ts";
import type { Operation } from "../contract/handlers.ts";
import { Problem } from "../contract/problems.ts";
import { createExecutor, type ExecutionRules } from "../execution/execution.ts";
import type { SerializedAnswer } from "../idempotency/answers.ts";
import type { Log } from "../log.ts";
import { createConcurrencyLimiter, type LimitConcurrency } from "./concurrency.ts";
import { type AppEnv, Exchange } from "./context.ts";
import type { Deadlines } from "./deadlines.ts";
import { allowCrossOrigin } from "./cross_origin.ts";
import { createDecoder } from "./decoder.ts";
import type { Intake } from "./intake.ts";
import { assertStorableQuery, readJsonText, readText } from "./json_body.ts";
import { OperationRouter } from "./operation_router.ts";
import { addLocation } from "./locations.ts";
import { answerFailure, answerHead, problemBody, problemResponse } from "./problem_response.ts";
import type { RequestLimiter } from "./request_limiter.ts";
import { apiHeaders } from "./security_headers.ts";

/**
 * Characters up to which a body is sent as one chunk. Deno 2.9 sends head and body in two system calls if they are longer
 * than 512 bytes. A chunk is sent with the head, which makes a small request 5 % faster. A longer body is copied for it.
 * That takes as much time as it saves. HTTP/1.0 and `HEAD` get no chunks.
 */
const chunkLimit = 2_000;

export interface RouterOptions extends ExecutionRules, Pick<Config, "corsOrigins" | "corsHeaders"> {
  authenticator: Authenticator;
  /** Returns the ticket's caller, for an operation that accepts a ticket instead of a token. */
  redeemTicket: (ticket: string) => Promise<Caller>;
  limiter: RequestLimiter;
  deadlines: Deadlines;
  /** Whether to serve the operations of the sandbox. */
  isSandbox: boolean;
  intake: Intake;
}

/** Longest time of an operation in ms. The longest intended one waits 30 s for an event. */
const answerLimitMs = 60_000;

/** Creates the app with every operation of the contract. The caller adds other routes, such as the docs. */
export function createRouter(options: RouterOptions): Hono<AppEnv> {
  const { log, intake, limiter } = options;
  const router = new OperationRouter<[H, RouterRoute]>(new TrieRouter());
  const app = new Hono<AppEnv>({ router });
  const allowOrigins = allowCrossOrigin(options);

  const execute = createExecutor(options);
  const limitConcurrency = createConcurrencyLimiter();
  for (const operation of Object.values(operations)) {
    if (operation.isSandboxOnly && !options.isSandbox) continue;
    // openSocket checks origins itself, and its answer is immutable.
    const origins = operation.upgrades ? undefined : allowOrigins;
    const handler = serveOperation(operation, { ...options, execute, limitConcurrency, allowOrigins: origins });
    const [method, path] = [operation.route.method.toUpperCase(), operation.route.getRoutingPath()];
    router.addOperation(method, path, [handler, { basePath: "/", path, method, handler }]);
  }

  app.use(async (c, next) => {
    const exchange = new Exchange(c.req.raw, c.env);
    c.set("exchange", exchange);
    const isHead = c.req.method === "HEAD";
    // Hono does not compress answers to HEAD, so their headers would differ from those of GET.
    if (isHead) c.req.raw = new Request(c.req.raw, { method: "GET" });
    await next();
    if (isHead && c.res.body !== null) c.res = await withoutBody(c.res);
    const { headers } = c.res;
    // Pages have their own policy.
    const own = headers.has("Content-Security-Policy") ? exchange.headers : { ...apiHeaders, ...exchange.headers };
    for (const [name, value] of Object.entries(own)) headers.set(name, value);
    logRequest(log, exchange, c.res.status);
  });
  if (allowOrigins !== undefined) app.use(except(operations.openSocket.route.path, allowOrigins));
  app.use(async (_c, next) => {
    intake.assertOpen();
    await next();
  });
  app.onError((failure, c) => answerFailure(failure, c.var.exchange, log));
  app.notFound(async (c) => {
    const { exchange } = c.var;
    await limiter.admit(exchange, "public");
    const { path } = c.req;
    const methods = router.methodsOf(path);
    if (methods.length === 0) {
      // The target of CONNECT is no path.
      const shown = path.startsWith("/") ? path : exchange.request.url;
      return problemResponse(exchange, new Problem("route_not_found", `No route matches ${shown}.`));
    }
    exchange.headers.Allow = methods.join(", ");
    return problemResponse(exchange, new Problem("method_not_allowed", `Use ${methods.join(" or ")} at ${path}.`));
  });
  return app;
}

/** The answer to `HEAD`: the headers of the answer to `GET`, also its length (RFC 9110, 8.6). */
async function withoutBody(response: Response): Promise<Response> {
  const length = String((await response.arrayBuffer()).byteLength);
  return new Response(null, {
    status: response.status,
    headers: { ...Object.fromEntries(response.headers), "Content-Length": length },
  });
}

interface PipelineOptions extends RouterOptions {
  execute: ReturnType<typeof createExecutor>;
  limitConcurrency: LimitConcurrency;
  allowOrigins: MiddlewareHandler<AppEnv> | undefined;
}

/** Returns the pipeline of an operation: one response, made once with all its headers, and one log entry. */
function serveOperation(operation: Operation, options: PipelineOptions): Handler<AppEnv> {
  const { log, allowOrigins } = options;
  const answer = createPipeline(operation, options);
  return async (c) => {
    const exchange = new Exchange(c.req.raw, c.env, operation);
    let response: Response;
    try {
      response = await answer(c, exchange);
    } catch (failure) {
      response = answerFailure(failure, exchange, log);
    }
    logRequest(log, exchange, response.status);
    if (allowOrigins === undefined) return response;
    await allowOrigins(c, () => {
      c.res = response;
      return Promise.resolve();
    });
    return c.res;
  };
}

function createPipeline(
  operation: Operation,
  { authenticator, redeemTicket, limiter, deadlines, intake, execute, limitConcurrency }: PipelineOptions,
): (c: Context<AppEnv>, exchange: Exchange) => Promise<Response> {
  const executeLimited = limitConcurrency(operation, execute);
  const decode = createDecoder(operation);
  const isPublic = operation.access === "public";

  const identify = (exchange: Exchange, c: Context<AppEnv>): Promise<Caller> => {
    const authorization = exchange.request.headers.get("Authorization") ?? undefined;
    const ticket = operation.takesTicket ? c.req.query("ticket") : undefined;
    if (authorization === undefined && ticket !== undefined) {
      return limiter.guard(exchange, () => redeemTicket(ticket), { kind: "ticket", isKnown: false });
    }
    const credential = { kind: authenticator.kindOf(authorization), isKnown: authenticator.remembers(authorization) };
    return limiter.guard(exchange, () => authenticator.authenticate(authorization), credential);
  };

  // These three return a promise only if they must wait. Most requests have a known caller and no body.

  /** Identifies the caller, checks limits and access, and returns the text of the body. */
  const receive = (exchange: Exchange, c: Context<AppEnv>): string | Promise<string> => {
    if (isPublic) return admit(exchange, c);
    const authorization = exchange.request.headers.get("Authorization");
    const known = authorization === null ? undefined : authenticator.recall(authorization);
    if (known === undefined) {
      return identify(exchange, c).then((caller) => {
        exchange.caller = caller;
        return admit(exchange, c);
      });
    }
    exchange.caller = known;
    return admit(exchange, c);
  };
  const admit = (exchange: Exchange, c: Context<AppEnv>): string | Promise<string> => {
    const admitted = limiter.admit(exchange, operation.rateLimit, exchange.caller);
    return admitted === undefined ? read(exchange, c) : admitted.then(() => read(exchange, c));
  };
  const read = ({ request, caller }: Exchange, c: Context<AppEnv>): string | Promise<string> => {
    if (caller !== undefined) assertMay(caller, operation);
    if (request.url.includes("%00")) assertStorableQuery(c.req.query());
    if (operation.bodyKind === "none") return "";
    return operation.bodyKind === "json" ? readJsonText(request, deadlines) : readText(request, deadlines);
  };

  // getHealth declares no 503, because a process that drains still lives.
  const mayBeClosed = operation.problems.some((code) => code === "service_unavailable");

  return async (c, exchange) => {
    if (mayBeClosed) intake.assertOpen();
    const received = receive(exchange, c);
    const bodyText = typeof received === "string"
      ? received
      : await (operation.bodyKind === "none" ? received : intake.receive(received));
    const { params, query, headers, body } = decode(c.req, bodyText);
    const { request, requestId, caller } = exchange;
    const key = headers["idempotency-key"];
    const ifMatch = headers["if-match"];
    const execution = {
      operation,
      input: { params, query, headers, body, caller, request },
      caller,
      requestId,
      keyed: key === undefined || caller === undefined
        ? undefined
        : { userId: caller.userId, key, content: [request.method, targetOf(request), ifMatch ?? "", bodyText] },
      ifMatch,
    };
    const answer = await deadlines.within(executeLimited(execution), { limitMs: answerLimitMs, late: lateAnswer });
    if (answer instanceof Response) return answer;
    if (answer.isReplay) exchange.headers["Idempotency-Replayed"] = "true";
    return answer.status >= 400 ? problemBody(exchange, answer.text, answer.status) : respond(exchange, answer, {
      hasEntityTag: operation.hasEntityTag,
      isPublic,
      ifNoneMatch: headers["if-none-match"],
    });
  };
}

/** Returns path and query. They are not parsed by `URL`, which rejects some hosts that HTTP allows. `CONNECT` has a host only. */
function targetOf({ url }: Request): string {
  const start = url.indexOf("/", url.indexOf("://") + 3);
  return start === -1 ? url : url.slice(start);
}

/** Longest path in the log, and longest part between two slashes, in characters. */
const loggedPathLimit = 200;
const loggedPartLimit = 40;

/** Returns the path of a request for the log, without its query and without long parts. Both may hold secrets. */
function pathOf(request: Request): string {
  const [path = ""] = targetOf(request).split(/[?#]/);
  const parts = path.split("/").map((part) => part.length > loggedPartLimit ? "…" : part);
  const shown = parts.join("/");
  return shown.length > loggedPathLimit ? `${shown.slice(0, loggedPathLimit)}…` : shown;
}

/** Sends an answer, or 304 if `ifNoneMatch` has its entity tag. */
function respond(
  exchange: Exchange,
  { status, text }: SerializedAnswer,
  { hasEntityTag, isPublic, ifNoneMatch }: {
    hasEntityTag: boolean;
    isPublic: boolean;
    ifNoneMatch: string | undefined;
  },
): Response {
  const headers: Record<string, string> = { ...apiHeaders, ...exchange.headers };
  if (!hasEntityTag) {
    headers["Cache-Control"] = "no-store";
  } else {
    const tag = entityTagOf(text);
    headers.ETag = tag;
    // Clients may store it, but must revalidate it each time.
    headers["Cache-Control"] = isPublic ? "no-cache" : "private, no-cache";
    if (ifNoneMatch !== undefined && namesTag(ifNoneMatch, tag)) return new Response(null, { status: 304, headers });
  }
  // Every success of the contract has a body.
  headers["Content-Type"] = "application/json";
  if (status === 201 && exchange.operation !== undefined) addLocation(headers, exchange.operation.id, text);
  if (exchange.request.method === "HEAD") return answerHead(text, { status, headers });
  if (text.length <= chunkLimit) headers["Transfer-Encoding"] = "chunked";
  return new Response(text, { status, headers });
}

/** The work may still finish later. A client with an Idempotency-Key learns the result by a retry. */
function lateAnswer(): Problem {
  return new Problem("service_unavailable", "The request took too long. It may or may not have been done.");
}

function logRequest(log: Log, { requestId, request, operation, elapsedMs, caller }: Exchange, status: number): void {
  log.info("request", {
    requestId,
    method: request.method,
    ...(operation === undefined ? { route: "other", path: pathOf(request) } : { route: operation.route.path }),
    status,
    ms: elapsedMs,
    userId: caller?.userId,
  });
}
