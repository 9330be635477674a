/** The contract, its generated code and the document that the routes emit are equal. */
import assert from "node:assert/strict";
import { isDeepStrictEqual } from "node:util";
import { OpenAPIHono, type RouteConfig } from "@hono/zod-openapi";
import { z } from "zod";
import * as generated from "../../generated/contract.ts";
import { catalogue } from "../../src/contract/problems.ts";
import { child, contract, contractOperations, type Json, type JsonObject, object, withoutRefs } from "./document.ts";

/** Returns zod-openapi's document of the server's routes. */
function emit(): JsonObject {
  const app = new OpenAPIHono();
  for (const { route } of Object.values(generated.operations)) app.openAPIRegistry.registerPath(route as RouteConfig);
  // No route uses these schemas: they are frames of the WebSocket.
  app.openAPIRegistry.register("ClientFrame", generated.ClientFrame);
  app.openAPIRegistry.register("ServerFrame", generated.ServerFrame);
  const document = app.getOpenAPI31Document({ openapi: "3.1.0", info: { title: "", version: "" } });
  return JSON.parse(JSON.stringify(document));
}

/** A place where two documents differ. Undefined means that one has no value there. */
interface Difference {
  path: string[];
  written: Json | undefined;
  emitted: Json | undefined;
  /** The parent of the place, on both sides. */
  around: { written: Json; emitted: Json };
}

function differences(written: Json, emitted: Json, path: string[] = []): Difference[] {
  if (typeof written !== "object" || typeof emitted !== "object" || written === null || emitted === null) {
    return [];
  }
  // The keys of a list are its indexes, so a missing or additional element differs.
  const keys = new Set([...Object.keys(written), ...Object.keys(emitted)]);
  return [...keys].flatMap((key): Difference[] => {
    const [left, right]: (Json | undefined)[] = [Reflect.get(written, key), Reflect.get(emitted, key)];
    const isInner = (value: Json | undefined) => typeof value === "object" && value !== null;
    if (isInner(left) && isInner(right) && Array.isArray(left) === Array.isArray(right)) {
      return differences(left ?? null, right ?? null, [...path, key]);
    }
    if (left === right) return [];
    return [{ path: [...path, key], written: left, emitted: right, around: { written, emitted } }];
  });
}

/** Known bugs of zod-openapi 1.6. The server serves the contract itself, so they reach no client. */
const emitterBugs: Record<string, (difference: Difference) => boolean> = {
  "`const` becomes an enum of one": ({ path, written, emitted, around }) =>
    path.at(-1) === "const"
      ? emitted === undefined && isDeepStrictEqual(child(around.emitted, "enum"), [written])
      : path.at(-1) === "enum" && written === undefined &&
        isDeepStrictEqual(emitted, [child(around.written, "const")]),
  "`additionalProperties: true` becomes `{}`, which means the same": ({ path, written, emitted }) =>
    path.at(-1) === "additionalProperties" && written === true && JSON.stringify(emitted) === "{}",
  "`required: false`, the default, is spelled out on parameters": ({ path, written, emitted, around }) =>
    path.at(-1) === "required" && written === undefined && emitted === false &&
    ["query", "path", "header"].includes(String(child(around.emitted, "in"))),
  "headers, whose names have no case, are emitted in lower case": ({ path, written, emitted, around }) =>
    path.at(-1) === "name" && child(around.emitted, "in") === "header" && String(written).toLowerCase() === emitted,
};

const emitted = emit();
const emittedPaths = withoutRefs(emitted, emitted.paths ?? {});
const writtenPaths = withoutRefs(contract, contract.paths ?? {});
const schemasOf = (document: JsonObject): JsonObject =>
  object(withoutRefs(document, child(document.components, "schemas") ?? {}));

Deno.test("drift: paths and schemas emitted by the routes -> equal to the contract, except known bugs of the emitter", () => {
  const found = [
    ...differences(writtenPaths, emittedPaths, ["paths"]),
    ...differences(schemasOf(contract), schemasOf(emitted), ["schemas"]),
  ];
  const unexplained = found.filter((difference) =>
    !Object.values(emitterBugs).some((explains) => explains(difference))
  );
  assert.deepEqual(unexplained.map(({ path, written, emitted }) => ({ path: path.join(" "), written, emitted })), []);
  for (const [bug, explains] of Object.entries(emitterBugs)) {
    assert(found.some(explains), `${bug}: no longer. Remove it from the list.`);
  }
});

Deno.test("drift: changed, dropped or added part -> found by the comparison", () => {
  const changes: [string, (document: JsonObject) => void][] = [
    ["a changed bound", (document) => object(schema(document, "Id")).minimum = 2],
    ["a dropped required field", (document) => void (object(schema(document, "Room")).required as Json[]).pop()],
    ["an added keyword", (document) => object(schema(document, "Room")).additionalProperties = false],
    ["a changed description", (document) => object(schema(document, "Id")).description = "Something else."],
  ];
  const schema = (document: JsonObject, name: string) => child(child(document.components, "schemas"), name);
  for (const [name, change] of changes) {
    const document = structuredClone(emitted);
    change(document);
    const changed = differences(emittedPaths, withoutRefs(document, document.paths ?? {}));
    assert(changed.length > 0, name);
    assert(!changed.some((difference) => Object.values(emitterBugs).some((explains) => explains(difference))), name);
  }
});

