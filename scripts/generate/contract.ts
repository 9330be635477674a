/**
 * Turns the contract into TypeScript: zod schemas, one `createRoute` per operation, and the type `Operations` of the
 * handlers.
 *
 * It supports a small dialect of OpenAPI 3.1. Other keywords fail with the place and the reason, so no part of the
 * contract is dropped silently.
 */

import { type BodyKind, impliedProblems, securityOf } from "./access.ts";
import { entries, fail, type Json, type Node, node, omit, text } from "./nodes.ts";
import { assertAlone, schemaWriter } from "./schemas.ts";

const METHODS = ["get", "put", "post", "delete", "patch"];
/** Request headers that the contract may declare, with the flag that each gives an operation. */
const HEADERS: Record<string, string> = {
  "Idempotency-Key": "takesIdempotencyKey",
  "If-Match": "takesIfMatch",
  "If-None-Match": "isConditional",
};
const DOCUMENT = ["openapi", "info", "servers", "tags", "x-rate-limits", "x-concurrency-limits", "paths", "components"];
const OPERATION = [
  "operationId",
  "tags",
  "summary",
  "description",
  "security",
  "x-rate-limit",
  "x-concurrency-limit",
  "x-websocket",
  "x-raw-body",
  "x-sandbox-only",
  "parameters",
  "requestBody",
  "responses",
];
const PARAMETER = ["name", "in", "required", "description", "schema", "example", "x-served-maximum"];

function assertKnown(value: Node, known: string[], where: string): void {
  const unknown = Object.keys(value).find((key) => !known.includes(key));
  if (unknown !== undefined) fail(where, `\`${unknown}\` is outside our dialect`);
}

