/** Puts the contract's operations on HTTP: limits, authorization, decoding, the handler, and how its answer goes out. */
import { createRoute, OpenAPIHono, type RouteConfig } from "@hono/zod-openapi";
import type { Context, MiddlewareHandler } from "hono";
import { except } from "hono/combine";
import { cors } from "hono/cors";
import { requestId } from "hono/request-id";
import { secureHeaders } from "hono/secure-headers";
import type { ContentfulStatusCode } from "hono/utils/http-status";
import { operations } from "../../generated/contract.ts";
import { assertMay } from "../contract/access.ts";
import type { Authenticator } from "../auth/callers.ts";
import type { Caller } from "../contract/caller.ts";
import { Problem } from "../contract/problems.ts";
import type { AppEnv } from "./context.ts";
import type { Deadlines } from "./deadlines.ts";
import { entityTagOf, namesTag } from "../contract/entity_tags.ts";
import { createExecutor, type ExecutionRules } from "../execution/execution.ts";
import type { Operation } from "../contract/handlers.ts";
import type { WrittenAnswer } from "../execution/idempotency.ts";
import type { Intake } from "./intake.ts";
import { assertStorableQuery, readJsonBody, readText } from "./json_body.ts";
import type { Log } from "../log.ts";
import { answerFailure, problemBody, problemResponse } from "./problem_response.ts";
import type { RequestLimiter } from "./request_limiter.ts";
import { validationProblem } from "../contract/validation.ts";

export interface RouterOptions extends ExecutionRules {
  authenticator: Authenticator;
  /** Whom a ticket stands for, where the contract takes one in the place of a token. */
  redeemTicket: (ticket: string) => Promise<Caller>;
  limiter: RequestLimiter;
  deadlines: Deadlines;
  /** Whether there are the operations of the sandbox. */
  isSandbox: boolean;
  /** Origins of pages elsewhere that may call the API. */
  corsOrigins: string[];
  log: Log;
  intake: Intake;
}

/** Milliseconds that an operation may take. The longest one that is meant to waits 30 s for an event. */
const answerLimitMs = 60_000;

const apiHeaders = secureHeaders({
  contentSecurityPolicy: { defaultSrc: ["'none'"], frameAncestors: ["'none'"] },
  // Whether there is TLS is known to the edge, not to us.
  strictTransportSecurity: false,
  // They mean something to pages only, and each header costs every answer.
  crossOriginOpenerPolicy: false,
  originAgentCluster: false,
  xDnsPrefetchControl: false,
  xDownloadOptions: false,
  xPermittedCrossDomainPolicies: false,
  xXssProtection: false,
});

const done = () => Promise.resolve();

/** The app with every operation of the contract. Routes of another kind (the docs) are added to it by the caller. */
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
    // What makes a WebSocket of the connection cannot be changed. Pages have a policy of their own, for they load something.
    if (c.res.status !== 101 && !c.res.headers.has("Content-Security-Policy")) await apiHeaders(c, done);
  });
  // A WebSocket has a rule of its own for origins, and nothing may be added to the answer that opens it.
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
      return problemResponse(c, new Problem("route_not_found", `There is nothing at ${c.req.path}.`));
    }
    c.header("Allow", methods.join(", "));
    return problemResponse(c, new Problem("method_not_allowed", `Use ${methods.join(" or ")} at ${c.req.path}.`));
  });
  const execute = createExecutor(options);
  for (const operation of Object.values(operations)) {
    // Outside of the sandbox there is nothing where its operations are.
    if (!operation.isSandboxOnly || options.isSandbox) {
      addOperation(app, operation, { ...options, execute });
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
  { authenticator, redeemTicket, limiter, deadlines, intake, execute }: RouterOptions & {
    execute: ReturnType<typeof createExecutor>;
  },
): void {
  const identify = (c: Context<AppEnv>): Promise<Caller> => {
    const authorization = c.req.header("Authorization");
    const ticket = operation.takesTicket ? c.req.query("ticket") : undefined;
    if (authorization === undefined && ticket !== undefined) {
      return limiter.guard(c, () => redeemTicket(ticket), { kind: "ticket", isKnown: false });
    }
    const known = { kind: authenticator.kindOf(authorization), isKnown: authenticator.remembers(authorization) };
    return limiter.guard(c, () => authenticator.authenticate(authorization), known);
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
    // Which parts a route has is lost with its type: one operation's types say nothing about the next one's.
    const valid = (part: string): unknown => c.req.valid(part as never);
    const { caller, requestId, bodyText = "" } = c.var;
    // Of the headers that the contract may declare, each is a text.
    const headers = ("headers" in operation.route.request ? valid("header") : {}) as Record<string, string | undefined>;
    const { "idempotency-key": key, "if-match": ifMatch } = headers;
    // Not by `URL`, which does not take every Host that HTTP lets through.
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
    const answer = await deadlines.within(execute(execution), { limitMs: answerLimitMs, late: answerIsLate });
    if (answer instanceof Response) return answer;
    if (answer.isReplay) c.header("Idempotency-Replayed", "true");
    return answer.status >= 400 ? problemBody(c, answer.text, answer.status) : respond(c, answer, {
      hasEntityTag: operation.hasEntityTag,
      isPublic: operation.access === "public",
      known: headers["if-none-match"],
    });
  });
}

/** Sends an answer, or says that the caller has it already: one with a tag that is `known`, the `If-None-Match`. */
function respond(
  c: Context<AppEnv>,
  { status, text }: WrittenAnswer,
  { hasEntityTag, isPublic, known }: { hasEntityTag: boolean; isPublic: boolean; known: string | undefined },
): Response {
  if (!hasEntityTag) {
    c.header("Cache-Control", "no-store");
  } else {
    const tag = entityTagOf(text);
    c.header("ETag", tag);
    // It may be kept, but has to be asked for each time.
    c.header("Cache-Control", isPublic ? "no-cache" : "private, no-cache");
    if (known !== undefined && namesTag(known, tag)) return c.body(null, 304);
  }
  // Statuses of the contract that are no problem have a body.
  return c.body(text, status as ContentfulStatusCode, { "Content-Type": "application/json" });
}

/** What takes too long is let go of. It may still come to its end; who sent an Idempotency-Key finds out by sending it again. */
function answerIsLate(): Problem {
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

/** The methods that `path` does have; GET brings HEAD with it. */
function methodsOf(app: OpenAPIHono<AppEnv>, path: string): string[] {
  const methods = new Set<string>();
  for (const route of app.routes) {
    if (route.method === "ALL" || !matches(route.path, path)) continue;
    methods.add(route.method);
    if (route.method === "GET") methods.add("HEAD");
  }
  return [...methods].sort();
}

/** Whether `path` is one of `pattern`, in which a part `:name` stands for any. */
function matches(pattern: string, path: string): boolean {
  const [parts, given] = [pattern.split("/"), path.split("/")];
  return parts.length === given.length &&
    parts.every((part, index) => part.startsWith(":") ? given[index] !== "" : part === given[index]);
}
