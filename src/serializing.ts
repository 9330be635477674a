/**
 * Parts of the generated serializers. Each part accepts exactly the values that the zod schema of the contract accepts.
 * Where zod exports a function or pattern, it is used here too.
 */
import { z } from "zod";

/** Stands for a value that breaks its schema. */
export const refused = Symbol("refused");

/** Copies the declared fields of a value, or returns {@link refused}. */
export type Copy = (value: unknown) => unknown;

/**
 * Returns the JSON text of an answer, without undeclared fields. The text is that of `JSON.stringify(schema.parse(value))`.
 *
 * @throws {z.ZodError} when the value breaks its schema.
 */
export type Serialize = (value: unknown) => string;

/** Makes the serializer of a schema from its generated `copy`. The schema itself only explains a refusal. */
export function serializer(copy: Copy, schema: z.ZodType): Serialize {
  return (value) => {
    const copied = copy(value);
    if (copied !== refused) return JSON.stringify(copied);
    schema.parse(value);
    throw new Error("A serializer refused a value that its schema accepts.");
  };
}

export function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** Whether a value is an integer from `minimum` to `maximum`. Both are safe integers. */
export function isInteger(value: unknown, minimum: number, maximum: number): boolean {
  return typeof value === "number" && Number.isInteger(value) && value >= minimum && value <= maximum;
}

/** Whether a value is a number from `minimum` to `maximum`. Both are finite, so NaN and Infinity are refused. */
export function isNumber(value: unknown, minimum: number, maximum: number): boolean {
  return typeof value === "number" && value >= minimum && value <= maximum;
}

/** Whether a number has at most so many decimals: whether it is the double of such a decimal. */
export function hasDecimals(value: unknown, places: number): boolean {
  return typeof value === "number" && Number(value.toFixed(places)) === value;
}

/** {@link hasDecimals} for a refinement of zod. */
export function decimals(places: number): (value: number) => boolean {
  return (value) => hasDecimals(value, places);
}

/** Whether a text has at least `minimum` and at most `maximum` characters (code points). */
export function hasLength(value: unknown, minimum: number, maximum: number): boolean {
  if (typeof value !== "string") return false;
  const length = z.core.util.codePointLength(value);
  return length >= minimum && length <= maximum;
}

export function matches(value: unknown, pattern: RegExp): boolean {
  return typeof value === "string" && pattern.test(value);
}

export const dateTime: RegExp = z.core.regexes.datetime({ offset: true });
export const date: RegExp = z.core.regexes.date;

/** Whether `value` has no other fields than its copy. */
export function hasOnly(value: object, copy: object): boolean {
  for (const key in value) {
    if (!Object.hasOwn(copy, key)) return false;
  }
  return true;
}

/** Copies an optional value. */
export function copyIfDefined(value: unknown, copy: Copy): unknown {
  return value === undefined ? undefined : copy(value);
}

/** Copies a value that may be null. */
export function copyUnlessNull(value: unknown, copy: Copy): unknown {
  return value === null ? null : copy(value);
}

/** Copies each item of an array. */
export function copyArray(value: unknown, copyItem: Copy, minimum: number, maximum: number): unknown {
  if (!Array.isArray(value) || value.length < minimum || value.length > maximum) return refused;
  const copy = new Array<unknown>(value.length);
  for (let index = 0; index < value.length; index++) {
    const item = copyItem(value[index]);
    if (item === refused) return refused;
    copy[index] = item;
  }
  return copy;
}

/** Copies an object with any keys. zod refuses symbols as keys, and drops `__proto__`. */
export function copyRecord(value: unknown): Record<string, unknown> | typeof refused {
  if (!z.core.util.isPlainObject(value)) return refused;
  const copy: Record<string, unknown> = { ...value };
  if (Object.getOwnPropertySymbols(copy).length > 0) return refused;
  if (Object.hasOwn(copy, "__proto__")) delete copy["__proto__"];
  return copy;
}

/** Copies an object with any keys, and each of its values. */
export function copyRecordOf(value: unknown, copyItem: Copy): unknown {
  const copy = copyRecord(value);
  if (copy === refused) return refused;
  for (const key of Object.keys(copy)) {
    copy[key] = copyItem(copy[key]);
    if (copy[key] === refused) return refused;
  }
  return copy;
}
