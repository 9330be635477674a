/** Finds the handler of a request. */
import { METHOD_NAME_ALL, type Params, type Result, type Router } from "hono/router";

interface Route<Handler> {
  handler: Handler;
  /** Segments of the path. A name that begins with `:` is a parameter. */
  segments: string[];
}

/**
 * Hono's router for paths of whole segments, where a parameter is one segment that is not empty. A path with parameters
 * yields to one without. All other routes, such as middlewares and pages, are those of `others`.
 *
 * Hono's fast router does not take the paths of the contract, because `/bookings/rooms` and `/bookings/:bookingId` overlap.
 */
export class OperationRouter<Handler> implements Router<Handler> {
  readonly name = "OperationRouter";
  /** Routes without parameters, by method and path. */
  private readonly fixed = new Map<string, Result<Handler>>();
  /** Routes with parameters, by method and number of segments. */
  private readonly variable = new Map<string, Route<Handler>[]>();
  private readonly routes: { method: string; segments: string[] }[] = [];

  constructor(private readonly others: Router<Handler>) {}

  /** Adds a route of Hono's own methods, such as `get` and `use`. */
  add(method: string, path: string, handler: Handler): void {
    this.others.add(method, path, handler);
    if (method !== METHOD_NAME_ALL) this.routes.push({ method, segments: path.split("/") });
  }

  /** Adds an operation. No middleware runs before it. */
  addOperation(method: string, path: string, handler: Handler): void {
    const segments = path.split("/");
    this.routes.push({ method, segments });
    if (!path.includes(":")) {
      this.fixed.set(`${method} ${path}`, [[[handler, {}]]]);
      return;
    }
    const key = `${method} ${segments.length}`;
    const routes = this.variable.get(key) ?? [];
    this.variable.set(key, routes);
    routes.push({ handler, segments });
    // The route whose first parameter comes later is the more exact one.
    routes.sort((a, b) => firstParameter(b.segments) - firstParameter(a.segments));
  }

  match(method: string, path: string): Result<Handler> {
    const found = this.fixed.get(`${method} ${path}`);
    if (found !== undefined) return found;
    const segments = path.split("/");
    for (const route of this.variable.get(`${method} ${segments.length}`) ?? []) {
      const params = parametersOf(route.segments, segments);
      if (params !== undefined) return [[[route.handler, params]]];
    }
    return this.others.match(method, path);
  }

  /** Returns the methods of a path, sorted. GET includes HEAD. */
  methodsOf(path: string): string[] {
    const segments = path.split("/");
    const routes = this.routes.filter((route) => parametersOf(route.segments, segments) !== undefined);
    const methods = new Set(routes.map(({ method }) => method));
    if (methods.has("GET")) methods.add("HEAD");
    return [...methods].sort();
  }
}

function firstParameter(segments: string[]): number {
  return segments.findIndex((segment) => segment.startsWith(":"));
}

/** Returns the parameters of a path by their names, or undefined if the path has another form. */
function parametersOf(pattern: string[], segments: string[]): Params | undefined {
  if (pattern.length !== segments.length) return undefined;
  const params: Params = {};
  for (let index = 0; index < pattern.length; index++) {
    const [part = "", segment = ""] = [pattern[index], segments[index]];
    if (part.startsWith(":") ? segment === "" : part !== segment) return undefined;
    if (part.startsWith(":")) params[part.slice(1)] = segment;
  }
  return params;
}
