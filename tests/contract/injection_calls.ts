/** Sends hostile texts in every place for a value, and checks each answer. */
import assert from "node:assert/strict";
import { operations, Problem } from "../../generated/contract.ts";
import { newTimeslots } from "../support/builders.ts";
import type { Answer, Call, OperationId, TestServer } from "../support/server.ts";
import { child, type ContractOperation, type Json, type Schema } from "./document.ts";
import { exampleCall, type Ids, newExampleRows, pathOf } from "./example_calls.ts";
import { freeTextFields, type Placed, replaced } from "./faults.ts";

/** Operations that read a stored row again, with the name of its id. */
export const readers: Partial<Record<OperationId, { id: OperationId; name: string }>> = {
  createBooking: { id: "getBooking", name: "bookingId" },
  createRoom: { id: "getRoom", name: "roomId" },
  updateRoom: { id: "getRoom", name: "roomId" },
};

/** An operation, with rows for it to change. */
export interface Subject {
  server: TestServer;
  operation: ContractOperation;
  ids: Ids;
  token: string | undefined;
  /** Ids of bookable timeslots. */
  free: number[];
  /** Ids of rows that it made or changed. */
  kept: Set<number>;
  /** The number of requests that made or changed a row. */
  accepted: number;
}

export async function newSubject(server: TestServer, operation: ContractOperation): Promise<Subject> {
  const ids = await newExampleRows(server, operation);
  const { roomId } = ids;
  const free: number[] = [];
  if (exampleCall(operation, ids).body?.timeslotId !== undefined) {
    const room = await server.ok("getRoom", { params: { roomId } });
    assert("metadata" in room);
    const day = { date: "2026-03-21", slotDuration: 5, workingHours: { start: "00:00", end: "24:00" } };
    free.push(
      ...(await newTimeslots(server, room, day)).map(({ id }) => id).filter((id) => id > (ids.timeslotId ?? 0)),
    );
  }
  const tokens = { public: undefined, user: await server.token("alice"), admin: await server.token("admin", "admin") };
  const token = tokens[operations[operation.operationId].access];
  return { server, operation, ids, token, free, kept: new Set(), accepted: 0 };
}

export const valueAt = (json: Json | undefined, at: string[]): Json | undefined =>
  at.reduce<Json | undefined>((value, key) => child(value, key), json);

function forgedHeaders(headers: Headers): string[] {
  const forged: string[] = [];
  // Takes a fifth of the time of the iterator, and runs for every answer.
  headers.forEach((value, name) => {
    const header = `${name}: ${value}`;
    if (/set-cookie|injected/i.test(header)) forged.push(header);
  });
  return forged;
}

export function assertUnforged({ headers }: { headers: Headers }, message: string): void {
  assert.deepEqual(forgedHeaders(headers), [], message);
}

interface SubjectAnswer extends Answer {
  /** The row in the answer, or all of the answer. */
  resource: Json;
  /** Describes the request and the answer, for failures. It is slow for long texts. */
  describe(): string;
}

/** Sends a call, and checks its answer against the contract. */
export async function answerOf(subject: Subject, call: Call): Promise<SubjectAnswer> {
  const { server, operation: { operationId }, token } = subject;
  const answer = await server.call(operationId, { ...(token === undefined ? {} : { token }), ...call });
  // `call` parsed it from JSON.
  const body = answer.body as Json;
  const describe = () =>
    `${operationId} was sent ${JSON.stringify(call).slice(0, 500)}: ${JSON.stringify(body).slice(0, 500)}`;
  const hasId = /^[\w=-]+$/.test(answer.headers.get("X-Request-Id") ?? "");
  if (answer.status >= 500 || forgedHeaders(answer.headers).length > 0 || !hasId) {
    assert.fail(`failure, forged header or no request id: ${Deno.inspect(answer.headers)} ${describe()}`);
  }
  const resource = [body, ...Object.values(body ?? {})].find((each) => child(each, "id") !== undefined) ?? body;
  if (answer.status < 300 && readers[operationId] !== undefined) {
    subject.kept.add(Number(child(resource, "id")));
    subject.accepted++;
    const next = subject.free.pop();
    if (next !== undefined) subject.ids.timeslotId = next;
  }
  return { ...answer, resource, describe };
}

/** Fails unless the call is answered `validation_failed`, with exactly these places. */
export async function assertRefused(subject: Subject, call: Call, places?: string[]): Promise<void> {
  const { body, describe } = await answerOf(subject, call);
  const { code, errors = [] } = Problem.parse(body);
  if (code !== "validation_failed") assert.fail(describe());
  if (places === undefined) return;
  const named = errors.map((error) => `${error.in}.${error.path}`);
  assert.deepEqual(named.sort(), places.toSorted(), subject.operation.operationId);
}

