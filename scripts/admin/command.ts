/** What commands are made of: citty's definitions, with examples, and options that may come several times. */
import { type ArgDef, type CommandDef, defineCommand } from "citty";
import { Given } from "./given.ts";

/** An option, or a positional argument, as citty knows it. With `several` it may be repeated, or separated by commas. */
export type Definition = ArgDef & { several?: true };
export type Definitions = Record<string, Definition>;

/** A command that does something. */
export interface Command extends CommandDef {
  summary: string;
  examples: string[];
  definitions: Definitions;
}

/** A command that only leads to others. */
export interface Group extends CommandDef {
  summary: string;
  commands: Record<string, Command | Group>;
}

/** What every command takes. */
export const everywhere = {
  json: { type: "boolean", description: "Print JSON on standard output, for programs" },
  help: { type: "boolean", alias: "h", description: "Print this" },
} satisfies Definitions;

interface CommandOptions<Name extends string> {
  /** What it does, in a line. */
  summary: string;
  /** Its arguments, as they would follow its name. */
  examples: string[];
  args?: Record<Name, Definition>;
  run: (given: Given<Name | keyof typeof everywhere>) => Promise<void>;
}

export function command<Name extends string = never>({ summary, examples, args, run }: CommandOptions<Name>): Command {
  const definitions: Definitions = { ...args, ...everywhere };
  const definition = defineCommand({ args: definitions, run: ({ args, rawArgs }) => run(new Given(args, rawArgs)) });
  return { ...definition, summary, examples, definitions };
}

export function group(summary: string, commands: Group["commands"]): Group {
  return { ...defineCommand({ subCommands: commands }), summary, commands };
}

/** For what cannot be taken back; see `confirmed`. */
export const yes = { type: "boolean", description: "Do not ask" } satisfies Definition;
