/** The generator turns the dialect of OpenAPI into working code. At other keywords it fails with the place and the reason. */
import assert from "node:assert/strict";
import { generateCodeSamples } from "../../scripts/generate/code_samples.ts";
import { generateContract } from "../../scripts/generate/contract.ts";
import { ContractError } from "../../scripts/generate/nodes.ts";
import { generateSerializers } from "../../scripts/generate/serializers.ts";
import type { JsonObject } from "./document.ts";
import { loadContract, loadSerializers } from "./generated_code.ts";
import {
  type At,
  cat,
  contractWith,
  createThing,
  getThing,
  oneOf,
  requestSchema,
  withConcurrencyLimit,
  withHeader,
  without,
  withParameter,
  withPets,
  withSchema,
  withSecurity,
} from "./small_contract.ts";

const refused: [string, RegExp, (at: At) => void][] = [
  ["an operation without operationId", /GET \/things\/\{thingId\}.*operationId/, without(getThing, "operationId")],
  ["an operation without security", /GET \/things\/\{thingId\}.*security/, without(getThing, "security")],
  ["security of an unknown role", /POST \/things.*security/, (at) => at(createThing).security = [{ bearer: ["root"] }]],
  ["security by an API key alone", /POST \/things.*security/, withSecurity({ apiKey: ["things:write"] })],
  [
    "a scope that no API key can have",
    /POST \/things.*security/,
    withSecurity({ bearer: ["user"] }, { apiKey: ["things:burn"] }),
  ],
  [
    "two scopes at once",
    /POST \/things.*security/,
    withSecurity({ bearer: ["user"] }, { apiKey: ["things:read", "things:write"] }),
  ],
  [
    "two ways in one",
    /POST \/things.*security/,
    withSecurity({ bearer: ["user"], apiKey: ["things:write"] }),
  ],
  [
    "a scope whose lack the operation hides",
    /scope_missing/,
    withSecurity({ bearer: ["user"] }, { apiKey: ["things:write"] }),
  ],
  ["a POST that cannot be sent again", /POST \/things.*Idempotency-Key/, without(createThing, "parameters")],
  ["a GET with an Idempotency-Key", /GET \/things.*Idempotency-Key/, withHeader("Idempotency-Key")],
  ["a conditional GET without 304", /GET \/things.*304/, withHeader("If-None-Match")],
  ["an If-Match whose failure the operation hides", /precondition_failed/, withHeader("If-Match")],
  ["an operation without a rate limit", /GET \/things\/\{thingId\}.*x-rate-limit/, without(getThing, "x-rate-limit")],
  ["an unknown rate limit", /POST \/things.*x-rate-limit/, (at) => at(createThing)["x-rate-limit"] = "often"],
  ["an unknown concurrency limit", /GET \/things.*x-concurrency-limit.*heavy/, withConcurrencyLimit("light")],
  ["a concurrency limit whose 503 the operation hides", /GET \/things.*service_unavailable/, (at) => {
    withConcurrencyLimit("heavy")(at);
    delete at(`${getThing} responses`)["503"];
  }],
  ["an operation without summary", /GET \/things\/\{thingId\}.*summary/, without(getThing, "summary")],
  ["an operationId that comes twice", /getThing.*twice/, (at) => at(createThing).operationId = "getThing"],
  ["an operation that hides what it can answer", /token_missing/, without(`${createThing} responses`, "401")],
  ["a body without required: true", /POST \/things.*required: true/, without(`${createThing} requestBody`, "required")],
  ["a body that is no JSON", /application\/json/, (at) => {
    at(`${createThing} requestBody`).content = { "text/plain": at(requestSchema) };
  }],
  ["a body without an example", /POST \/things.*example/, without(requestSchema, "example")],
  ...["allOf", "anyOf", "not", "if", "nullable", "exclusiveMinimum", "uniqueItems", "readOnly", "title"].map((
    keyword,
  ): typeof refused[number] => [
    `the keyword ${keyword}`,
    new RegExp(`NewThing\\.name.*\`${keyword}\``),
    withSchema({ type: "string", [keyword]: [] }),
  ]),
  ["a schema without a type", /NewThing\.name.*type/, withSchema({ allOf: [{ $ref: "#/components/schemas/Id" }] })],
  ["a schema of two types", /NewThing\.name.*type/, withSchema({ type: ["string", "integer"] })],
  ["an unknown format", /NewThing\.name.*format email/, withSchema({ type: "string", format: "email" })],
  ["an enum with a pattern", /NewThing\.name.*pattern/, withSchema({ type: "string", enum: ["a"], pattern: "a" })],
  ["a const with a length", /NewThing\.name.*maxLength/, withSchema({ type: "string", const: "a", maxLength: 1 })],
  ["a format with a length", /NewThing\.name.*maxLength/, withSchema({ type: "string", format: "date", maxLength: 1 })],
  ["a oneOf without discriminator", /components\.schemas\.Pet.*discriminator/, withPets({ oneOf })],
  [
    "a oneOf with a member without the const",
    /Cat.*kind.*const/,
    withPets({ oneOf, discriminator: { propertyName: "kind" } }, { ...cat, properties: { kind: { type: "string" } } }),
  ],
  [
    "a discriminator that leads a tag to another schema",
    /mapping.*cat.*Cat/,
    withPets({ oneOf, discriminator: { propertyName: "kind", mapping: { cat: "#/components/schemas/Dog" } } }),
  ],
  [
    "an anyOf of one type twice",
    /NewThing\.name.*differ by type/,
    withSchema({ anyOf: [{ type: "string", const: "a" }, { type: "string", const: "b" }] }),
  ],
  [
    "an anyOf with other keys",
    /NewThing\.name.*`default`/,
    withSchema({ anyOf: [{ type: "string" }, { type: "boolean" }], default: "a" }),
  ],
  ["a WebSocket without the response 101", /GET \/things.*101/, (at) => at(getThing)["x-websocket"] = {}],
  ["a response 101 without x-websocket", /GET \/things.*x-websocket/, (at) => {
    at(`${getThing} responses`)["101"] = { description: "A WebSocket." };
  }],
  ["a WebSocket of an unknown frame", /x-websocket\.clientFrame.*None/, (at) => {
    at(`${getThing} responses`)["101"] = { description: "A WebSocket." };
    at(getThing)["x-websocket"] = { clientFrame: { $ref: "#/components/schemas/None" } };
  }],
  [
    "a $ref beside other keys",
    /NewThing\.name.*\$ref/,
    withSchema({ $ref: "#/components/schemas/Id", description: "" }),
  ],
  [
    "a $ref of a parameter's schema beside other keys",
    /size.*\$ref/,
    withParameter({ schema: { $ref: "#/components/schemas/Id", maximum: 9 } }),
  ],
  ["a $ref of a parameter beside other keys", /\/things\/\{thingId\}.*\$ref/, (at) => {
    at("components").parameters = {
      Size: { name: "size", in: "query", description: "How large.", schema: { type: "boolean" } },
    };
    at(getThing).parameters = [{ $ref: "#/components/parameters/Size", required: true }];
  }],
  ["a $ref of a response beside other keys", /GET \/things.*\$ref/, (at) => {
    at(`${getThing} responses 500`).description = "Something else.";
  }],
  [
    "a $ref to nothing",
    /NewThing.*#\/components\/schemas\/None/,
    withSchema({ $ref: "#/components/schemas/None" }),
  ],
  ["a $ref out of the document", /other\.yaml/, withSchema({ $ref: "other.yaml#/components/schemas/Id" })],
  ["a schema that contains itself", /NewThing.*contain itself/, withSchema({ $ref: "#/components/schemas/NewThing" })],
  ["a required property that is not declared", /NewThing.*size/, (at) => {
    at("components schemas NewThing").required = ["name", "size"];
  }],
  ["a path parameter that is not declared", /thingId.*parameters/, without("paths /things/{thingId}", "parameters")],
  ["a path parameter that is not in the path", /POST \/things.*parameters/, (at) => {
    at(createThing).parameters = at("paths /things/{thingId}").parameters ?? [];
  }],
  ["a parameter in a header", /header/, withParameter({ in: "header", schema: { type: "string" } })],
  ["a parameter that is an object", /size.*object/, withParameter({ schema: { type: "object", properties: {} } })],
  ["a parameter without a description", /size.*description/, (at) => {
    at(getThing).parameters = [{ name: "size", in: "query", schema: { type: "string" } }];
  }],
  ["an example of another problem", /GET \/things.*internal_error/, (at) => {
    at("components examples internal_error value").code = "validation_failed";
  }],
  ["an example of another status", /GET \/things.*internal_error/, (at) => {
    at("components examples internal_error value").status = 503;
  }],
  ["a response with links", /GET \/things.*links/, (at) => at(`${getThing} responses 200`).links = {}],
  ["security of two schemes", /GET \/things.*security/, (at) => {
    at(getThing).security = [{ bearer: ["user"], other: [] }];
  }],
  ["security of two roles", /GET \/things.*security/, (at) => {
    at(getThing).security = [{ bearer: ["user", "admin"] }];
  }],
  ["an operation with callbacks", /GET \/things.*callbacks/, (at) => at(getThing).callbacks = {}],
  ["a parameter with a style", /size.*style/, withParameter({ schema: { type: "string" }, style: "form" })],
  ["a request body with a description", /POST \/things.*description/, (at) => {
    at(`${createThing} requestBody`).description = "A thing.";
  }],
  ["a document with webhooks", /webhooks/, (at) => at("").webhooks = {}],
  ["an operation that never succeeds", /GET \/things.*success/, without(`${getThing} responses`, "200")],
];

