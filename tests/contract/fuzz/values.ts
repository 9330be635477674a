/** Values that fit a schema of the contract, and values at and beyond its bounds. */
import fc from "fast-check";
import { contract, type Json, type JsonObject, type Schema } from "../document.ts";
import type { Random } from "./random.ts";
import { knownTexts, oddTexts, timeTexts } from "./texts.ts";

/** A schema with keywords that only some tests read. */
export type AnySchema = Schema & { const?: Json; format?: string; oneOf?: Schema[]; anyOf?: Schema[] };

function typesOf({ type }: AnySchema): string[] {
  return type === undefined ? [] : [type].flat();
}

/** The values of every `enum` in `node`. A plain text of the contract may mean one of them. */
function wordsIn(node: Json): string[] {
  if (typeof node !== "object" || node === null) return [];
  const { enum: values = [] } = Array.isArray(node) ? {} : node;
  const own = Array.isArray(values) ? values.filter((value) => typeof value === "string") : [];
  return [...own, ...Object.values(node).flatMap(wordsIn)];
}

const words = [...new Set(wordsIn(contract))];
const texts = new Map<string, string[]>();

/** Texts that match `pattern`: known ones, which have a meaning, and as many random ones. */
function textsOf(pattern: string): string[] {
  const found = texts.get(pattern);
  if (found !== undefined) return found;
  const expression = new RegExp(pattern);
  const known = [...timeTexts, ...knownTexts, ...oddTexts].filter((text) => expression.test(text));
  const random = fc.sample(fc.stringMatching(expression), { seed: 1, numRuns: 100 });
  // One half each, even if few are known.
  const made = known.length === 0
    ? random
    : [...Array.from(random, (_, i) => known[i % known.length] ?? ""), ...random];
  const all = [...made, ...known];
  texts.set(pattern, all);
  return all;
}

const instants = timeTexts.filter((text) => /T[\d:.]+(Z|[+-]\d\d:\d\d)$/.test(text) && /T\d\d:\d\d:\d\d/.test(text));
/** Without texts that no database can store. Those are faults. */
const storableTexts = oddTexts.filter((text) => text.isWellFormed() && !text.includes("\0"));
const dates = timeTexts.filter((text) => /^\d{4}-\d{2}-\d{2}$/.test(text));

function validText(random: Random, { pattern, format, minLength = 0, maxLength = 40 }: AnySchema): string {
  if (pattern !== undefined) return random.pick(textsOf(pattern));
  if (format === "date-time") return random.pick(instants);
  if (format === "date") return random.pick(dates);
  const text = random.pick(random.pick([words, knownTexts, storableTexts]));
  return Array.from(text.padEnd(minLength, "x")).slice(0, maxLength).join("");
}

/** Number of rows of each kind at the start. Most ids are one of them. */
export const rows = 128;

/** Values that the server knows, by the names of parameters and fields. */
const known: Record<string, Json> = { provider: "sandbox", roomId: 1 };

function validNumber(random: Random, schema: AnySchema): number {
  const { minimum = -1_000, maximum = 1_000_000, "x-decimals": places = 0 } = schema;
  const step = 10 ** -places;
  if (random.chance(0.05)) return random.chance(0.5) ? minimum : maximum;
  const far = random.chance(0.7) ? rows - 1 : 2 ** random.int(0, 12);
  const value = minimum + random.int(0, Math.floor(Math.min((maximum - minimum) / step, far))) * step;
  return Number(value.toFixed(places));
}

function anyJson(random: Random, depth = 0): Json {
  switch (random.int(0, depth < 3 ? 6 : 4)) {
    case 0:
      return random.pick(storableTexts);
    case 1:
      return random.int(-1_000, 1_000) / 4;
    case 2:
      return random.chance(0.5);
    case 3:
      return null;
    case 4:
      return random.pick(knownTexts);
    case 5:
      return Array.from({ length: random.int(0, 3) }, () => anyJson(random, depth + 1));
    default:
      return anyObject(random, depth);
  }
}

function anyObject(random: Random, depth = 0): JsonObject {
  const names = Array.from({ length: random.int(0, 3) }, () => random.pick(knownTexts));
  return Object.fromEntries(names.map((name) => [name, anyJson(random, depth + 1)]));
}