Deno.test("drift: schemas of the contract -> all emitted under their names, and no others", () => {
  assert.deepEqual(Object.keys(schemasOf(emitted)).sort(), Object.keys(schemasOf(contract)).sort());
});

Deno.test("drift: each operation -> security, tags, rate limit and served maximums of the contract", () => {
  const declarations = ({ security, tags, ...rest }: JsonObject): Json => ({
    security: security ?? null,
    tags: tags ?? null,
    rateLimit: rest["x-rate-limit"] ?? null,
    servedMaximums: (Array.isArray(rest.parameters) ? rest.parameters : [])
      .filter((parameter) => child(parameter, "in") !== "header")
      .map((parameter) => [child(parameter, "name") ?? null, child(parameter, "x-served-maximum") ?? null]),
  });
  for (const { operationId: id, method, path, ...operation } of contractOperations) {
    const route = object(child(child(emittedPaths, path), method.toLowerCase()));
    assert.deepEqual(
      declarations(route),
      declarations(object(child(child(writtenPaths, path), method.toLowerCase()))),
      id,
    );
    assert.equal(generated.operations[id].rateLimit, operation["x-rate-limit"]);
  }
  assert(JSON.stringify(emittedPaths).includes("x-served-maximum"));
});

/** Every media type of the document that has an example. */
function exampledMedia(node: Json, path: string[] = []): { path: string[]; media: JsonObject }[] {
  if (typeof node !== "object" || node === null) return [];
  // Another test checks examples of parameters. Headers of answers are plain texts.
  if (path.at(-2) === "headers") return [];
  if (!Array.isArray(node) && node.schema !== undefined && node.in === undefined) return [{ path, media: node }];
  return Object.entries(node).flatMap(([key, value]) => exampledMedia(value, [...path, key]));
}

/** Returns the generated schema with this name. */
function schemaNamed(name: string): z.ZodType {
  const schema: unknown = Object.entries(generated).find(([key]) => key === name)?.[1];
  assert(schema instanceof z.ZodType, `generated/contract.ts has no schema ${name}`);
  return schema;
}

/** Returns `value` with only the keys of `model`, because parsing adds defaults. */
function shapedAs(model: Json, value: unknown): unknown {
  if (typeof model !== "object" || model === null || Array.isArray(model)) return value;
  return Object.fromEntries(Object.keys(model).map((key) => [key, Reflect.get(Object(value), key)]));
}

Deno.test("drift: every example of a body -> valid, and unchanged by its generated schema", () => {
  const all = exampledMedia(contract);
  const bodies = all.filter(({ path }) => path.includes("requestBody"));
  assert(bodies.length > 0 && all.length > bodies.length);
  for (const { path, media } of all) {
    const { $ref } = object(media.schema);
    // A raw body has no named schema.
    if ($ref === undefined && path.includes("/api/v1/payments/webhook/{provider}")) continue;
    const schema = schemaNamed(String($ref).replace("#/components/schemas/", ""));
    const examples = media.example === undefined
      ? Object.values(object(withoutRefs(contract, media.examples ?? {}))).map((example) => child(example, "value"))
      : [media.example];
    assert(examples.length > 0, path.join(" "));
    for (const example of examples) {
      assert(example !== undefined, path.join(" "));
      const parsed = schema.parse(example);
      assert.deepEqual(path.includes("requestBody") ? shapedAs(example, parsed) : parsed, example, path.join(" "));
    }
  }
});

Deno.test("drift: every example of a parameter -> valid, and unchanged by its generated schema", () => {
  let count = 0;
  for (const { operationId, parameters } of contractOperations) {
    const { params, query, ...request } = generated.operations[operationId].route.request;
    const headers: Record<string, z.ZodType> = "headers" in request ? request.headers.shape : {};
    const schemas = { path: params.shape, query: query.shape, header: headers };
    for (const { name, in: place, example } of parameters) {
      if (example === undefined) continue;
      const fields: Record<string, z.ZodType> = schemas[place];
      const schema = fields[place === "header" ? name.toLowerCase() : name];
      assert.equal(schema?.parse(String(example)), example, `${operationId} ${name}`);
      count++;
    }
  }
  assert(count > 0);
});

Deno.test("drift: every example of a problem -> type, title, status and error of the server", () => {
  const examples = object(child(contract.components, "examples"));
  for (const [code, example] of Object.entries(examples)) {
    const { title, status, detail, ...problem } = generated.Problem.parse(child(example, "value"));
    assert.equal(problem.code, code);
    assert.deepEqual({ title, status }, catalogue[problem.code]);
    assert.equal(problem.type, `urn:slotkeeper:problem:${code}`);
    assert.equal(problem.error, detail);
    assert.equal(child(example, "summary"), title);
  }
});
