/** Decodes and validates the input of an operation. */
import type { HonoRequest } from "hono";
import type { z } from "zod";
import type { Operation } from "../contract/handlers.ts";
import { validationProblem } from "../contract/validation.ts";
import { parseJsonBody } from "./json_body.ts";

/** The parts of a request, decoded and validated by the schemas of its operation. */
export interface Decoded {
  params: unknown;
  query: unknown;
  /** Only the declared headers, in lower case. */
  headers: Record<string, string | undefined>;
  body: unknown;
}

/** The schemas of an operation. TypeScript cannot unite those of all operations. */
interface RequestSchemas {
  params: z.ZodObject;
  query: z.ZodObject;
  headers?: z.ZodObject;
  /** Not a zod schema if the handler reads the raw body. */
  body?: { content: { "application/json": { schema: unknown } } };
}

/** Most valid queries that an operation keeps, and the length of the longest URL. A part of a text keeps the whole text. */
const [maxKept, maxUrlLength] = [500, 500];

/**
 * Returns the decoder of an operation. `bodyText` is the text of the body, empty if it has none.
 *
 * The decoder throws {@link Problem} `validation_failed` or `malformed_json`.
 */
export function createDecoder(
  { route, bodyKind, takesTicket }: Operation,
): (request: HonoRequest, bodyText: string) => Decoded {
  const schemas: RequestSchemas = route.request;
  const content = schemas.body?.content["application/json"];
  const bodySchema = bodyKind === "json" ? content?.schema as z.ZodType : undefined;
  const headerNames = Object.keys(schemas.headers?.shape ?? {});
  const hasParams = Object.keys(schemas.params.shape).length > 0;
  const queries = new Map<string, unknown>();
  const none = {};

  return (request, bodyText) => {
    const json = bodySchema === undefined ? undefined : parseJsonBody(bodyText);
    const query = decodeQuery(request);
    const params = hasParams ? valid("param", schemas.params, request.param()) : none;
    const headers = decodeHeaders(request);
    const body = bodySchema === undefined ? bodyText : valid("json", bodySchema, json);
    return { params, query, headers, body };
  };

  /** Most requests repeat the queries of others. So the latest valid ones are kept, but no ticket, which is a secret. */
  function decodeQuery(request: HonoRequest): unknown {
    const start = request.url.indexOf("?");
    const text = start === -1 ? "" : request.url.slice(start);
    const known = queries.get(text);
    if (known !== undefined) return known;
    const query = Object.freeze(valid("query", schemas.query, queryOf(request)));
    if (!takesTicket && request.url.length <= maxUrlLength) {
      if (queries.size === maxKept) queries.clear();
      queries.set(text, query);
    }
    return query;
  }

  function decodeHeaders({ raw }: HonoRequest): Record<string, string | undefined> {
    const sent: Record<string, string> = {};
    let isEmpty = true;
    for (const name of headerNames) {
      const value = raw.headers.get(name);
      if (value === null) continue;
      sent[name] = value;
      isEmpty = false;
    }
    // Every header that the contract may declare is an optional string.
    return isEmpty || schemas.headers === undefined ? none : valid("header", schemas.headers, sent) as typeof sent;
  }
}

/** @throws {Problem} `validation_failed`. */
function valid(target: string, schema: z.ZodType, data: unknown): unknown {
  const result = schema.safeParse(data);
  if (result.success) return result.data;
  throw validationProblem({ target, data, error: result.error });
}

/** A parameter that is sent once is a text, otherwise a list. */
function queryOf(request: HonoRequest): Record<string, string | string[]> {
  return Object.fromEntries(
    Object.entries(request.queries()).map(([name, values]) => [name, values.length === 1 ? values[0] ?? "" : values]),
  );
}
