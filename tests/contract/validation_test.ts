/** What is not valid is refused, named, and changes nothing. Generated from the contract's schemas. */
import assert from "node:assert/strict";
import { operations, Problem, type ProblemCode } from "../../generated/contract.ts";
import { startServer } from "../support/server.ts";
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
import { allRows, exampleCall, type Ids, newExampleRows, type Request, type Send, sender } from "./example_calls.ts";
import { bodyFaults, boundaryValues, freeTextFields, replaced, wrongTexts } from "./faults.ts";

/** Fails unless `send` refuses `request` with `code` and names the field `named` (`query.limit`), or a place inside of it. */
async function assertRefused(
  { operation, send }: { operation: ContractOperation; send: Send },
  code: ProblemCode,
  request: Request,
  named?: string,
): Promise<void> {
  const { status, body } = await send(request);
  const what = `${operation.operationId} was sent ${Deno.inspect(request).slice(0, 300)}, answered ${status}: ${
    JSON.stringify(body)
  }`;
  const problem = Problem.parse(body);
  assert.equal(problem.code, code, what);
  assert.equal(problem.status, status, what);
  const declared: readonly ProblemCode[] = operations[operation.operationId].problems;
  assert(declared.includes(code), what);
  if (named === undefined) return;
  const names = problem.errors?.map((error) => `${error.in}.${error.path}`) ?? [];
  assert.deepEqual([...new Set(names.map((name) => name.startsWith(`${named}.`) ? named : name))], [named], what);
}

interface Subject {
  operation: ContractOperation;
  send: Send;
  ids: Ids;
}

/** Runs `check` for each of `subjects` on one server, and fails if it changes any row. */
async function forEachOperation(
  t: Deno.TestContext,
  subjects: ContractOperation[],
  check: (subject: Subject) => Promise<void>,
): Promise<void> {
  assert(subjects.length > 0);
  await using server = await startServer();
  const ids = await newExampleRows(server);
  const before = await allRows(server.db);
  for (const operation of subjects) {
    await t.step(operation.operationId, async () => {
      await check({ operation, send: await sender(server, operation, ids), ids });
      assert.deepEqual(await allRows(server.db), before);
    });
  }
}

function inQuery({ parameters }: ContractOperation): Parameter[] {
  return parameters.filter((parameter) => parameter.in === "query");
}

function bodySchema({ requestBody }: ContractOperation): Schema {
  assert(requestBody);
  return requestBody.content["application/json"].schema;
}

Deno.test("each operation accepts the contract's own example", async (t) => {
  await using server = await startServer({ env: { PAYMENT_PROVIDER: "sandbox" } });
  for (const operation of exampleOperations) {
    await t.step(operation.operationId, async () => {
      const send = await sender(server, operation, await newExampleRows(server));
      const { status, body } = await send({});
      assert(status < 300, JSON.stringify(body));
    });
  }
});

Deno.test("a query parameter of a wrong value is refused by name", (t) =>
  forEachOperation(t, contractOperations.filter((operation) => inQuery(operation).length > 0), async (subject) => {
    for (const { name, schema } of inQuery(subject.operation)) {
      for (const text of wrongTexts(schema)) {
        await assertRefused(subject, "validation_failed", { query: [[name, text]] }, `query.${name}`);
      }
    }
  }));

