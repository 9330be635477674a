/** Values for a schema of an answer: valid ones, and ones with faults that only JavaScript can hold. */
import type { JsonObject } from "./document.ts";
import type { Random } from "./fuzz/random.ts";
import { oddTexts, timeTexts } from "./fuzz/texts.ts";
import { type AnySchema, boundaryValue, validValue } from "./fuzz/values.ts";

/** A place in a value, as a field of its holder. */
interface Place {
  holder: object;
  key: PropertyKey;
  schema: AnySchema;
}

/** Describes nothing. */
const anySchema: AnySchema = { type: [] };

const valueOf = ({ holder, key }: Place): unknown => Reflect.get(holder, key);

function set({ holder, key }: Omit<Place, "schema">, value: unknown): void {
  Reflect.defineProperty(holder, key, { value, enumerable: true, configurable: true, writable: true });
}

const two = (value: number): string => String(value).padStart(2, "0");

/** A date from year 0 on, mostly one that exists. */
function dateText(random: Random): string {
  const year = random.pick([0, 4, 100, 400, 1900, 2000, 2023, 2024, 2026, 2100, 2400, 9999]);
  const day = random.chance(0.2)
    ? `${two(random.int(0, 13))}-${two(random.int(0, 32))}`
    : random.pick(["01-01", "02-28", "02-29", "02-30", "04-30", "04-31", "06-15", "12-31"]);
  return `${String(year).padStart(4, "0")}-${day}`;
}

/** A date-time, with all forms of zones and fractions. About half are valid. */
function dateTimeText(random: Random): string {
  const date = random.chance(0.7) ? "2026-03-09" : dateText(random);
  const time = random.chance(0.8)
    ? `${two(random.int(0, 23))}:${two(random.int(0, 59))}:${two(random.int(0, 59))}`
    : random.pick(["24:00:00", "23:60:00", "23:59:60", "10:00", "1:00:00", "10:00:0", "100000"]);
  const fraction = random.pick(["", ".1", ".123", ".123456789", ".", ",1", ".1234567890123"]);
  const zone = random.pick(["Z", "Z", "Z", "z", "", "+00:00", "-00:00", "+23:59", "+24:00", "-12:60", "+0530", "+5"]);
  return date + random.pick(["T", "T", "T", "T", "t", " "]) + time + fraction + zone;
}

/** The text of a valid schema with a format. */
function formattedText(random: Random, format: string): string {
  const instant = new Date(random.int(0, 4_102_444_800) * 1_000 + random.int(0, 999)).toISOString();
  if (format === "date") return instant.slice(0, 10);
  return random.chance(0.9)
    ? instant
    : instant.replace(/\.\d+Z$/, random.pick(["Z", "+02:00", ".1-11:30", ".123456Z"]));
}

/** The member of a union that fits a value. */
function memberFor(value: unknown, { oneOf, anyOf }: AnySchema): AnySchema | undefined {
  const isMember = ({ properties }: AnySchema) =>
    Object.entries(properties ?? {}).some(([name, property]: [string, AnySchema]) =>
      property.const !== undefined && property.const === Reflect.get(Object(value), name)
    );
  return oneOf?.find(isMember) ??
    anyOf?.find(({ type }) => type === (Array.isArray(value) ? "array" : typeof value));
}

/** All places of a value that its schema describes, and the values of an object with any keys. */
function placesIn(place: Place): Place[] {
  const value = valueOf(place);
  const { items, properties, additionalProperties } = memberFor(value, place.schema) ?? place.schema;
  if (typeof value !== "object" || value === null) return [place];
  const inner = Object.keys(value).flatMap((key) => {
    if (Array.isArray(value) && items !== undefined) return placesIn({ holder: value, key, schema: items });
    if (properties !== undefined) {
      const schema = properties[key];
      return schema === undefined ? [] : placesIn({ holder: value, key, schema });
    }
    // Its value may be a prototype that all objects share.
    if (key === "__proto__" || !additionalProperties) return [];
    return [{
      holder: value,
      key,
      schema: typeof additionalProperties === "object" ? additionalProperties : anySchema,
    }];
  });
  return [place, ...inner];
}