Deno.test("generate: small contract of the cases below -> accepted", () => {
  generateContract(contractWith(() => {}));
});

for (const [name, message, change] of refused) {
  Deno.test(`generate: ${name} -> ContractError with its place`, () => {
    assert.throws(() => generateContract(contractWith(change)), (failure) => {
      assert(failure instanceof ContractError, `${failure}`);
      assert.match(failure.message, message);
      return true;
    });
  });
}

const unserializable: [string, RegExp, (at: At) => void][] = [
  ["a field of an answer with a default", /Thing\.size.*without a default/, (at) => {
    at("components schemas Thing properties").size = { type: "integer", default: 1 };
  }],
  ["a field of an answer with an odd name", /Thing\.a-b.*name/, (at) => {
    at("components schemas Thing properties")["a-b"] = { type: "integer" };
  }],
  ["a union of answers with an optional tag", /Pet.*`kind` of Cat must be required/, (at) => {
    withPets({ oneOf, discriminator: { propertyName: "kind" } }, { ...cat, required: [] })(at);
    at("components schemas Thing properties").pet = { $ref: "#/components/schemas/Pet" };
  }],
];

for (const [name, message, change] of unserializable) {
  Deno.test(`generate: ${name} -> ContractError with its place`, () => {
    assert.throws(() => generateSerializers(contractWith(change)), (failure) => {
      assert(failure instanceof ContractError, `${failure}`);
      assert.match(failure.message, message);
      return true;
    });
  });
}

