/** Serves the contract's operations on HTTP: limits, authentication, decoding, execution, and the answer. */
import { createRoute, OpenAPIHono, type RouteConfig } from "@hono/zod-openapi";
import type { Context, MiddlewareHandler } from "hono";
import { except } from "hono/combine";
import { cors } from "hono/cors";
import { requestId } from "hono/request-id";
import { secureHeaders } from "hono/secure-headers";
import type { ContentfulStatusCode } from "hono/utils/http-status";
import { operations } from "../../generated/contract.ts";
import type { Authenticator } from "../auth/callers.ts";
import { assertMay } from "../contract/access.ts";
import type { Caller } from "../contract/caller.ts";
import { entityTagOf, namesTag } from "../contract/entity_tags.ts";
import type { Operation } from "../contract/handlers.ts";
import { Problem } from "../contract/problems.ts";
import { validationProblem } from "../contract/validation.ts";
import { createExecutor, type ExecutionRules } from "../execution/execution.ts";
import type { SerializedAnswer } from "../execution/idempotency.ts";
import type { Log } from "../log.ts";
import { createConcurrencyLimiter, type LimitConcurrency } from "./concurrency.ts";
import type { AppEnv } from "./context.ts";
import type { Deadlines } from "./deadlines.ts";
import type { Intake } from "./intake.ts";
import { assertStorableQuery, readJsonBody, readText } from "./json_body.ts";
import { answerFailure, problemBody, problemResponse } from "./problem_response.ts";
import type { RequestLimiter } from "./request_limiter.ts";

export interface RouterOptions extends ExecutionRules {
  authenticator: Authenticator;
  /** Returns the ticket's caller, for an operation that accepts a ticket instead of a token. */
  redeemTicket: (ticket: string) => Promise<Caller>;
  limiter: RequestLimiter;
  deadlines: Deadlines;
  /** Whether to serve the operations of the sandbox. */
  isSandbox: boolean;
  /** Origins of other pages that may call the API. */
  corsOrigins: string[];
  intake: Intake;
}

/** Longest time of an operation in ms. The longest intended one waits 30 s for an event. */
const answerLimitMs = 60_000;

const apiHeaders = secureHeaders({
  contentSecurityPolicy: { defaultSrc: ["'none'"], frameAncestors: ["'none'"] },
  // The edge sends it, because only the edge knows whether there is TLS.
  strictTransportSecurity: false,
  // These matter to pages only, and every header costs time on each answer.
  crossOriginOpenerPolicy: false,
  originAgentCluster: false,
  xDnsPrefetchControl: false,
  xDownloadOptions: false,
  xPermittedCrossDomainPolicies: false,
  xXssProtection: false,
});

const noNext = () => Promise.resolve();

/** Creates the app with every operation of the contract. The caller adds other routes, such as the docs. */
export function createRouter(options: RouterOptions): OpenAPIHono<AppEnv> {
  const { log, intake, limiter, corsOrigins } = options;
  const app = new OpenAPIHono<AppEnv>({
    defaultHook: (result) => {
      if (!result.success) throw validationProblem(result);
    },
  });
  app.use(requestId(), logRequests(log));
  app.use(async (c, next) => {
    await next();
    // The answer that opens a WebSocket is immutable. Pages have their own policy.
    if (c.res.status !== 101 && !c.res.headers.has("Content-Security-Policy")) await apiHeaders(c, noNext);
  });
  // openSocket checks origins itself, and its answer is immutable.
  if (corsOrigins.length > 0) app.use(except(operations.openSocket.route.path, crossOrigin(corsOrigins)));
  app.use(async (_c, next) => {
    intake.assertOpen();
    await next();
  });
  app.onError((failure, c) => answerFailure(failure, c, log));
  app.notFound(async (c) => {
    await limiter.admit(c, "public");
    const methods = methodsOf(app, c.req.path);
    if (methods.length === 0) {
      return problemResponse(c, new Problem("route_not_found", `No route matches ${c.req.path}.`));
    }
    c.header("Allow", methods.join(", "));
    return problemResponse(c, new Problem("method_not_allowed", `Use ${methods.join(" or ")} at ${c.req.path}.`));
  });
  const execute = createExecutor(options);
  const limitConcurrency = createConcurrencyLimiter();
  for (const operation of Object.values(operations)) {
    if (!operation.isSandboxOnly || options.isSandbox) {
      addOperation(app, operation, { ...options, execute, limitConcurrency });
    }
  }
  return app;
}

function crossOrigin(origins: string[]): MiddlewareHandler {
  return cors({
    origin: origins,
    allowMethods: ["GET", "HEAD", "POST", "PUT", "DELETE"],
    allowHeaders: [
      "Authorization",
      "Content-Type",
      "Idempotency-Key",
      "If-Match",
      "If-None-Match",
      "X-Request-Id",
    ],
    exposeHeaders: [
      "ETag",
      "Idempotency-Replayed",
      "RateLimit",
      "RateLimit-Policy",
      "Retry-After",
      "WWW-Authenticate",
      "X-Request-Id",
    ],
    maxAge: 7_200,
  });
}