/** A class with a JSON form of its own. */
class Counted {
  constructor(readonly id = 1) {}
  toJSON(): string {
    return "counted";
  }
}

/** An object that JSON cannot represent. */
function cycle(): object {
  const value: Record<string, unknown> = {};
  value.again = value;
  return value;
}

const oddNumbers = [
  ...[0, -0, 1, -1, 0.5, 1.5, 0.1 + 0.2, 1e21, 1e-7, 5e-324, NaN, Infinity, -Infinity],
  ...[2 ** 53 - 1, 2 ** 53, -(2 ** 53), Number.MAX_VALUE, -Number.MAX_VALUE],
];
const oddKeys = ["__proto__", "toJSON", "constructor", "toString", "hasOwnProperty", "length", "0", "10", "2", ""];

/** Objects that are not what they seem, or whose JSON is. Each call makes a new one, because faults change it. */
const oddObjects: (() => unknown)[] = [
  () => [],
  () => [undefined],
  () => [[]],
  () => Object.assign(new Array(3), { 0: 1 }),
  () => new Array(3),
  () => ({}),
  () => ({ length: 0 }),
  () => Object.create(null),
  () => Object.create({ id: 1 }),
  () => new Counted(),
  () => new Date(0),
  () => new Date(NaN),
  () => new String("a"),
  () => new Number(1),
  () => new Boolean(true),
  () => Object(1n),
  () => new Map([["a", 1]]),
  () => new Set([1]),
  () => new Uint8Array(2),
  () => new Error("odd"),
  () => /a/,
  () => new Proxy({}, {}),
  () => new Proxy([], {}),
  () => ({ constructor: 1 }),
  () => ({ constructor: { prototype: {} } }),
  () => ({ constructor: Counted }),
  () => ({ [Symbol("odd")]: 1 }),
  () => ({ toJSON: () => undefined }),
  () => ({ toJSON: () => "text" }),
  () => ({ toJSON: (key: string) => ({ key }) }),
  () => ({ 10: 1, 2: 2, b: { toJSON: () => undefined }, a: undefined, f: () => 1, n: NaN, d: new Date(0) }),
  () => JSON.parse('{"__proto__":{"a":1},"b":2}'),
  () => ({ a: 1n }),
  () => ({ a: cycle() }),
  () => cycle(),
];

function oddValue(random: Random): unknown {
  switch (random.int(0, 3)) {
    case 0:
      return random.pick(oddNumbers);
    case 1:
      return random.pick<unknown>(["", "1", "null", "all", "ok", "a".repeat(300), random.pick(oddTexts)]);
    case 2:
      return random.pick<unknown>([undefined, null, true, false, 1n, Symbol("odd"), () => 1]);
    default:
      return random.pick(oddObjects)();
  }
}

function deepCopy(value: unknown): unknown {
  if (typeof value !== "object" || value === null) return value;
  if (Array.isArray(value)) return value.map(deepCopy);
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, deepCopy(inner)]));
}

function anyKey(random: Random, value: object): string {
  return random.pick([...Object.keys(value), random.pick(oddKeys)]);
}

/** Changes a value at its place. */
type Fault = (random: Random, place: Place) => void;