const zoneForm = /^[A-Za-z][A-Za-z0-9_+-]*(\/[A-Za-z][A-Za-z0-9_+-]*){0,2}$/;

/** Sends `text` in all bound fields of a body, and as the name of a field. Then sends it in all free fields. */
export async function sendInBody(subject: Subject, text: string): Promise<void> {
  const { operation: { operationId, requestBody }, operation, ids } = subject;
  if (requestBody === undefined) return;
  const example = exampleCall(operation, ids);
  if (operations[operationId].bodyKind === "raw") {
    assert((await answerOf(subject, { ...example, body: text })).status >= 400);
    return;
  }
  const { free, bound, closed } = placesOf(requestBody.content["application/json"].schema);
  const wrong = [...bound, ...closed.map((at) => [...at, text])];
  const body = wrong.reduce<Json>((json, at) => replaced(json, { at, value: text }), example.body ?? {});
  // The server stops at the first of these, and names only that one.
  const isNamed = isStorable(text) && text !== "__proto__";
  // The server knows only after the schema that a text with the form of a time zone names none.
  const named = wrong.map((at) => `body.${at.join(".")}`).filter((path) =>
    path !== "body.timeZone" || !zoneForm.test(text)
  );
  await assertRefused(subject, { ...example, body }, isNamed ? named : undefined);
  await sendInFree(subject, free.map(({ at, schema }) => ({ at, value: valueFor(schema, text) })));
}

function valueFor({ additionalProperties }: Schema, text: string): Json {
  return additionalProperties === true
    ? { [text]: text, a: [text, { b: text }], "": { [`${text}.${text}`]: [] } }
    : text;
}

/** Sends all of `places`, and without the refused ones again. Accepted values must be returned unchanged. */
async function sendInFree(subject: Subject, places: Placed[]): Promise<void> {
  const { server, operation: { operationId }, operation, ids, token } = subject;
  if (places.length === 0) return;
  const example = exampleCall(operation, ids);
  const body = places.reduce<Json>((json, place) => replaced(json, place), example.body ?? {});
  const answer = await answerOf(subject, { ...example, body });
  if (answer.status >= 400) {
    const { errors = [] } = Problem.parse(answer.body);
    const isNamed = ({ at }: Placed) => errors.some(({ path }) => `${path}.`.startsWith(`${at.join(".")}.`));
    const others = places.filter((place) => !isNamed(place));
    if (others.length < places.length) await sendInFree(subject, others);
    return;
  }
  const stored = [answer.resource];
  const reader = readers[operationId];
  if (reader !== undefined) {
    const params = { [reader.name]: child(answer.resource, "id") };
    // `ok` parsed it from JSON.
    stored.push(await server.ok(reader.id, { params, ...(token === undefined ? {} : { token }) }) as Json);
  }
  for (const json of stored) {
    for (const { at, value } of places) assert.deepEqual(valueAt(json, at), value, `${operationId} ${at.join(".")}`);
  }
}

export async function sendInParameters(subject: Subject, text: string): Promise<void> {
  const { operation, ids } = subject;
  const example = exampleCall(operation, ids);
  const bound: string[] = [];
  for (const { name, in: place, schema } of operation.parameters) {
    const kind: string = place;
    const isFree = freeTextFields(schema).length > 0;
    if (kind === "header") await sendInHeaders(subject, { [name]: text });
    // A path cannot hold text that is not UTF-8.
    else if (kind === "path" && text.isWellFormed()) {
      const call = { ...example, params: { ...example.params, [name]: text } };
      if (isFree) assert((await answerOf(subject, call)).status >= 400);
      else await assertRefused(subject, call, [`path.${name}`]);
    } else if (kind === "query" && isFree) {
      await answerOf(subject, { ...example, query: { ...example.query, [name]: text } });
    } else if (kind === "query" && name === "after") {
      // The server reads a cursor after it has checked the other parameters.
      const call = { ...example, query: { ...example.query, [name]: text } };
      await assertRefused(subject, call, text.includes("\0") ? undefined : ["query.after"]);
    } else if (kind === "query") bound.push(name);
  }
  // A longer address than that of a few parameters is refused before it is read.
  for (let index = 0; index < bound.length; index += 4) {
    const names = bound.slice(index, index + 4);
    const query = { ...example.query, ...Object.fromEntries(names.map((name) => [name, text])) };
    await assertRefused(
      subject,
      { ...example, query },
      text.includes("\0") ? undefined : names.map((name) => `query.${name}`),
    );
  }
}