Deno.test("generate: schemas of requests -> no serializer", async () => {
  const { answerSerializers, serializeThing, serializeNewThing } = await loadSerializers(() => {});
  assert.equal(answerSerializers.getThing?.[200], serializeThing);
  assert.equal(serializeNewThing, undefined);
});

Deno.test("generate: answer without the name of a schema -> ContractError with its place", () => {
  const schema = { type: "object", properties: { id: { type: "integer" } } };
  const responses = { 200: { description: "A thing.", content: { "application/json": { schema } } } };
  const document = { paths: { "/thing": { get: { operationId: "getThing", responses } } } };
  assert.throws(() => generateCodeSamples(document), /GET \/thing: needs an answer with a \$ref/);
});

async function loadQuery(schema: JsonObject): Promise<(size?: unknown) => unknown> {
  const { operations } = await loadContract(withParameter({ schema }));
  const query = operations.getThing?.route.request.query;
  assert(query);
  return (size) => {
    const { success, data } = query.safeParse(size === undefined ? {} : { size });
    return success ? Reflect.get(Object(data), "size") : "refused";
  };
}

Deno.test("generate: query parameter of a type -> decoded from text, default applied, then validated", async (t) => {
  const cases: [JsonObject, [sent: unknown, decoded: unknown][]][] = [
    [{ type: "integer", minimum: 0, maximum: 9, default: 5 }, [
      [undefined, 5],
      ["0", 0],
      ["9", 9],
      ["10", "refused"],
      ["-1", "refused"],
      ["", "refused"],
      ["1e0", "refused"],
      [["1", "2"], "refused"],
    ]],
    [{ type: "integer", minimum: 1, maximum: 9 }, [[undefined, undefined], ["1", 1]]],
    [{ type: "boolean", default: true }, [
      [undefined, true],
      ["false", false],
      ["true", true],
      ["1", "refused"],
      ["", "refused"],
    ]],
    [{ type: "string", enum: ["a", "b"], default: "b" }, [[undefined, "b"], ["a", "a"], ["c", "refused"]]],
    [{ type: "string", pattern: "^a+$", default: "aa" }, [[undefined, "aa"], ["a", "a"], ["b", "refused"]]],
    [{ type: "array", maxItems: 2, items: { type: "integer", minimum: 1, maximum: 7 } }, [
      [undefined, undefined],
      ["1", [1]],
      [["1", "7"], [1, 7]],
      [["1", "8"], "refused"],
      [["1", "2", "3"], "refused"],
      ["", "refused"],
    ]],
    [{ type: "array", items: { type: "string", enum: ["a", "b"] } }, [["a", ["a"]], [["b", "a"], ["b", "a"]], [
      "c",
      "refused",
    ]]],
  ];
  for (const [schema, values] of cases) {
    await t.step(JSON.stringify(schema), async () => {
      const decode = await loadQuery(schema);
      for (const [sent, decoded] of values) assert.deepEqual(decode(sent), decoded, `from ${JSON.stringify(sent)}`);
    });
  }
});