function addOperation(
  app: OpenAPIHono<AppEnv>,
  operation: Operation,
  { authenticator, redeemTicket, limiter, deadlines, intake, execute, limitConcurrency }: RouterOptions & {
    execute: ReturnType<typeof createExecutor>;
    limitConcurrency: LimitConcurrency;
  },
): void {
  const executeLimited = limitConcurrency(operation, execute);
  const identify = (c: Context<AppEnv>): Promise<Caller> => {
    const authorization = c.req.header("Authorization");
    const ticket = operation.takesTicket ? c.req.query("ticket") : undefined;
    if (authorization === undefined && ticket !== undefined) {
      return limiter.guard(c, () => redeemTicket(ticket), { kind: "ticket", isKnown: false });
    }
    const credential = { kind: authenticator.kindOf(authorization), isKnown: authenticator.remembers(authorization) };
    return limiter.guard(c, () => authenticator.authenticate(authorization), credential);
  };
  const receive = async (c: Context<AppEnv>): Promise<void> => {
    c.set("operation", operation);
    const caller = operation.access === "public" ? undefined : await identify(c);
    await limiter.admit(c, operation.rateLimit, caller);
    if (caller !== undefined) {
      c.set("caller", caller);
      assertMay(caller, operation);
    }
    if (c.req.url.includes("%00")) assertStorableQuery(c.req.query());
    if (operation.bodyKind === "json") c.set("bodyText", await readJsonBody(c.req, deadlines));
    if (operation.bodyKind === "raw") c.set("bodyText", await readText(c.req.raw, deadlines));
  };
  const beforeValidation: MiddlewareHandler<AppEnv> = async (c, next) => {
    await intake.receive(receive(c));
    await next();
  };
  const route = createRoute({ ...operation.route as RouteConfig, middleware: beforeValidation });

  app.openapi(route, async (c) => {
    // Shared by all operations, so TypeScript cannot know which parts exist.
    const valid = (part: string): unknown => c.req.valid(part as never);
    const { caller, requestId, bodyText = "" } = c.var;
    // Every header that the contract may declare is a string.
    const headers = ("headers" in operation.route.request ? valid("header") : {}) as Record<string, string | undefined>;
    const { "idempotency-key": key, "if-match": ifMatch } = headers;
    // Not parsed by `URL`, which rejects some hosts that HTTP allows.
    const target = c.req.url.slice(c.req.url.indexOf("/", c.req.url.indexOf("://") + 3));
    const execution = {
      operation,
      input: {
        params: valid("param"),
        query: valid("query"),
        headers,
        body: operation.bodyKind === "json" ? valid("json") : bodyText,
        caller,
        request: c.req.raw,
      },
      caller,
      requestId,
      keyed: key === undefined || caller === undefined
        ? undefined
        : { userId: caller.userId, key, content: [c.req.method, target, ifMatch ?? "", bodyText] },
      ifMatch,
    };
    const answer = await deadlines.within(executeLimited(execution), {
      limitMs: answerLimitMs,
      late: lateAnswer,
    });
    if (answer instanceof Response) return answer;
    if (answer.isReplay) c.header("Idempotency-Replayed", "true");
    return answer.status >= 400 ? problemBody(c, answer.text, answer.status) : respond(c, answer, {
      hasEntityTag: operation.hasEntityTag,
      isPublic: operation.access === "public",
      ifNoneMatch: headers["if-none-match"],
    });
  });
}

/** Sends an answer, or 304 if `ifNoneMatch` has its entity tag. */
function respond(
  c: Context<AppEnv>,
  { status, text }: SerializedAnswer,
  { hasEntityTag, isPublic, ifNoneMatch }: {
    hasEntityTag: boolean;
    isPublic: boolean;
    ifNoneMatch: string | undefined;
  },
): Response {
  if (!hasEntityTag) {
    c.header("Cache-Control", "no-store");
  } else {
    const tag = entityTagOf(text);
    c.header("ETag", tag);
    // Clients may store it, but must revalidate it each time.
    c.header("Cache-Control", isPublic ? "no-cache" : "private, no-cache");
    if (ifNoneMatch !== undefined && namesTag(ifNoneMatch, tag)) return c.body(null, 304);
  }
  // Every success of the contract has a body.
  return c.body(text, status as ContentfulStatusCode, { "Content-Type": "application/json" });
}

/** The work may still finish later. A client with an Idempotency-Key learns the result by a retry. */
function lateAnswer(): Problem {
  return new Problem("service_unavailable", "The request took too long. It may or may not have been done.");
}

function logRequests(log: Log): MiddlewareHandler<AppEnv> {
  return async (c, next) => {
    const start = performance.now();
    await next();
    const operation = c.get("operation");
    log.info("request", {
      requestId: c.get("requestId"),
      method: c.req.method,
      route: operation?.route.path ?? "other",
      status: c.res.status,
      ms: Math.round((performance.now() - start) * 100) / 100,
      userId: c.get("caller")?.userId,
    });
  };
}

/** The methods of `path`. GET includes HEAD. */
function methodsOf(app: OpenAPIHono<AppEnv>, path: string): string[] {
  const methods = new Set<string>();
  for (const route of app.routes) {
    if (route.method === "ALL" || !matches(route.path, path)) continue;
    methods.add(route.method);
    if (route.method === "GET") methods.add("HEAD");
  }
  return [...methods].sort();
}

/** Whether `path` matches `pattern`, where a segment `:name` matches any text. */
function matches(pattern: string, path: string): boolean {
  const [parts, segments] = [pattern.split("/"), path.split("/")];
  return parts.length === segments.length &&
    parts.every((part, index) => part.startsWith(":") ? segments[index] !== "" : part === segments[index]);
}