const valueFaults: Fault[] = [
  (random, place) => set(place, boundaryValue(random, place.schema) ?? oddValue(random)),
  (random, place) => set(place, oddValue(random)),
  (random, place) => set(place, random.pick([null, undefined])),
  (random, place) => set(place, random.pick([dateText, dateTimeText, () => random.pick(timeTexts)])(random)),
  (random, place) => {
    const value = valueOf(place);
    set(place, random.pick([[value], Object(value), new Proxy(Object(value), {}), new Date(String(value))]));
  },
  (random, place) => {
    const value = valueOf(place);
    if (typeof value !== "number") return;
    set(place, random.pick<unknown>([-value, value + 0.5, value * 2 ** 53, String(value)]));
  },
  (random, place) => {
    const value = valueOf(place);
    if (typeof value !== "string") return;
    const odd = random.pick(oddTexts);
    const cased = random.pick([value.toUpperCase(), value.toLowerCase()]);
    set(place, random.pick([value + odd, odd + value, cased, `${value}\n`, value.slice(1)]));
  },
  // A getter instead of a value.
  (random, { holder, key }) => {
    const value: unknown = Reflect.get(holder, key);
    Reflect.defineProperty(holder, key, { get: () => value, enumerable: random.chance(0.8), configurable: true });
  },
];

type ObjectFault = (random: Random, value: object, place: Place) => void;

const objectFaults: ObjectFault[] = [
  (random, value) => Reflect.deleteProperty(value, anyKey(random, value)),
  (random, value) => set({ holder: value, key: random.pick([...oddKeys, ...oddTexts]) }, oddValue(random)),
  (random, value) => {
    const key = random.pick([Symbol("odd"), Symbol.iterator, Symbol.toPrimitive]);
    Reflect.defineProperty(value, key, { value: () => 1, enumerable: random.chance(0.5), configurable: true });
  },
  // A field that is last or not enumerable.
  (random, value) => {
    const key = anyKey(random, value);
    const inner: unknown = Reflect.get(value, key);
    Reflect.deleteProperty(value, key);
    Reflect.defineProperty(value, key, { value: inner, enumerable: random.chance(0.5), configurable: true });
  },
  // The same fields, but inherited or without a prototype.
  (random, value, place) =>
    set(place, random.chance(0.5) ? Object.create(value) : Object.assign(Object.create(null), value)),
  (random, value) => {
    const parents = [null, Counted.prototype, [], { toJSON: (): unknown => 1, a: 1 }];
    Reflect.setPrototypeOf(value, random.pick<object | null>(parents));
  },
];

type ArrayFault = (random: Random, values: unknown[], place: Place) => void;

const arrayFaults: ArrayFault[] = [
  (random, values, place) => {
    const { minItems = 1, maxItems = 3 } = place.schema;
    const length = random.pick([0, minItems - 1, minItems, maxItems, maxItems + 1]);
    set(place, Array.from({ length }, (_, index) => values[index] ?? deepCopy(values[0])));
  },
  (_, values, place) => set(place, { ...values, length: values.length }),
  (_, values) => values.length += 1,
  (random, values) => Reflect.deleteProperty(values, String(random.int(0, values.length))),
  (_, values) => Reflect.set(values, "toJSON", () => "text"),
];

function addFault(random: Random, place: Place): void {
  const value = valueOf(place);
  const isObject = typeof value === "object" && value !== null;
  if (!isObject || random.chance(0.3)) return random.pick(valueFaults)(random, place);
  if (Array.isArray(value) && random.chance(0.7)) return random.pick(arrayFaults)(random, value, place);
  random.pick(objectFaults)(random, value, place);
}

/** Returns a value for `schema`. Some values are valid, the others have a few faults. */
export function answerValue(random: Random, schema: AnySchema): unknown {
  const root: JsonObject = { value: validValue(random, schema) };
  const places = () => placesIn({ holder: root, key: "value", schema });
  for (const place of places()) {
    const { format, type, minimum = -1e9, maximum = 1e9 } = place.schema;
    if (format !== undefined && valueOf(place) !== null) set(place, formattedText(random, format));
    // Any size and any fraction.
    if (type === "number" && random.chance(0.3)) set(place, minimum + random.next() * (maximum - minimum));
  }
  const count = random.pick([0, 0, 1, 1, 1, 2, 5]);
  for (let index = 0; index < count; index++) addFault(random, random.pick(places()));
  return root.value;
}
