/** Puts the contract's operations on HTTP: authorization, decoding, the handler, and the check of its answer. */
import { createRoute, OpenAPIHono, type RouteConfig } from "@hono/zod-openapi";
import type { Context, MiddlewareHandler } from "hono";
import { requestId } from "hono/request-id";
import type { ContentfulStatusCode } from "hono/utils/http-status";
import type { z } from "zod";
import { operations } from "../../generated/contract.ts";
import type { Authenticate, Caller } from "../auth/callers.ts";
import { Problem } from "../problems.ts";
import type { Handlers } from "./handlers.ts";
import type { Intake } from "./intake.ts";
import { readJsonBody, readText } from "./json_body.ts";
import type { Log } from "./log.ts";
import { answerFailure, problemResponse } from "./problem_response.ts";
import { validationProblem } from "./validation.ts";

type Operation = typeof operations[keyof typeof operations];

export interface AppEnv {
  Variables: { requestId: string; operation?: Operation; caller?: Caller; rawBody?: string };
}

export interface RouterOptions {
  handlers: Handlers;
  authenticate: Authenticate;
  /** Whom a ticket stands for, where the contract takes one in the place of a token. */
  redeemTicket: (ticket: string) => Promise<Caller>;
  log: Log;
  intake: Intake;
}

/** The app with every operation of the contract. Routes of another kind (the docs) are added to it by the caller. */
export function createRouter(options: RouterOptions): OpenAPIHono<AppEnv> {
  const { log, intake } = options;
  const app = new OpenAPIHono<AppEnv>({
    defaultHook: (result) => {
      if (!result.success) throw validationProblem(result);
    },
  });
  app.use(requestId(), logRequests(log));
  app.use(async (_c, next) => {
    intake.assertOpen();
    await next();
  });
  app.onError((failure, c) => answerFailure(failure, c, log));
  app.notFound((c) => {
    const methods = methodsOf(app, c.req.path);
    if (methods.length === 0) {
      return problemResponse(c, new Problem("route_not_found", `There is nothing at ${c.req.path}.`));
    }
    c.header("Allow", methods.join(", "));
    return problemResponse(c, new Problem("method_not_allowed", `Use ${methods.join(" or ")} at ${c.req.path}.`));
  });
  for (const operation of Object.values(operations)) {
    // Outside of the sandbox there is nothing where its operations are.
    if (!operation.isSandboxOnly || options.handlers[operation.id] !== undefined) addOperation(app, operation, options);
  }
  return app;
}

function addOperation(
  app: OpenAPIHono<AppEnv>,
  operation: Operation,
  { handlers, authenticate, redeemTicket, intake }: RouterOptions,
): void {
  const identify = (c: Context<AppEnv>): Promise<Caller> => {
    const authorization = c.req.header("Authorization");
    const ticket = operation.takesTicket ? c.req.query("ticket") : undefined;
    return authorization === undefined && ticket !== undefined ? redeemTicket(ticket) : authenticate(authorization);
  };
  const receive = async (c: Context<AppEnv>): Promise<void> => {
    c.set("operation", operation);
    if (operation.access !== "public") {
      const caller = await identify(c);
      c.set("caller", caller);
      if (operation.access === "admin" && caller.role !== "admin") {
        throw new Problem("admin_required", "Only an admin may do this.");
      }
    }
    if (operation.bodyKind === "json") await readJsonBody(c.req);
    if (operation.bodyKind === "raw") c.set("rawBody", await readText(c.req.raw));
  };
  const beforeValidation: MiddlewareHandler<AppEnv> = async (c, next) => {
    await intake.receive(receive(c));
    await next();
  };
  // One operation's types say nothing about the next one's, so the loop sees them all as the general case. `Handlers`
  // has checked each handler against its operation, and the answer is parsed by its schema below.
  const handle = handlers[operation.id] as (input: unknown) => Promise<{ status: ContentfulStatusCode; body: unknown }>;
  const route = createRoute({ ...operation.route as RouteConfig, middleware: beforeValidation });
  const answers: Record<number, z.ZodType | undefined> = operation.answers;

  app.openapi(route, async (c) => {
    // Which parts a route has is lost with its type, see above.
    const valid = (part: string): unknown => c.req.valid(part as never);
    const { status, body } = await handle({
      params: valid("param"),
      query: valid("query"),
      body: operation.bodyKind === "json" ? valid("json") : c.get("rawBody"),
      caller: c.get("caller"),
      request: c.req.raw,
    });
    // The connection is no longer HTTP.
    if (operation.upgrades && body instanceof Response) return body;
    const answer = answers[status]?.safeParse(body);
    if (answer === undefined) {
      throw new Error(`${operation.id} answered ${status}, which the contract does not declare`);
    }
    if (!answer.success) {
      throw new Error(`${operation.id} gave an answer that breaks its contract`, { cause: answer.error });
    }
    return c.json(answer.data, status);
  });
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