Deno.test("a header of a wrong value is refused by name", (t) => {
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

Deno.test("a query parameter that comes twice is refused by name", (t) =>
  forEachOperation(t, httpOperations.filter((operation) => inQuery(operation).length > 0), async (subject) => {
    for (const { name, schema, example } of inQuery(subject.operation)) {
      const value = String(subject.ids[name] ?? example ?? boundaryValues(schema)[0] ?? "2026-03-09");
      assert.equal((await subject.send({ query: [[name, value]] })).status, 200, `${name}=${value} is a good value`);
      const query: Request["query"] = [[name, value], [name, value]];
      await assertRefused(subject, "validation_failed", { query }, `query.${name}`);
    }
  }));

Deno.test("a required query parameter that is left out is refused by name", (t) => {
  const required = (operation: ContractOperation) => inQuery(operation).filter((parameter) => parameter.required);
  const subjects = contractOperations.filter((operation) => required(operation).length > 0);
  return forEachOperation(t, subjects, async (subject) => {
    for (const { name } of required(subject.operation)) {
      await assertRefused(subject, "validation_failed", { without: name }, `query.${name}`);
    }
  });
});

Deno.test("a query parameter that the operation does not know is refused by name", (t) =>
  forEachOperation(t, contractOperations, async (subject) => {
    for (const name of ["nonsense", "Page", "limit[]", "constructor", "__proto__"]) {
      await assertRefused(subject, "validation_failed", { query: [[name, "1"]] }, `query.${name}`);
    }
  }));

Deno.test("a path parameter of a wrong value is refused by name", (t) =>
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

Deno.test("a field of the body that is missing, unknown or of a wrong value is refused by name", (t) =>
  forEachOperation(t, jsonBodyOperations, async (subject) => {
    const { body: example } = exampleCall(subject.operation, subject.ids);
    assert(example);
    for (const fault of bodyFaults(bodySchema(subject.operation), example)) {
      const body = JSON.stringify(replaced(example, fault));
      await assertRefused(subject, "validation_failed", { body }, `body.${fault.at.join(".")}`);
    }
  }));

Deno.test("text that cannot be stored and nesting without end are refused by name", (t) =>
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

Deno.test("a body that is no object is refused as a whole", (t) =>
  forEachOperation(t, jsonBodyOperations, async (subject) => {
    for (const body of ["[]", "[{}]", '"text"', "null", "1", "true"]) {
      await assertRefused(subject, "validation_failed", { body }, "body.");
    }
  }));

Deno.test("a body that is not JSON in UTF-8 answers malformed_json", (t) =>
  forEachOperation(t, jsonBodyOperations, async (subject) => {
    const { body } = exampleCall(subject.operation, subject.ids);
    const text = JSON.stringify(body);
    const latin1 = Uint8Array.from('{"notes":"\xfc"}', (letter) => letter.charCodeAt(0));
    for (const malformed of ["", " ", "{", "undefined", text.slice(0, -1), `${text}}`, `{'a': 1}`, "NaN", latin1]) {
      await assertRefused(subject, "malformed_json", { body: malformed });
    }
  }));

Deno.test("a body that is not announced as JSON answers 415 unsupported_media_type", (t) =>
  forEachOperation(t, jsonBodyOperations, async (subject) => {
    const form = ["application/x-www-form-urlencoded", "multipart/form-data; boundary=x"];
    const similar = ["application/jsonp", "application/json-patch+json", "text/json", "json", "application/*"];
    for (const contentType of [null, "", "text/plain", ...form, ...similar]) {
      await assertRefused(subject, "unsupported_media_type", { contentType });
    }
  }));

Deno.test("a body over 64 KiB answers 413 body_too_large, announced or chunked", (t) =>
  forEachOperation(t, jsonBodyOperations, async (subject) => {
    const { body: example } = exampleCall(subject.operation, subject.ids);
    const padded = (bytes: number) => new TextEncoder().encode(JSON.stringify(example).padEnd(bytes));
    const chunked = (bytes: Uint8Array<ArrayBuffer>) => ReadableStream.from([bytes.slice(0, 100), bytes.slice(100)]);
    for (const bytes of [65_537, 200_000]) {
      await assertRefused(subject, "body_too_large", { body: padded(bytes) });
      await assertRefused(subject, "body_too_large", { body: chunked(padded(bytes)) });
    }
  }));

Deno.test("a body is validated or refused however its media type is written", (t) =>
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

Deno.test("a body is accepted with 64 KiB, in chunks, and with any spelling and charset of its media type", async (t) => {
  await using server = await startServer();
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
        const ids = await newExampleRows(server);
        const send = await sender(server, operation, ids);
        const { status, body } = await send(request(JSON.stringify(exampleCall(operation, ids).body)));
        assert(status < 300, `with ${name}: ${JSON.stringify(body)}`);
      }
    });
  }
});

Deno.test("parameters and fields are accepted at their bounds", async (t) => {
  await using server = await startServer();
  const ids = await newExampleRows(server);
  /** Only some texts of the right length are the name of a time zone. */
  const known = ["timeZone"];
  for (const operation of contractOperations) {
    await t.step(operation.operationId, async () => {
      const send = await sender(server, operation, ids);
      const requests: Request[] = operation.parameters.flatMap(({ name, in: place, schema }) =>
        boundaryValues(schema).map((value) => ({ path: { [name]: String(value) }, value: String(value) }))
          // What is not ASCII cannot stand in a header.
          .filter(({ value }) => place !== "header" || /^[\x20-\x7e]*$/.test(value))
          .map(({ path, value }): Request =>
            place === "path" ? { params: path } : place === "header" ? { headers: path } : { query: [[name, value]] }
          )
      );
      const { body: example } = exampleCall(operation, ids);
      if (example !== undefined) {
        for (const [name, schema] of Object.entries(bodySchema(operation).properties ?? {})) {
          if (known.includes(name)) continue;
          const bodies = boundaryValues(schema, example[name]).map((value) => replaced(example, { at: [name], value }));
          requests.push(...bodies.map((body) => ({ body: JSON.stringify(body) })));
        }
      }
      for (const request of requests) {
        const { status, body } = await send(request);
        const what = `${Deno.inspect(request).slice(0, 200)}: ${JSON.stringify(body)}`;
        assert(status < 500, what);
        assert.notEqual((body as { code?: string }).code, "validation_failed", what);
      }
    });
  }
});
