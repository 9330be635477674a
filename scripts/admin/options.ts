/** Parsers of options and arguments. Each throws `InvalidArgumentError`, to which commander adds the name of the option. */
import { InvalidArgumentError } from "commander";

/** `10`, but neither `1e1` nor `0x0a`. */
export function whole(text: string): number {
  if (!/^\d{1,15}$/.test(text)) throw new InvalidArgumentError("must be a whole number");
  return Number(text);
}

export function positive(text: string): number {
  const value = whole(text);
  if (value === 0) throw new InvalidArgumentError("must be 1 or more");
  return value;
}

/** An amount of money, or `none`. Commander would replace null by an empty text. */
export function amount(text: string): number | "none" {
  if (text === "none") return text;
  if (!/^\d{1,12}(\.\d+)?$/.test(text)) throw new InvalidArgumentError("must be an amount such as 12.50, or none");
  return Number(text);
}

/** An amount of money that is paid or refunded. */
export function paidAmount(text: string): number {
  const value = amount(text);
  if (value === "none" || value === 0) throw new InvalidArgumentError("must be an amount such as 12.50");
  return value;
}

/** A calendar date. */
export function date(text: string): Temporal.PlainDate {
  try {
    if (/^\d{4}-\d{2}-\d{2}$/.test(text)) return Temporal.PlainDate.from(text);
  } catch {
    // The calendar has no such day.
  }
  throw new InvalidArgumentError("must be a date such as 2027-03-31");
}

/** A day or an instant, as a text. The API accepts both. */
export function time(text: string): string {
  try {
    if (/^\d{4}-\d{2}-\d{2}(T\d{2}:\d{2}.*)?$/.test(text)) {
      Temporal.PlainDateTime.from(text.replace(/Z$/, ""));
      return text;
    }
  } catch {
    // The calendar has no such day or time.
  }
  throw new InvalidArgumentError("must be a date such as 2027-03-31, or an instant such as 2027-03-31T09:00:00Z");
}

/** Texts from an option that is repeated, or has commas. Its flags end with `,...>`. */
export function list<Value>(parse: (text: string) => Value): (texts: string, previous?: Value[]) => Value[] {
  return (texts, previous = []) => [...previous, ...texts.split(",").map((text) => parse(text.trim()))];
}

/** Ids from a repeated argument, each once. */
export function ids(text: string, previous: number[] = []): number[] {
  return [...new Set([...previous, whole(text)])];
}

/** Returns `fields` without the undefined ones. */
export function present<Fields extends object>(
  fields: Fields,
): { [Field in keyof Fields]?: Exclude<Fields[Field], undefined> } {
  // The compiler does not follow `fromEntries`.
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)) as {
    [Field in keyof Fields]?: Exclude<Fields[Field], undefined>;
  };
}
