/**
 * Decodes query and path parameters, which arrive as text. Used by the generated contract only.
 *
 * Values are not coerced: an empty `?limit=` is an error, not 0. Only `true` and `false` are booleans.
 */
import { z } from "@hono/zod-openapi";

/** A whole number in decimal digits. `range` checks its value. */
export function integerParameter<T extends z.ZodType<number, number>>(
  range: T,
): z.ZodPipe<z.ZodPipe<z.ZodString, z.ZodTransform<number, string>>, T> {
  return z.string().regex(/^-?\d+$/, "must be a whole number").transform(Number).pipe(range);
}

/** `true` or `false`, nothing else. */
export function booleanParameter(): z.ZodPipe<
  z.ZodEnum<{ true: "true"; false: "false" }>,
  z.ZodTransform<boolean, "true" | "false">
> {
  return z.enum(["true", "false"], "must be true or false").transform((text) => text === "true");
}

/** `?day=1` and `?day=1&day=2` both make a list. */
export function listParameter<T extends z.ZodType>(list: T): z.ZodPreprocess<T> {
  return z.preprocess((value) => typeof value === "string" ? [value] : value, list);
}