Deno.test("generate: operation with a concurrency limit -> its class, operation without -> none", async () => {
  const { operations, concurrencyLimits } = await loadContract(withConcurrencyLimit("heavy"));
  assert.deepEqual(concurrencyLimits, { heavy: { running: 1, queued: 2 } });
  assert.equal(operations.getThing?.concurrencyLimit, "heavy");
  assert.equal(operations.createThing?.concurrencyLimit, "none");
});

Deno.test("generate: anyOf -> union, selected by the type of the value", async () => {
  const userId = { anyOf: [{ type: "integer", minimum: 1 }, { type: "string", const: "all" }] };
  const { operations } = await loadContract(withSchema(userId));
  const schema = operations.createThing?.route.request.body?.content["application/json"]?.schema;
  assert(schema);
  for (const name of [1, "all"]) assert.deepEqual(schema.parse({ name }), { name });
  for (const name of [0, "1", "ALL", true, null, {}]) assert.equal(schema.safeParse({ name }).success, false);
});

Deno.test("generate: oneOf with a discriminator -> union, selected by its tag", async () => {
  const cats = {
    ...cat,
    additionalProperties: false,
    properties: { ...cat.properties, lives: { type: "integer", maximum: 9 } },
  };
  const { operations } = await loadContract(withPets({ oneOf, discriminator: { propertyName: "kind" } }, cats));
  const schema = operations.createThing?.route.request.body?.content["application/json"]?.schema;
  assert(schema);
  assert.deepEqual(schema.parse({ kind: "cat", lives: 9 }), { kind: "cat", lives: 9 });
  assert.deepEqual(schema.parse({ kind: "dog" }), { kind: "dog" });
  for (const wrong of [{ kind: "cat", lives: 10 }, { kind: "cat", nonsense: 1 }, { kind: "cow" }, {}, null]) {
    assert(!schema.safeParse(wrong).success, JSON.stringify(wrong));
  }
});

Deno.test("generate: body with null, defaults, unknown keys and free objects -> each validated by its schema", async () => {
  const { operations } = await loadContract((at) => {
    at("components schemas").NewThing = {
      type: "object",
      additionalProperties: false,
      required: ["name"],
      properties: {
        name: { type: ["string", "null"], maxLength: 3 },
        size: { type: "number", minimum: 0, "x-decimals": 1, default: 1.5 },
        tags: { type: "object", additionalProperties: { type: "string" } },
        extra: { type: "object", additionalProperties: true, default: {} },
      },
    };
  });
  const schema = operations.createThing?.route.request.body?.content["application/json"]?.schema;
  assert(schema);
  assert.deepEqual(schema.parse({ name: null }), { name: null, size: 1.5, extra: {} });
  const whole = { name: "abc", size: 0, tags: { a: "b" }, extra: { a: [1] } };
  assert.deepEqual(schema.parse(whole), whole);
  for (
    const wrong of [{}, { name: "abcd" }, { name: "a", size: null }, { name: "a", size: 0.35 }, {
      name: "a",
      tags: { a: 1 },
    }]
  ) {
    assert(!schema.safeParse(wrong).success, JSON.stringify(wrong));
  }
});
