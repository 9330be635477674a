/** Values that a schema of the contract must refuse, and values at its bounds that it must accept. */
import assert from "node:assert/strict";
import type { Json, Schema } from "./document.ts";

/** A value at a place of a body. `at` has the names and indexes of the place. Undefined removes the value. */
export interface Placed {
  at: string[];
  value: Json | undefined;
}

/** Returns `body` with one place replaced. */
export function replaced(body: Json, { at, value }: Placed): Json {
  const [name, ...rest] = at;
  if (name === undefined) {
    assert(value !== undefined);
    return value;
  }
  assert(typeof body === "object" && body !== null, `the contract's example shows nothing at ${name}`);
  if (rest.length === 0 && value === undefined) {
    assert(!Array.isArray(body));
    return Object.fromEntries(Object.entries(body).filter(([other]) => other !== name));
  }
  const inner = rest.length === 0 ? value ?? null : replaced(Reflect.get(body, name), { at: rest, value });
  if (Array.isArray(body)) return body.map((each, index) => String(index) === name ? inner : each);
  return { ...body, [name]: inner };
}

function typesOf({ type }: Schema): string[] {
  return Array.isArray(type) ? type : [type];
}

/** Texts that a parameter must refuse. A path can hold all of them but the empty one. */
export function wrongTexts(schema: Schema): string[] {
  const [type] = typesOf(schema);
  switch (type) {
    case "integer": {
      const { minimum, maximum } = schema;
      assert(minimum !== undefined && maximum !== undefined);
      const outside = [String(minimum - 1), String(BigInt(maximum) + 1n), "9".repeat(400), `-${"9".repeat(400)}`];
      return ["", " ", "x", "1.5", "1.0", "1e1", "0x1", "+1", " 1", "1 ", "١", "true", "null", "NaN", ...outside];
    }
    case "boolean":
      return ["", " ", "x", "1", "0", "TRUE", "yes", "null"];
    case "string":
      return wrongStrings(schema);
    default:
      throw new Error(`a parameter of type ${type}: say here what it must refuse`);
  }
}

/** Strings that a schema with an `enum`, a `pattern` or a length must refuse. */
function wrongStrings({ enum: values, pattern, minLength = 0, maxLength }: Schema): string[] {
  if (values !== undefined) return ["", " ", "no such value", String(values[0]).toUpperCase(), `${values[0]} `];
  if (pattern !== undefined) {
    const candidates = ["", " ", "x", "0", "2026-3-9", "2026-03-09 10:00", "9:00", "24:01", "eur", "EURO", "\n"];
    return candidates.filter((text) => !new RegExp(pattern).test(text));
  }
  return [
    ...(minLength === 0 ? [] : ["x".repeat(minLength - 1)]),
    ...(maxLength === undefined ? [] : ["x".repeat(maxLength + 1)]),
  ];
}

/** One value of each JSON type. */
const ofEachType: Record<string, Json> = {
  string: "text",
  number: 1.5,
  boolean: true,
  array: [{}],
  object: { nonsense: 1 },
  null: null,
};

/** A list of `length` items. Repeats the items of the contract's example. */
function repeated(example: Json | undefined, length: number): Json {
  assert(Array.isArray(example) && example.length > 0, "the contract's example shows no item");
  return Array.from({ length }, (_, index) => example[index % example.length] ?? null);
}

/** Values that a schema must refuse, without the faults of their inner values. */
function wrongValues(schema: Schema, example: Json | undefined): Json[] {
  const types = typesOf(schema);
  const { minimum, maximum, "x-decimals": places, minItems = 0, maxItems } = schema;
  return [
    ...Object.entries(ofEachType).filter(([type]) => !types.includes(type)).map(([, value]) => value),
    ...(types.includes("string") ? wrongStrings(schema) : []),
    ...(types.includes("string") ? [] : ["", "1", "true"]),
    ...(minimum === undefined ? [] : [minimum - 1]),
    ...(maximum === undefined ? [] : [maximum + 1]),
    ...(places === undefined ? [] : [10 ** -places / 2, 1 + 10 ** -places * 1.5, 19.990000000000002]),
    ...(minItems === 0 ? [] : [[]]),
    ...(maxItems === undefined ? [] : [repeated(example, maxItems + 1)]),
  ];
}

/** All faults of one field of a body. `example` is the contract's, and shows every nested field. */
export function bodyFaults(schema: Schema, example: Json | undefined, at: string[] = []): Placed[] {
  const own = at.length === 0 ? [] : wrongValues(schema, example).map((value) => ({ at, value }));
  if (schema.items !== undefined) {
    return [...own, ...bodyFaults(schema.items, Array.isArray(example) ? example[0] : undefined, [...at, "0"])];
  }
  if (schema.properties === undefined) return own;
  const shown = typeof example === "object" && example !== null && !Array.isArray(example) ? example : {};
  const missing = (schema.required ?? []).map((name) => ({ at: [...at, name], value: undefined }));
  const unknown = ["nonsense", "constructor", "__proto__"].map((name) => ({ at: [...at, name], value: 1 }));
  const inner = Object.entries(schema.properties)
    .flatMap(([name, property]) => bodyFaults(property, shown[name], [...at, name]));
  return [...own, ...missing, ...unknown, ...inner];
}

/** Places of a body that accept any text: strings without a pattern, and objects without declared properties. */
export function freeTextFields(schema: Schema, at: string[] = []): { at: string[]; schema: Schema }[] {
  if (schema.items !== undefined) return freeTextFields(schema.items, [...at, "0"]);
  if (schema.properties !== undefined) {
    return Object.entries(schema.properties).flatMap(([name, property]) => freeTextFields(property, [...at, name]));
  }
  // A pattern that only asks for one visible character leaves the rest of the text free.
  const hasForm = schema.pattern !== undefined && !schema.pattern.startsWith("[^");
  const isText = typesOf(schema).includes("string") && schema.enum === undefined && !hasForm;
  return isText || schema.additionalProperties === true ? [{ at, schema }] : [];
}

/** Values at the bounds of a schema, which it must accept. */
export function boundaryValues(schema: Schema, example?: Json): Json[] {
  const { minimum, maximum, minLength, maxLength, pattern, enum: values, maxItems } = schema;
  return [
    ...(minimum === undefined ? [] : [minimum]),
    ...(maximum === undefined ? [] : [maximum]),
    ...(minLength === undefined ? [] : ["x".repeat(minLength)]),
    // JSON Schema counts code points. An emoji is one code point, and two units of a JavaScript string.
    ...(maxLength === undefined || pattern !== undefined ? [] : ["x".repeat(maxLength), "😀".repeat(maxLength)]),
    ...(maxItems === undefined ? [] : [repeated(example, maxItems)]),
    ...(typesOf(schema).includes("boolean") ? [true, false] : []),
    ...(typesOf(schema).includes("null") ? [null] : []),
    ...values ?? [],
  ];
}
