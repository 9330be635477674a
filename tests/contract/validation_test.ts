/** Invalid requests: refused with the name of the field, nothing changes. Generated from the schemas of the contract. */
import assert from "node:assert/strict";
import { operations, Problem, type ProblemCode } from "../../generated/contract.ts";
import {
  type ContractOperation,
  contractOperations,
  exampleOperations,
  httpOperations,
  type Json,
  jsonBodyOperations,
  type Parameter,
  type Schema,
} from "./document.ts";
import {
  contractServer,
  exampleCall,
  type Ids,
  newExampleRows,
  type Request,
  type Send,
  sender,
} from "./example_calls.ts";
import { bodyFaults, boundaryValues, freeTextFields, replaced, wrongTexts } from "./faults.ts";
import { assertNothingChanges } from "./refusals.ts";
import type { TestServer } from "../support/server.ts";

/** Describes a request and its answer. Only for a failure, because it is slow for long bodies. */
function describe({ operationId }: ContractOperation, request: Request, answer: unknown): string {
  return `${operationId} was sent ${Deno.inspect(request).slice(0, 300)}, answered ${JSON.stringify(answer)}`;
}

/** Fails unless `send` refuses `request` with `code`, and names exactly `fields` (`query.limit`) or places inside them. */
async function assertRefused(
  { operation, send }: { operation: ContractOperation; send: Send },
  code: ProblemCode,
  request: Request,
  ...fields: string[]
): Promise<void> {
  const { status, body } = await send(request);
  const problem = Problem.parse(body);
  const names = problem.errors?.map((error) => `${error.in}.${error.path}`) ?? [];
  const declared: readonly ProblemCode[] = operations[operation.operationId].problems;
  const isRefused = problem.code === code && problem.status === status && declared.includes(code);
  const isWithin = (name: string, field: string) => name === field || name.startsWith(`${field}.`);
  const areNamed = fields.length === 0 ||
    names.every((name) => fields.some((field) => isWithin(name, field))) &&
      fields.every((field) => names.some((name) => isWithin(name, field)));
  if (!isRefused || !areNamed) {
    assert.fail(`expected ${code} for ${fields.join(", ")}: ${describe(operation, request, [status, body])}`);
  }
}

interface Subject {
  operation: ContractOperation;
  send: Send;
  ids: Ids;
}

/** Runs `check` for each of `subjects`, and fails if it changes any row. */
async function forEachOperation(
  t: Deno.TestContext,
  subjects: ContractOperation[],
  check: (subject: Subject) => Promise<void>,
): Promise<void> {
  assert(subjects.length > 0);
  await using server = await contractServer();
  const ids = await newExampleRows(server);
  for (const operation of subjects) {
    const send = await sender(server, operation, ids);
    await t.step(operation.operationId, () => assertNothingChanges(server, () => check({ operation, send, ids })));
  }
}

function inQuery({ parameters }: ContractOperation): Parameter[] {
  return parameters.filter((parameter) => parameter.in === "query");
}

function bodySchema({ requestBody }: ContractOperation): Schema {
  assert(requestBody);
  return requestBody.content["application/json"].schema;
}

/** Only the server makes cursors of pages. It refuses other texts. */
const isPageCursor = ({ name, schema }: Pick<Parameter, "name" | "schema">) =>
  name === "after" && schema.pattern === "^[A-Za-z0-9_-]+$";

Deno.test("validation: example of each operation in the contract -> accepted", async (t) => {
  await using server = await contractServer();
  for (const operation of exampleOperations) {
    await t.step(operation.operationId, async () => {
      const send = await sender(server, operation, await newExampleRows(server, operation));
      const { status, body } = await send({});
      assert(status < 300, JSON.stringify(body));
    });
  }
});

Deno.test("validation: query parameters with wrong values -> validation_failed with each name", (t) =>
  forEachOperation(t, contractOperations.filter((operation) => inQuery(operation).length > 0), async (subject) => {
    const parameters = inQuery(subject.operation).map(({ name, schema }) => ({ name, texts: wrongTexts(schema) }));
    const longest = Math.max(...parameters.map(({ texts }) => texts.length));
    for (let index = 0; index < longest; index++) {
      // One wrong text of each parameter at once: the answer names each.
      const query = parameters.flatMap(({ name, texts }): [string, string][] => {
        const text = texts[index];
        return text === undefined ? [] : [[name, text]];
      });
      await assertRefused(subject, "validation_failed", { query }, ...query.map(([name]) => `query.${name}`));
    }
  }));

Deno.test("validation: header with a wrong value -> validation_failed with its name", (t) => {
  const inHeader = ({ parameters }: ContractOperation) => parameters.filter((parameter) => parameter.in === "header");
  const subjects = httpOperations.filter((operation) => inHeader(operation).length > 0);
  return forEachOperation(t, subjects, async (subject) => {
    for (const { name, schema } of inHeader(subject.operation)) {
      const texts = [
        "",
        "x".repeat((schema.maxLength ?? 0) + 1),
        ...(schema.pattern === undefined ? [] : ["a b", "ü"]),
      ];
      for (const text of texts) {
        const field = `header.${name.toLowerCase()}`;
        await assertRefused(subject, "validation_failed", { headers: { [name]: text } }, field);
      }
    }
  });
});

