/** The serializers of answers in special cases. The property test compares them with zod for any values. */
import assert from "node:assert/strict";
import * as schemas from "../../generated/contract.ts";
import * as generated from "../../generated/serializers.ts";

const { serializeProblem, serializeRoom, serializeRoomPage } = generated;

const room = {
  id: 1,
  name: "Sky Lounge",
  description: null,
  capacity: 8,
  roomType: "meeting",
  hourlyRate: 25.5,
  currency: "EUR",
  timeZone: "Europe/Berlin",
  autoConfirm: false,
  isActive: true,
  metadata: {},
  createdAt: "2026-03-09T10:00:00.000Z",
  updatedAt: "2026-03-09T10:00:00.000Z",
};

/** The text of a room with these fields, which must be that of zod too. */
function textWith(fields: object): string {
  const make = () => Object.defineProperties({ ...room }, Object.getOwnPropertyDescriptors(fields));
  const text = serializeRoom(make());
  assert.equal(text, JSON.stringify(schemas.Room.parse(make())));
  return text;
}

function metadataOf(metadata: unknown): unknown {
  return JSON.parse(textWith({ metadata })).metadata;
}

Deno.test("serializers: answers of any operation -> the serializer of the answer's schema", () => {
  const names = new Map<unknown, string>(
    Object.entries(generated).map(([name, value]) => [value, name.replace("serialize", "")]),
  );
  const zodSchemas: Record<string, unknown> = schemas;
  for (const [id, { answers, upgrades }] of Object.entries(schemas.operations)) {
    const serializers: Record<number, unknown> = Reflect.get(generated.answerSerializers, id);
    assert.deepEqual(Object.keys(serializers), Object.keys(answers), id);
    assert(upgrades || Object.keys(answers).length > 0);
    for (const [status, schema] of Object.entries(answers)) {
      const name = names.get(Reflect.get(serializers, status));
      assert(name !== undefined && zodSchemas[name] === schema, `${id} ${status}`);
    }
  }
});

Deno.test("serializers: undeclared fields, any order -> declared fields in the order of the contract", () => {
  const entries = Object.entries({ ...room, secret: "column" }).toReversed();
  assert.equal(serializeRoom(Object.fromEntries(entries)), JSON.stringify(room));
  const page = {
    nextCursor: null,
    pages: 1,
    limit: 1,
    page: 1,
    total: 1,
    items: [{ ...room, secret: "column" }],
    secret: "column",
  };
  const plain = { items: [room], total: 1, page: 1, limit: 1, pages: 1, nextCursor: null };
  assert.equal(serializeRoomPage(page), JSON.stringify(plain));
});

Deno.test("serializers: optional field that is undefined -> left out", () => {
  const problem = {
    type: "urn:slotkeeper:problem:rate_limited",
    title: "Too many requests",
    status: 429,
    detail: "Wait.",
    code: "rate_limited",
    requestId: "a",
    error: "Wait.",
  };
  assert.equal(serializeProblem({ ...problem, errors: undefined, alternatives: undefined }), JSON.stringify(problem));
  for (const wrong of [null, [undefined], {}]) assert.throws(() => serializeProblem({ ...problem, errors: wrong }));
});

Deno.test("serializers: value that breaks the schema -> ZodError with its place", () => {
  assert.throws(
    () =>
      serializeRoomPage({ items: [{ ...room, capacity: 0 }], total: 1, page: 1, limit: 1, pages: 1, nextCursor: null }),
    {
      name: "ZodError",
      message: /"items",\s+0,\s+"capacity"/,
    },
  );
});

Deno.test("serializers: special values of fields -> as zod", async (t) => {
  const accepted: [name: string, fields: object, text: string][] = [
    ["-0", { hourlyRate: -0 }, '"hourlyRate":0,'],
    ["largest number", { hourlyRate: Number.MAX_VALUE }, '"hourlyRate":1.7976931348623157e+308,'],
    ["half a character", { name: "\ud800" }, '"name":"\\ud800",'],
    ["control characters", { name: '\0\u001f"\\\u2028' }, '"name":"\\u0000\\u001f\\"\\\\\u2028",'],
    ["leap day", { createdAt: "2024-02-29T00:00:00Z" }, '"createdAt":"2024-02-29T00:00:00Z",'],
    ["offset", { createdAt: "2026-03-09T10:00:00.1-23:59" }, '"createdAt":"2026-03-09T10:00:00.1-23:59",'],
    ["a getter", Object.defineProperty({}, "name", { get: () => "read", enumerable: true }), '"name":"read",'],
    ["not enumerable", Object.defineProperty({}, "name", { value: "hidden" }), '"name":"hidden",'],
  ];
  for (const [name, fields, text] of accepted) {
    await t.step(`${name} -> accepted`, () => assert(textWith(fields).includes(text)));
  }
  const refused: [name: string, fields: object][] = [
    ["NaN", { hourlyRate: NaN }],
    ["Infinity", { hourlyRate: Infinity }],
    ["integer in a text", { capacity: "8" }],
    ["integer as an object", { capacity: new Number(8) }],
    ["integer that is not safe", { id: 2 ** 53 }],
    ["Date", { createdAt: new Date(0) }],
    ["day that does not exist", { createdAt: "2026-02-29T00:00:00Z" }],
    ["no leap year", { createdAt: "1900-02-29T00:00:00Z" }],
    ["lower case", { createdAt: "2026-03-09t10:00:00z" }],
    ["leap second", { createdAt: "2026-12-31T23:59:60Z" }],
    ["line break after a date-time", { createdAt: "2026-03-09T10:00:00Z\n" }],
    ["required field that is undefined", { description: undefined }],
    ["array for an object", { metadata: [] }],
    ["symbol as a key", { metadata: { [Symbol("a")]: 1 } }],
    ["instance of a class", { metadata: new Map() }],
  ];
  for (const [name, fields] of refused) {
    await t.step(`${name} -> refused`, () => {
      assert.throws(() => serializeRoom({ ...room, ...fields }), { name: "ZodError" });
    });
  }
  await t.step("array with holes -> refused", () => {
    assert.throws(
      () => serializeRoomPage({ items: new Array(1), total: 1, page: 1, limit: 1, pages: 1, nextCursor: null }),
      {
        name: "ZodError",
      },
    );
  });
});

Deno.test("serializers: object with any keys -> JSON of its own enumerable values", () => {
  assert.deepEqual(metadataOf({ b: 1, a: [null], 2: undefined, c: () => 1, d: NaN, e: new Date(0) }), {
    b: 1,
    a: [null],
    d: null,
    e: "1970-01-01T00:00:00.000Z",
  });
  assert.deepEqual(metadataOf(JSON.parse('{"__proto__":{"isAdmin":true},"a":{"__proto__":1}}')), {
    a: JSON.parse('{"__proto__":1}'),
  });
  assert.deepEqual(metadataOf(Object.create({ toJSON: () => "inherited", a: 1 })), {});
  assert.deepEqual(metadataOf({ toJSON: (key: string) => ({ key }) }), { key: "metadata" });
  assert.equal(metadataOf({ toJSON: () => undefined }), undefined);
  assert.throws(() => serializeRoom({ ...room, metadata: { a: 1n } }), TypeError);
});

Deno.test("serializers: field with a getter -> read once", () => {
  let reads = 0;
  const counted = { ...room };
  Object.defineProperty(counted, "name", { get: () => `read ${++reads}`, enumerable: true });
  assert(serializeRoom(counted).includes('"name":"read 1"'));
  assert.equal(reads, 1);
});