/** Returns the TypeScript of `generated/contract.ts`. Throws a `ContractError` outside the dialect. */
export function generateContract(document: Json): string {
  const components = node(node(document, "document").components, "components");
  const schemas = node(components.schemas ?? {}, "components.schemas");
  const { named, resolved, schemaCode, parameterSchemaCode, inOrder } = schemaWriter(components);
  const rateLimits = node(node(document, "document")["x-rate-limits"] ?? {}, "x-rate-limits");
  const concurrencyLimits = node(node(document, "document")["x-concurrency-limits"] ?? {}, "x-concurrency-limits");
  const scopes = node(schemas.ApiKeyScope ?? {}, "ApiKeyScope").enum;

  function parametersCode(parameters: Node[], place: string, where: string): string {
    const fields = parameters.filter((parameter) => parameter.in === place).map((parameter) => {
      const name = String(parameter.name);
      const code = parameterSchemaCode(parameter, `${where}.${name}`);
      const hasDefault = resolved("schemas", node(parameter.schema, where), where).default !== undefined;
      const optional = parameter.required === true || hasDefault ? "" : ".optional()";
      const about = omit(parameter, "name", "in", "schema", "required");
      if (about.description === undefined) fail(`${where}.${name}`, "needs a description");
      // Hono passes headers in lower case. Undeclared headers are ignored.
      const key = place === "header" ? name.toLowerCase() : name;
      return `${text(key)}: ${code}${optional}.openapi({ param: ${text(about)} })`;
    });
    return `z.${place === "header" ? "object" : "strictObject"}({ ${fields.join(", ")} })`;
  }

  function contentCode(content: Json | undefined, where: string): string {
    const fields = entries(content, where).map(([mediaType, media]) => {
      const unknown = Object.keys(omit(media, "schema", "example", "examples"))[0];
      if (unknown !== undefined) fail(where, `\`${unknown}\` is outside our dialect`);
      if (media.example === undefined && media.examples === undefined) fail(where, "needs an example");
      const schema = schemaCode(node(media.schema, where), where);
      const example = media.example === undefined ? "" : `, example: ${text(media.example)}`;
      const references = entries(media.examples, where)
        .map(([name, each]) => `${text(name)}: examples.${named("examples", each.$ref, where)}`);
      return `${text(mediaType)}: { schema: ${schema}${example}${
        references.length === 0 ? "" : `, examples: { ${references.join(", ")} }`
      } }`;
    });
    return `{ ${fields.join(", ")} }`;
  }

  function responseCode(response: Node, where: string): string {
    if (response.$ref !== undefined) {
      assertAlone(response, where);
      return `responses.${named("responses", response.$ref, where)}`;
    }
    const unknown = Object.keys(omit(response, "description", "headers", "content"))[0];
    if (unknown !== undefined) fail(where, `\`${unknown}\` of a response is outside our dialect`);
    const description = text(response.description ?? fail(where, "needs a description"));
    const declared = entries(response.headers, where).map(([name, header]) =>
      header.$ref === undefined
        ? `${text(name)}: ${text(header)} as const`
        : `${text(name)}: headers.${named("headers", header.$ref, where)}`
    );
    const headers = declared.length === 0 ? "" : `, headers: { ${declared.join(", ")} }`;
    const content = response.content === undefined ? "" : `, content: ${contentCode(response.content, where)}`;
    return `{ description: ${description}${headers}${content} }`;
  }

  /** The member of `Operations` for this operation: its handler's input and answers. */
  function typeCode(
    id: string,
    access: string,
    { bodyKind, takesHeaders, upgrades, isSandboxOnly, successes }: {
      bodyKind: BodyKind;
      takesHeaders: boolean;
      upgrades: boolean;
      isSandboxOnly: boolean;
      successes: [string, string][];
    },
  ): string {
    const body = {
      none: "undefined",
      json: `z.output<typeof routes.${id}.request.body.content["application/json"]["schema"]>`,
      raw: "string",
    }[bodyKind];
    const answers = successes.map(([status, schema]) => `{ status: ${status}; body: z.input<typeof ${schema}> }`);
    if (upgrades) answers.push("{ status: 101; body: Response }");
    return `${id}: {
      access: ${text(access)};
      params: z.output<typeof routes.${id}.request.params>;
      query: z.output<typeof routes.${id}.request.query>;
      headers: ${takesHeaders ? `z.output<typeof routes.${id}.request.headers>` : "Record<never, never>"};
      body: ${body};
      bodyKind: ${text(bodyKind)};
      isSandboxOnly: ${isSandboxOnly};
      answer: ${answers.join(" | ")};
    };`;
  }

  const routes: string[] = [];
  const operations: string[] = [];
  const types: string[] = [];
  const ids = new Set<string>();

  function addOperation(method: string, path: string, pathParameters: Node[], operation: Node): void {
    const where = `${method.toUpperCase()} ${path}`;
    const id = operation.operationId;
    if (typeof id !== "string" || !/^[a-z]\w*$/.test(id)) fail(where, "needs an operationId in camelCase");
    if (ids.has(id)) fail(where, `operationId ${id} is used twice`);
    ids.add(id);
    if (!METHODS.includes(method)) fail(where, `method ${method} is outside our dialect`);
    for (const key of ["summary", "description", "tags"]) if (operation[key] === undefined) fail(where, `needs ${key}`);

    assertKnown(operation, OPERATION, where);
    const { access, scope, takesTicket } = securityOf(
      operation.security,
      Array.isArray(scopes) ? scopes : [],
      where,
    );
    const rateLimit = String(operation["x-rate-limit"]);
    if (rateLimit !== "none" && !(rateLimit in rateLimits)) {
      fail(where, `x-rate-limit must be none or one of ${Object.keys(rateLimits).join(", ")}`);
    }
    const concurrencyLimit = String(operation["x-concurrency-limit"] ?? "none");
    if (concurrencyLimit !== "none" && !(concurrencyLimit in concurrencyLimits)) {
      fail(where, `x-concurrency-limit must be left out or one of ${Object.keys(concurrencyLimits).join(", ")}`);
    }

    const own = (operation.parameters ?? []) as Node[];
    const parameters = [...pathParameters, ...own].map((each) => resolved("parameters", each, where));
    const inPath = parameters.filter((each) => each.in === "path").map((each) => `{${each.name}}`);
    if (String(path.match(/\{\w+\}/g) ?? []) !== String(inPath)) fail(where, "path and path parameters differ");
    for (const parameter of parameters) assertKnown(parameter, PARAMETER, `${where} ${parameter.name}`);
    const isKnownPlace = (each: Node) => each.in === "header" ? String(each.name) in HEADERS : each.in !== "cookie";
    const elsewhere = parameters.find((each) => !isKnownPlace(each));
    if (elsewhere !== undefined) fail(where, `${elsewhere.name} in ${elsewhere.in} is outside our dialect`);
    const inHeader = parameters.filter((each) => each.in === "header").map(({ name }) => String(name));
    const takesIdempotencyKey = inHeader.includes("Idempotency-Key");
    const takesIfMatch = inHeader.includes("If-Match");
    const mayRepeat = access !== "public" && ["post", "put"].includes(method);
    if (takesIdempotencyKey !== mayRepeat) {
      fail(where, "Idempotency-Key belongs to each POST and PUT that is not public, and to nothing else");
    }

    const body = operation.requestBody === undefined ? undefined : node(operation.requestBody, `${where}.requestBody`);
    if (body !== undefined) assertKnown(body, ["required", "content"], `${where} requestBody`);
    if (body !== undefined && body.required !== true) fail(where, "a request body needs required: true");
    if (body !== undefined && String(Object.keys(node(body.content, where))) !== "application/json") {
      fail(where, "a request body must be application/json");
    }
    for (const flag of ["x-raw-body", "x-sandbox-only"]) {
      if (![undefined, true].includes(operation[flag] as boolean | undefined)) {
        fail(where, `${flag} is true or left out`);
      }
    }
    if (operation["x-raw-body"] === true && body === undefined) fail(where, "x-raw-body needs a request body");
    const bodyKind = body === undefined ? "none" : operation["x-raw-body"] === true ? "raw" : "json";
    const isSandboxOnly = operation["x-sandbox-only"] === true;

    const upgrades = operation["x-websocket"] !== undefined;
    if (upgrades !== (node(operation.responses, where)["101"] !== undefined)) {
      fail(where, "a WebSocket has both x-websocket and the response 101");
    }
    if (inHeader.includes("If-None-Match") !== (node(operation.responses, where)["304"] !== undefined)) {
      fail(where, "If-None-Match and the response 304 belong together");
    }
    for (const [frame, schema] of entries(operation["x-websocket"], where)) {
      named("schemas", schema.$ref, `${where} x-websocket.${frame}`);
    }

    const successes: [string, string][] = [];
    let hasEntityTag = false;
    const problems: string[] = [];
    const answers = entries(operation.responses, where).map(([status, response]) => {
      const at = `${where} ${status}`;
      if (["101", "304"].includes(status)) return `${status}: ${responseCode(response, at)}`;
      const [[mediaType, media] = fail(at, "needs content")] = entries(resolved("responses", response, at).content, at);
      if (status.startsWith("2")) {
        if (mediaType !== "application/json") fail(at, "must be application/json");
        successes.push([status, named("schemas", node(media.schema, at).$ref, at)]);
        hasEntityTag ||= "ETag" in node(resolved("responses", response, at).headers ?? {}, at);
      } else {
        if (mediaType !== "application/problem+json") fail(at, "must be application/problem+json");
        for (const [code, example] of entries(media.examples, at)) {
          const value = node(resolved("examples", example, at).value, at);
          if (value.code !== code || String(value.status) !== status) fail(at, `example ${code} is of another problem`);
          problems.push(code);
        }
      }
      return `${status}: ${responseCode(response, at)}`;
    });
    if (successes.length === 0 && !upgrades) fail(where, "needs a success");
    const kind = { access, scope, bodyKind, rateLimit, concurrencyLimit, takesIdempotencyKey, takesIfMatch } as const;
    const missing = impliedProblems(kind).find((code) => !problems.includes(code));
    if (missing !== undefined) fail(where, `can answer ${missing}, so it has to say so`);

    const about = omit(operation, "parameters", "requestBody", "responses", "operationId");
    // zod-openapi parses every body with a zod schema, so a raw body keeps the schema of the contract.
    const content = body === undefined
      ? undefined
      : bodyKind === "raw"
      ? text(body.content ?? null)
      : contentCode(body.content, where);
    const bodyCode = content === undefined ? "" : `body: { required: true, content: ${content} },`;
    routes.push(`${id}: createRoute({
      method: ${text(method)}, path: ${text(path)}, operationId: ${text(id)}, ...${text(about)},
      request: {
        params: ${parametersCode(parameters, "path", where)},
        query: ${parametersCode(parameters, "query", where)},
        ${inHeader.length === 0 ? "" : `headers: ${parametersCode(parameters, "header", where)},`}
        ${bodyCode}
      },
      responses: { ${answers.join(", ")} },
    }),`);
    const flags = Object.entries(HEADERS).map(([name, flag]) => `${flag}: ${inHeader.includes(name)}`).join(", ");
    operations.push(`${id}: {
      id: ${text(id)}, access: ${text(access)}, scope: ${text(scope)}, takesTicket: ${takesTicket},
      rateLimit: ${text(rateLimit)}, concurrencyLimit: ${
      text(concurrencyLimit)
    }, ${flags}, hasEntityTag: ${hasEntityTag},
      bodyKind: ${text(bodyKind)}, upgrades: ${upgrades}, isSandboxOnly: ${isSandboxOnly}, problems: ${text(problems)},
      answers: { ${successes.map(([status, schema]) => `${status}: ${schema}`).join(", ")} }, route: routes.${id},
    },`);
    types.push(
      typeCode(id, access, { bodyKind, takesHeaders: inHeader.length > 0, upgrades, isSandboxOnly, successes }),
    );
  }

  assertKnown(node(document, "document"), DOCUMENT, "document");
  for (const [path, item] of entries(node(document, "document").paths, "paths")) {
    const shared = (item.parameters ?? []) as Node[];
    for (const [method, operation] of entries(omit(item, "parameters"), path)) {
      addOperation(method, path, shared, operation);
    }
  }

  const schemaDeclarations = inOrder().map((name) => {
    const code = schemaCode(node(schemas[name], name), `components.schemas.${name}`);
    return `export const ${name} = ${code}.openapi(${text(name)});\nexport type ${name} = z.output<typeof ${name}>;\n`;
  });
  const exampleFields = entries(components.examples, "components.examples")
    .map(([name, example]) => `${text(name)}: ${text(example)},`);
  const headerFields = entries(components.headers, "components.headers")
    .map(([name, header]) => `${text(name)}: ${text(header)},`);
  const responseFields = entries(components.responses, "components.responses")
    .map(([name, response]) => `${text(name)}: ${responseCode(response, `components.responses.${name}`)},`);
  const allRoutes = routes.join("\n");
  const allSchemas = schemaDeclarations.join("\n");
  const decoders = ["booleanParameter", "integerParameter", "listParameter"].filter((each) => allRoutes.includes(each));

  return `
import { createRoute, z } from "@hono/zod-openapi";
${decoders.length === 0 ? "" : `import { ${decoders.join(", ")} } from "../src/parameters.ts";`}
${allSchemas.includes("decimals(") ? 'import { decimals } from "../src/serializing.ts";' : ""}

${allSchemas}
const examples = { ${exampleFields.join("\n")} };

const headers = { ${headerFields.join("\n")} } as const;

const responses = { ${responseFields.join("\n")} };

const routes = { ${allRoutes} };

/** Requests that a caller may make, by class: the quota and its window in seconds. */
export const rateLimits = ${text(rateLimits)};

/** Requests of a class that run at once in a server, and those that may wait. */
export const concurrencyLimits = ${text(concurrencyLimits)};

/** Every operation of the contract: its access, limits, answers, problems and route. */
export const operations = { ${operations.join("\n")} } as const;

/** The input of each operation's handler, decoded and validated, and its possible answers. */
export type Operations = {
${types.join("\n")}
};
`;
}