/** Sends headers, as bytes where `fetch` would refuse to send them. */
export async function sendInHeaders(subject: Subject, headers: Record<string, string>): Promise<void> {
  const { server, operation, ids } = subject;
  const example = exampleCall(operation, ids);
  if (!Object.values(headers).every((value) => /^[\t\x20-\x7e\x80-\xff]*$/.test(value))) {
    const answer = await rawRequest(server, {
      method: operation.method,
      target: pathOf(operation, example),
      headers: { "Content-Type": "application/json", ...headers },
      body: example.body === undefined ? "" : JSON.stringify(example.body),
    });
    const message = `${operation.operationId} was sent ${Deno.inspect(headers).slice(0, 500)}: ${answer.text}`;
    assert(answer.status < 500, message);
    assertUnforged(answer, message);
    // The runtime refuses some requests itself, with a status and no body.
    if (answer.status >= 400 && answer.text !== "") Problem.parse(JSON.parse(answer.text));
    return;
  }
  const { headers: answered } = await answerOf(subject, { ...example, headers });
  const [sent = "", id = ""] = [headers["X-Request-Id"]?.trim(), answered.get("X-Request-Id") ?? undefined];
  if (/^[\w=-]{1,255}$/.test(sent)) assert.equal(id, sent, operation.operationId);
  else assert.match(id, /^[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}$/, operation.operationId);
}

/** Whether Postgres can store it as text. */
export function isStorable(text: string): boolean {
  return text.isWellFormed() && !text.includes("\0");
}

/** Places of a body, by the values that they accept. */
export interface Places {
  /** Texts of any kind, and objects of any properties. */
  free: { at: string[]; schema: Schema }[];
  /** Values of a type, a pattern or a list. No hostile text is valid there. */
  bound: string[][];
  /** Objects that have only the properties that the contract declares. */
  closed: string[][];
}

export function placesOf(schema: Schema, at: string[] = []): Places {
  const inside = schema.items !== undefined
    ? [placesOf(schema.items, [...at, "0"])]
    : Object.entries(schema.properties ?? {}).map(([name, property]) => placesOf(property, [...at, name]));
  const isLeaf = schema.items === undefined && schema.properties === undefined;
  const isFree = isLeaf && freeTextFields(schema).length > 0;
  return {
    free: [...isFree ? [{ at, schema }] : [], ...inside.flatMap(({ free }) => free)],
    bound: [...isLeaf && !isFree ? [at] : [], ...inside.flatMap(({ bound }) => bound)],
    closed: [...schema.additionalProperties === false ? [at] : [], ...inside.flatMap(({ closed }) => closed)],
  };
}

/** Sends a request byte by byte, if `fetch` would change or refuse it. */
export async function rawRequest(
  { url }: { url: string },
  { method = "GET", target, headers = {}, body = "" }: {
    method?: string;
    target: string;
    headers?: Record<string, string>;
    body?: string;
  },
): Promise<{ status: number; headers: Headers; text: string }> {
  const { hostname, port, host } = new URL(url);
  const bytes = new TextEncoder().encode(body);
  const fields = Object.entries({ Host: host, "Content-Length": bytes.length, ...headers })
    .map(([name, value]) => `${name}: ${value}\r\n`);
  const connection = await Deno.connect({ hostname, port: Number(port) });
  const head = new TextEncoder().encode(`${method} ${target} HTTP/1.1\r\n${fields.join("")}\r\n`);
  await ReadableStream.from([head, bytes]).pipeTo(connection.writable, { preventClose: true });
  // Reads one answer only. A header with an empty line ends the request, and the rest is another request.
  let answer = "";
  for await (const chunk of connection.readable.pipeThrough(new TextDecoderStream())) {
    answer += chunk;
    const end = answer.indexOf("\r\n\r\n");
    if (end < 0) continue;
    const [statusLine = "", ...lines] = answer.slice(0, end).split("\r\n");
    const headers = new Headers(lines.map((field): [string, string] => {
      const colon = field.indexOf(":");
      return [field.slice(0, colon), field.slice(colon + 1)];
    }));
    const status = Number(statusLine.split(" ")[1]);
    let rest = answer.slice(end + 4);
    let length = Number(headers.get("Content-Length") ?? 0);
    if (headers.get("Transfer-Encoding") === "chunked") {
      // The server sends one chunk.
      const size = /^([\da-f]+)\r\n/i.exec(rest);
      if (size === null) continue;
      rest = rest.slice(size[0].length);
      length = parseInt(size[1] ?? "", 16);
    }
    const text = new TextEncoder().encode(rest);
    if (text.length < length) continue;
    return { status, headers, text: new TextDecoder().decode(text.subarray(0, length)) };
  }
  assert.fail(`the server hung up after ${JSON.stringify(answer)}`);
}