function validObject(random: Random, schema: AnySchema, example: Json | undefined): JsonObject {
  const { properties, required = [], additionalProperties: rest } = schema;
  if (properties === undefined) {
    if (typeof rest !== "object") return anyObject(random);
    return Object.fromEntries(Object.keys(anyObject(random)).map((name) => [name, validValue(random, rest)]));
  }
  const shown = typeof example === "object" && example !== null && !Array.isArray(example) ? example : {};
  return Object.fromEntries(
    Object.entries(properties).filter(([name]) => required.includes(name) || random.chance(0.4))
      .map(([name, property]) => [name, validField(random, { name, schema: property, example: shown[name] })]),
  );
}

/** Returns a value for a parameter or field of this name. */
export function validField(
  random: Random,
  { name, schema, example }: { name: string; schema: AnySchema; example?: Json | undefined },
): Json {
  const value = known[name];
  return value !== undefined && random.chance(0.6) ? value : validValue(random, schema, example);
}

/** A value that fits `schema`, sometimes the example of the contract. It may break rules outside the schema. */
export function validValue(random: Random, schema: AnySchema, example?: Json): Json {
  if (schema.const !== undefined) return schema.const;
  if (schema.enum !== undefined) return random.pick(schema.enum.length === 0 ? [null] : schema.enum);
  const members = schema.oneOf ?? schema.anyOf;
  if (members !== undefined) return validValue(random, random.pick(members), example);
  const types = typesOf(schema);
  if (types.includes("string") && example !== undefined && random.chance(0.35)) return example;
  const type = types.includes("null") && random.chance(0.1) ? "null" : types.find((each) => each !== "null");
  switch (type) {
    case "string":
      return validText(random, schema);
    case "integer":
    case "number":
      return validNumber(random, schema);
    case "boolean":
      return random.chance(0.5);
    case "array": {
      const { items, minItems = 0, maxItems = minItems + 3 } = schema;
      const first = Array.isArray(example) ? example[0] : undefined;
      const length = random.int(minItems, Math.min(maxItems, minItems + 3));
      return Array.from({ length }, () => items === undefined ? null : validValue(random, items, first));
    }
    case "null":
      return null;
    default:
      return validObject(random, schema, example);
  }
}

/** A value at or just beyond a bound of `schema`, or undefined if it has none. */
export function boundaryValue(random: Random, schema: AnySchema): Json | undefined {
  const { minimum, maximum, "x-decimals": places = 0, minLength, maxLength, minItems, maxItems, items, pattern } =
    schema;
  const around = (bound: number | undefined): number[] => {
    if (bound === undefined) return [];
    const step = 10 ** -places;
    return [bound - step, bound, bound + step, bound + step / 2];
  };
  const lengths = [minLength, maxLength].filter((bound) => bound !== undefined)
    .flatMap((bound) => [bound - 1, bound, bound + 1]).filter((length) => length >= 0);
  const counts = [minItems, maxItems].filter((bound) => bound !== undefined)
    .flatMap((bound) => [bound - 1, bound, bound + 1]).filter((count) => count >= 0);
  const candidates: (() => Json)[] = [
    ...[minimum, maximum].flatMap(around).map((value) => () => value),
    // A character can be two units of a JavaScript string.
    ...lengths.map((length) => () => random.pick(["x", "😀", "ü", " "]).repeat(length)),
    ...counts.map((count) => () => Array.from({ length: count }, () => items ? validValue(random, items) : null)),
    // One character less or more than the pattern has.
    ...(pattern === undefined ? [] : [
      () => random.pick(textsOf(pattern)).slice(1),
      () => `${random.pick(textsOf(pattern))}\n`,
      () => ` ${random.pick(textsOf(pattern))}`,
    ]),
    ...(schema.enum === undefined ? [] : schema.enum.map((value) => () => String(value).toUpperCase())),
    ...(typesOf(schema).includes("null") ? [() => null] : []),
  ];
  return candidates.length === 0 ? undefined : random.pick(candidates)();
}

export interface Place {
  at: string[];
  schema: AnySchema;
}

/** Every place in `value` that `schema` describes, including its root. */
export function placesIn(value: Json, schema: AnySchema, at: string[] = []): Place[] {
  const own = { at, schema };
  if (typeof value !== "object" || value === null) return [own];
  return [
    own,
    ...Object.entries(value).flatMap(([name, inner]) => {
      const part = Array.isArray(value) ? schema.items : schema.properties?.[name];
      return part === undefined ? [] : placesIn(inner, part, [...at, name]);
    }),
  ];
}
