/** What was given on the command line, read as what it stands for. */
import { parseArgs } from "node:util";
import { UsageError } from "./failures.ts";

/** `10`, and neither `1e1` nor `0x0a`. */
const wholeNumber = /^\d{1,15}$/;
const decimalNumber = /^\d{1,12}(\.\d+)?$/;

/**
 * The arguments of a command, by the names of its definitions. What was not given is undefined.
 *
 * Its methods throw a {@link UsageError} when a text is not what is asked for.
 */
export class Given<Name extends string> {
  readonly #args: Record<string, unknown> & { _: string[] };
  readonly #rawArgs: string[];

  /** What citty has read from `rawArgs`. */
  constructor(args: Record<string, unknown> & { _: string[] }, rawArgs: string[]) {
    this.#args = args;
    this.#rawArgs = rawArgs;
  }

  text(name: Name): string | undefined {
    const value = this.#args[name];
    return typeof value === "string" ? value : undefined;
  }

  flag(name: Name): boolean | undefined {
    const value = this.#args[name];
    return typeof value === "boolean" ? value : undefined;
  }

  whole(name: Name): number | undefined {
    const text = this.text(name);
    return text === undefined ? undefined : toWhole(text, `--${name}`);
  }

  /** An amount of money. Null stands for `none`. */
  amount(name: Name): number | null | undefined {
    const text = this.text(name);
    if (text === undefined) return undefined;
    if (text === "none") return null;
    if (!decimalNumber.test(text)) throw new UsageError(`--${name} must be an amount such as 12.50, or none: ${text}`);
    return Number(text);
  }

  /** A calendar date. */
  date(name: Name): Temporal.PlainDate | undefined {
    const text = this.text(name);
    return text === undefined ? undefined : toDate(text, `--${name}`);
  }

  /** An option that may come several times, or with commas. */
  texts(name: Name): string[] | undefined {
    // citty keeps the last one alone.
    const { values } = parseArgs({
      args: this.#rawArgs,
      options: { [name]: { type: "string", multiple: true } },
      strict: false,
      allowPositionals: true,
    });
    const given: unknown = values[name];
    return Array.isArray(given)
      ? given.flatMap((text) => String(text).split(",")).map((text) => text.trim())
      : undefined;
  }

  wholes(name: Name): number[] | undefined {
    return this.texts(name)?.map((text) => toWhole(text, `--${name}`));
  }

  dates(name: Name): Temporal.PlainDate[] | undefined {
    return this.texts(name)?.map((text) => toDate(text, `--${name}`));
  }

  /** A day, or an instant, as the API takes either. */
  time(name: Name): string | undefined {
    const text = this.text(name);
    return text === undefined ? undefined : toTime(text, `--${name}`);
  }

  /** The ids that stand by themselves, each once. */
  ids(): number[] {
    return [...new Set(this.#args._.map((text) => toWhole(text, "An id")))];
  }

  /** The one id that stands by itself. */
  id(): number {
    const [id] = this.ids();
    if (id === undefined) throw new UsageError("An id is missing");
    return id;
  }

  /** What was read of an option that has to be there. */
  need<Value>(name: Name, value: Value | undefined): Value {
    if (value === undefined) throw new UsageError(`Missing required argument: --${name}`);
    return value;
  }
}

function toWhole(text: string, what: string): number {
  if (!wholeNumber.test(text)) throw new UsageError(`${what} must be a whole number: ${text}`);
  return Number(text);
}

function toDate(text: string, what: string): Temporal.PlainDate {
  try {
    if (/^\d{4}-\d{2}-\d{2}$/.test(text)) return Temporal.PlainDate.from(text);
  } catch {
    // No such day in the calendar.
  }
  throw new UsageError(`${what} must be a date such as 2027-03-31: ${text}`);
}

function toTime(text: string, what: string): string {
  try {
    // It throws for a day or a time that there is not.
    if (/^\d{4}-\d{2}-\d{2}(T\d{2}:\d{2}.*)?$/.test(text)) {
      Temporal.PlainDateTime.from(text.replace(/Z$/, ""));
      return text;
    }
  } catch {
    // No such day or time.
  }
  throw new UsageError(
    `${what} must be a date such as 2027-03-31, or an instant such as 2027-03-31T09:00:00Z: ${text}`,
  );
}

/** `fields` without those that are undefined. */
export function present<Fields extends object>(
  fields: Fields,
): { [Field in keyof Fields]?: Exclude<Fields[Field], undefined> } {
  // The compiler does not follow `fromEntries`.
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)) as {
    [Field in keyof Fields]?: Exclude<Fields[Field], undefined>;
  };
}