Deno.test("validation: query parameter sent twice -> validation_failed with its name", (t) =>
  forEachOperation(t, httpOperations.filter((operation) => inQuery(operation).length > 0), async (subject) => {
    for (const { name, schema, example } of inQuery(subject.operation)) {
      const value = String(subject.ids[name] ?? example ?? boundaryValues(schema)[0] ?? "2026-03-01");
      if (!isPageCursor({ name, schema })) {
        assert.equal((await subject.send({ query: [[name, value]] })).status, 200, `${name}=${value} is valid`);
      }
      const query: Request["query"] = [[name, value], [name, value]];
      await assertRefused(subject, "validation_failed", { query }, `query.${name}`);
    }
  }));

Deno.test("validation: required query parameter missing -> validation_failed with its name", (t) => {
  const required = (operation: ContractOperation) => inQuery(operation).filter((parameter) => parameter.required);
  const subjects = contractOperations.filter((operation) => required(operation).length > 0);
  return forEachOperation(t, subjects, async (subject) => {
    for (const { name } of required(subject.operation)) {
      await assertRefused(subject, "validation_failed", { without: name }, `query.${name}`);
    }
  });
});

Deno.test("validation: unknown query parameter -> validation_failed with its name", (t) =>
  forEachOperation(t, contractOperations, async (subject) => {
    for (const name of ["nonsense", "Page", "limit[]", "constructor", "__proto__"]) {
      await assertRefused(subject, "validation_failed", { query: [[name, "1"]] }, `query.${name}`);
    }
  }));

Deno.test("validation: path parameter with a wrong value -> validation_failed with its name, 404 if empty", (t) =>
  forEachOperation(t, contractOperations.filter((operation) => operation.path.includes("{")), async (subject) => {
    for (const { name, in: place, schema } of subject.operation.parameters) {
      if (place !== "path") continue;
      for (const text of wrongTexts(schema).filter((each) => each !== "")) {
        await assertRefused(subject, "validation_failed", { params: { [name]: text } }, `path.${name}`);
      }
      const { status, body } = await subject.send({ params: { [name]: "" } });
      assert.deepEqual([status, Problem.parse(body).code], [404, "route_not_found"], `an empty ${name}`);
    }
  }));

Deno.test("validation: body field missing, unknown or wrong -> validation_failed with its path", (t) =>
  forEachOperation(t, jsonBodyOperations, async (subject) => {
    const { body: example } = exampleCall(subject.operation, subject.ids);
    assert(example);
    for (const fault of bodyFaults(bodySchema(subject.operation), example)) {
      const body = JSON.stringify(replaced(example, fault));
      await assertRefused(subject, "validation_failed", { body }, `body.${fault.at.join(".")}`);
    }
  }));

Deno.test("validation: text that Postgres cannot store, or deep nesting -> validation_failed with its path", (t) =>
  forEachOperation(t, jsonBodyOperations, async (subject) => {
    const { body: example } = exampleCall(subject.operation, subject.ids);
    assert(example);
    for (const { at, schema } of freeTextFields(bodySchema(subject.operation))) {
      const isObject = schema.additionalProperties === true;
      const texts = ["\0", "a\0b", "\ud800", "\udc00x", "x\ud83d"];
      const values: Json[] = isObject ? texts.flatMap((text) => [{ a: [text] }, { [text]: 1 }]) : texts;
      const bodies = values.map((value) => JSON.stringify(replaced(example, { at, value })));
      if (isObject) {
        const deep = JSON.stringify(replaced(example, { at, value: { a: "deep" } }));
        const nested = (depth: number) => deep.replace('"deep"', "[".repeat(depth) + "]".repeat(depth));
        bodies.push(nested(100), nested(30_000));
      }
      for (const body of bodies) {
        await assertRefused(subject, "validation_failed", { body }, `body.${at.join(".")}`);
      }
    }
  }));

Deno.test("validation: body that is not an object -> validation_failed for the whole body", (t) =>
  forEachOperation(t, jsonBodyOperations, async (subject) => {
    for (const body of ["[]", "[{}]", '"text"', "null", "1", "true"]) {
      await assertRefused(subject, "validation_failed", { body }, "body.");
    }
  }));

Deno.test("validation: body that is not JSON in UTF-8 -> malformed_json", (t) =>
  forEachOperation(t, jsonBodyOperations, async (subject) => {
    const { body } = exampleCall(subject.operation, subject.ids);
    const text = JSON.stringify(body);
    const latin1 = Uint8Array.from('{"notes":"\xfc"}', (letter) => letter.charCodeAt(0));
    for (const malformed of ["", " ", "{", "undefined", text.slice(0, -1), `${text}}`, `{'a': 1}`, "NaN", latin1]) {
      await assertRefused(subject, "malformed_json", { body: malformed });
    }
  }));

