/** A contract of two operations for the tests of the generator, and functions that change it. */
import assert from "node:assert/strict";
import { parse } from "yaml";
import { type JsonObject, object } from "./document.ts";

const base = `
x-rate-limits: { public: { quota: 9, windowSeconds: 60 }, user: { quota: 5, windowSeconds: 60 } }
x-concurrency-limits: { heavy: { running: 1, queued: 2 } }
paths:
  /things/{thingId}:
    parameters:
      - { name: thingId, in: path, required: true, description: The thing., schema: { $ref: '#/components/schemas/Id' } }
    get:
      operationId: getThing
      tags: [Things]
      summary: Get a thing
      description: One thing.
      security: []
      x-rate-limit: public
      parameters:
        - { name: size, in: query, description: How large., schema: { type: integer, minimum: 1, maximum: 9, default: 5 } }
      responses: &responses
        '200':
          description: The thing.
          content: { application/json: { schema: { $ref: '#/components/schemas/Thing' }, example: { id: 1 } } }
        '400': { $ref: '#/components/responses/Refused' }
        '401': { $ref: '#/components/responses/Unauthorized' }
        '408': { $ref: '#/components/responses/Late' }
        '409': { $ref: '#/components/responses/Running' }
        '422': { $ref: '#/components/responses/Reused' }
        '429': { $ref: '#/components/responses/Limited' }
        '413': { $ref: '#/components/responses/TooLarge' }
        '415': { $ref: '#/components/responses/Unsupported' }
        '500': { $ref: '#/components/responses/Failed' }
        '503': { $ref: '#/components/responses/Unavailable' }
  /things:
    post:
      operationId: createThing
      tags: [Things]
      summary: Create a thing
      description: A new thing.
      security: [{ bearer: [user] }]
      x-rate-limit: user
      parameters:
        - { name: Idempotency-Key, in: header, description: For retries., schema: { type: string } }
      requestBody:
        required: true
        content: { application/json: { schema: { $ref: '#/components/schemas/NewThing' }, example: { name: a } } }
      responses: *responses
components:
  schemas:
    Id: { type: integer, minimum: 1, maximum: 9007199254740991 }
    Thing: { type: object, required: [id], properties: { id: { $ref: '#/components/schemas/Id' } } }
    NewThing: { type: object, additionalProperties: false, required: [name], properties: { name: { type: string } } }
    Problem: { type: object, required: [code], properties: { code: { type: string } } }
    ApiKeyScope: { type: string, enum: ['things:write', 'things:read'] }
`;

/** The responses and examples of the problems that every operation can answer. */
function refusals(): { responses: JsonObject; examples: JsonObject } {
  const responses: Record<string, Record<string, number>> = {
    Refused: { validation_failed: 400, malformed_json: 400 },
    Unauthorized: { token_missing: 401, token_invalid: 401, token_expired: 401 },
    Forbidden: { scope_missing: 403 },
    Late: { request_timeout: 408 },
    Running: { idempotency_in_progress: 409 },
    Stale: { precondition_failed: 412 },
    Reused: { idempotency_key_reused: 422 },
    Limited: { rate_limited: 429 },
    TooLarge: { body_too_large: 413 },
    Unsupported: { unsupported_media_type: 415 },
    Failed: { internal_error: 500 },
    Unavailable: { service_unavailable: 503 },
  };
  const examples = Object.values(responses).flatMap((codes) => Object.entries(codes))
    .map(([code, status]) => [code, { summary: code, value: { code, status } }]);
  return {
    examples: Object.fromEntries(examples),
    responses: Object.fromEntries(
      Object.entries(responses).map(([name, codes]) => {
        const references = Object.keys(codes).map((code) => [code, { $ref: `#/components/examples/${code}` }]);
        const schema = { $ref: "#/components/schemas/Problem" };
        const content = { "application/problem+json": { schema, examples: Object.fromEntries(references) } };
        return [name, { description: "Refused.", content }];
      }),
    ),
  };
}

/** Returns the node at `path` (`paths /things post`), for changes. */
export type At = (path: string) => JsonObject;

/** Returns the small contract after `change`. */
export function contractWith(change: (at: At) => void): JsonObject {
  // Parsed each time and without shared parts, so that a change affects one place.
  const document: JsonObject = JSON.parse(JSON.stringify(parse(base)));
  Object.assign(object(document.components), refusals());
  change((path) => path.split(" ").filter(Boolean).reduce((node, key) => object(node[key]), document));
  return document;
}

export const getThing = "paths /things/{thingId} get";
export const createThing = "paths /things post";
export const requestSchema = `${createThing} requestBody content application/json`;