Deno.test("validation: media type other than JSON -> 415 unsupported_media_type", (t) =>
  forEachOperation(t, jsonBodyOperations, async (subject) => {
    const form = ["application/x-www-form-urlencoded", "multipart/form-data; boundary=x"];
    const similar = ["application/jsonp", "application/json-patch+json", "text/json", "json", "application/*"];
    for (const contentType of [null, "", "text/plain", ...form, ...similar]) {
      await assertRefused(subject, "unsupported_media_type", { contentType });
    }
  }));

Deno.test("validation: body over 64 KiB, with a length or in chunks -> 413 body_too_large", (t) =>
  forEachOperation(t, jsonBodyOperations, async (subject) => {
    const { body: example } = exampleCall(subject.operation, subject.ids);
    const padded = (bytes: number) => new TextEncoder().encode(JSON.stringify(example).padEnd(bytes));
    const chunked = (bytes: Uint8Array<ArrayBuffer>) => ReadableStream.from([bytes.slice(0, 100), bytes.slice(100)]);
    for (const bytes of [65_537, 200_000]) {
      await assertRefused(subject, "body_too_large", { body: padded(bytes) });
      await assertRefused(subject, "body_too_large", { body: chunked(padded(bytes)) });
    }
  }));

Deno.test("validation: odd spelling of the media type -> body validated, or 415", (t) =>
  forEachOperation(t, jsonBodyOperations, async ({ operation, send }) => {
    const odd = [
      "application/json ;charset=utf-8",
      "application/json;",
      "application/json; charset",
      "APPLICATION/JSON ;a=b",
    ];
    for (const contentType of [...odd, "application/json, text/plain", "application/json; charset=utf-8; a=b"]) {
      const { status, body } = await send({ contentType, body: '{"nonsense":1}' });
      const { code } = Problem.parse(body);
      assert(
        code === "validation_failed" || code === "unsupported_media_type",
        `${operation.operationId} ${contentType}`,
      );
      assert.equal(status, code === "validation_failed" ? 400 : 415);
    }
  }));

Deno.test("validation: body of 64 KiB, in chunks, or with a charset or capitals in its media type -> accepted", async (t) => {
  await using server = await contractServer();
  const chunks = (text: string) => ReadableStream.from([text.slice(0, 5), text.slice(5)]);
  const ways: [string, (text: string) => Request][] = [
    ["64 KiB", (text) => ({ body: text.padEnd(65_536) })],
    ["chunks", (text) => ({ body: chunks(text).pipeThrough(new TextEncoderStream()) })],
    ["a charset", () => ({ contentType: "application/json; charset=utf-8" })],
    ["a charset in quotes", () => ({ contentType: 'application/json;charset="UTF-8"' })],
    ["capitals", () => ({ contentType: "Application/JSON" })],
  ];
  for (const operation of jsonBodyOperations) {
    await t.step(operation.operationId, async () => {
      for (const [name, request] of ways) {
        const ids = await newExampleRows(server, operation);
        const send = await sender(server, operation, ids);
        const { status, body } = await send(request(JSON.stringify(exampleCall(operation, ids).body)));
        assert(status < 300, `with ${name}: ${JSON.stringify(body)}`);
      }
    });
  }
});

/** Ends each wait of listEvents at once, until it is disposed of. The longest one takes 30 seconds. */
function endWaits({ feed }: TestServer): Disposable {
  const original = feed.next;
  const next = original.bind(feed);
  feed.next = (filter) => {
    const event = next(filter);
    return { ...event, within: () => event.within(0) };
  };
  return { [Symbol.dispose]: () => void (feed.next = original) };
}

Deno.test("validation: parameters and fields at their bounds -> accepted", async (t) => {
  await using server = await contractServer();
  using _waits = endWaits(server);
  const ids = await newExampleRows(server);
  /** Their schemas accept texts that mean nothing. The operation refuses these. */
  const skipped = ["timeZone"];
  const known = ({ parameters }: ContractOperation) => parameters.filter((parameter) => !isPageCursor(parameter));
  for (const operation of contractOperations) {
    await t.step(operation.operationId, async () => {
      const send = await sender(server, operation, ids);
      const requests: Request[] = known(operation).flatMap(({ name, in: place, schema }) =>
        boundaryValues(schema).map((value) => ({ path: { [name]: String(value) }, value: String(value) }))
          // A header can only hold ASCII.
          .filter(({ value }) => place !== "header" || /^[\x20-\x7e]*$/.test(value))
          .map(({ path, value }): Request =>
            place === "path" ? { params: path } : place === "header" ? { headers: path } : { query: [[name, value]] }
          )
      );
      const { body: example } = exampleCall(operation, ids);
      if (example !== undefined) {
        for (const [name, schema] of Object.entries(bodySchema(operation).properties ?? {})) {
          if (skipped.includes(name)) continue;
          const bodies = boundaryValues(schema, example[name]).map((value) => replaced(example, { at: [name], value }));
          requests.push(...bodies.map((body) => ({ body: JSON.stringify(body) })));
        }
      }
      for (const request of requests) {
        const { status, body } = await send(request);
        const { code } = body as { code?: string };
        if (status >= 500 || code === "validation_failed") assert.fail(describe(operation, request, [status, body]));
      }
    });
  }
});