/** Removes a key. */
export function without(path: string, key: string): (at: At) => void {
  return (at) => {
    const node = at(path);
    assert(key in node);
    delete node[key];
  };
}

/** Replaces the schema of the field `name` in the request. */
export function withSchema(schema: JsonObject): (at: At) => void {
  return (at) => at("components schemas NewThing properties").name = schema;
}

/** Gives `getThing` one query parameter, `size`. */
export function withParameter(parameter: JsonObject): (at: At) => void {
  return (at) => at(getThing).parameters = [{ name: "size", in: "query", description: "How large.", ...parameter }];
}

/** Gives `getThing` the limit of a class. */
export function withConcurrencyLimit(name: string): (at: At) => void {
  return (at) => at(getThing)["x-concurrency-limit"] = name;
}

/** Gives `getThing` one header. */
export function withHeader(name: string): (at: At) => void {
  return withParameter({ name, in: "header", schema: { type: "string" } });
}

/** Replaces the security of `createThing`. */
export function withSecurity(...ways: JsonObject[]): (at: At) => void {
  return (at) => at(createThing).security = ways;
}

export const cat = { type: "object", required: ["kind"], properties: { kind: { type: "string", const: "cat" } } };
const dog = { type: "object", required: ["kind"], properties: { kind: { type: "string", const: "dog" } } };
export const oneOf = [{ $ref: "#/components/schemas/Cat" }, { $ref: "#/components/schemas/Dog" }];

/** Makes the request a `Pet`, a union of `cats` and dogs. */
export function withPets(pet: JsonObject, cats: JsonObject = cat): (at: At) => void {
  return (at) => {
    Object.assign(at("components schemas"), { Cat: cats, Dog: dog, Pet: pet });
    at(requestSchema).schema = { $ref: "#/components/schemas/Pet" };
  };
}

/** The schemas of the dialect: each keyword, and each way to combine them. */
function schemasOfEveryKeyword(): Record<string, JsonObject> {
  const text = { type: "string" };
  const size = { type: "object", required: ["x"], properties: { x: { type: "number" }, y: { type: "number" } } };
  const id = { $ref: "#/components/schemas/Id" };
  return {
    Text: text,
    Short: { type: "string", minLength: 2, maxLength: 3 },
    Long: { type: "string", minLength: 2 },
    Matching: { type: ["string", "null"], maxLength: 4, pattern: "^[a-c]{1,5}$" },
    Date: { type: "string", format: "date" },
    DateTime: { type: ["string", "null"], format: "date-time" },
    Choice: { type: ["string", "null"], enum: ["a", "b", null] },
    Always: { type: "string", const: "always" },
    Whole: { type: "integer" },
    Positive: { type: ["integer", "null"], minimum: 1 },
    Number: { type: "number" },
    Price: { type: "number", minimum: 0, maximum: 10, "x-decimals": 2 },
    Flag: { type: ["boolean", "null"] },
    Texts: { type: "array", minItems: 1, maxItems: 3, items: { type: "string", enum: ["a", "b"] } },
    Lists: { type: ["array", "null"], items: { type: "array", items: size } },
    Size: { ...size, type: ["object", "null"] },
    Strict: { ...size, additionalProperties: false },
    Free: { type: "object", additionalProperties: true },
    FreeOrNull: { type: ["object", "null"], additionalProperties: true },
    Counts: { type: "object", additionalProperties: { type: "integer", minimum: 0 } },
    Sizes: { type: ["object", "null"], additionalProperties: size },
    AnyPet: { $ref: "#/components/schemas/Pet" },
    IdOrAll: { anyOf: [id, { type: "string", const: "all" }] },
    Any: {
      anyOf: [size, { type: "array", items: text }, { type: ["string", "null"] }, { type: "number", minimum: 5 }],
    },
  };
}

/** Gives the answer `Thing` objects with a field of each schema: `required`, `in` and `optional`. */
export function withEveryKeyword(at: At): void {
  withPets({ oneOf, discriminator: { propertyName: "kind" } })(at);
  const ofName = (name: string) => ({ $ref: `#/components/schemas/${name}` });
  const written = schemasOfEveryKeyword();
  for (const [name, schema] of Object.entries(written)) {
    Object.assign(at("components schemas"), {
      [name]: schema,
      [`With${name}`]: {
        type: "object",
        required: ["required", "in"],
        properties: { required: schema, optional: schema, in: ofName(name), on: ofName(name) },
      },
    });
  }
  const properties = Object.keys(written).map((name) => [name, ofName(`With${name}`)]);
  at("components schemas").Thing = { type: "object", properties: Object.fromEntries(properties) };
}
