/** From arguments to the code that the process ends with. */
import { runCommand } from "citty";
import { parseArgs } from "node:util";
import type { Command, Definition, Group } from "./command.ts";
import { report, UsageError } from "./failures.ts";
import { groupUsage, usage } from "./usage.ts";

/** How the program is called, for what it says about itself. */
const programName = "deno task admin";
const help = ["--help", "-h"];

/** Does what `args` ask for, or says on standard error why not. Comes to the code to end with; see `exitCodes`. */
export async function runProgram(root: Group, args: string[]): Promise<number> {
  const words = [programName];
  let at: Command | Group = root;
  let rest = args;
  try {
    while ("commands" in at) {
      const [word, ...others]: string[] = rest;
      if (word === undefined) {
        console.error(groupUsage(words.join(" "), at));
        throw new UsageError("No command was given");
      }
      if (help.includes(word)) {
        console.log(groupUsage(words.join(" "), at));
        return 0;
      }
      if (word.startsWith("-")) throw new UsageError(`Options follow the command: ${word}`);
      const next: Command | Group | undefined = Object.hasOwn(at.commands, word) ? at.commands[word] : undefined;
      if (next === undefined) throw new UsageError(`Unknown command: ${[...words.slice(1), word].join(" ")}`);
      words.push(word);
      at = next;
      rest = others;
    }
    const before = rest.includes("--") ? rest.slice(0, rest.indexOf("--")) : rest;
    if (before.some((word) => help.includes(word))) {
      console.log(usage(words.join(" "), at));
      return 0;
    }
    check(at, rest);
    await runCommand(at, { rawArgs: rest });
    return 0;
  } catch (failure) {
    return report(failure, { command: words.join(" "), json: args.includes("--json") });
  }
}

/**
 * Holds arguments against the definitions of a command. citty itself takes what it does not know, and lets an option without a
 * value be an empty text.
 */
function check({ definitions }: Command, args: string[]): void {
  const options = Object.entries(definitions).filter(([, { type }]) => type !== "positional");
  const { tokens } = parseArgs({
    args,
    options: Object.fromEntries(
      options.map(([name, { type }]) => [name, { type: isFlag(type) ? "boolean" : "string" }]),
    ),
    strict: false,
    tokens: true,
    allowPositionals: true,
  });
  const seen = new Set<string>();
  for (const token of tokens) {
    if (token.kind !== "option") continue;
    const name = token.name.replace(/^no-/, "");
    const isNegative = name !== token.name;
    const definition = Object.hasOwn(definitions, name) ? definitions[name] : undefined;
    if (
      definition === undefined || definition.type === "positional" || !token.rawName.startsWith("--") ||
      isNegative && !("negativeDescription" in definition)
    ) throw new UsageError(`Unknown option: ${token.rawName}`);
    if (isFlag(definition.type)) {
      if (token.value !== undefined) throw new UsageError(`${token.rawName} takes no value`);
    } else if (token.value === undefined || !token.inlineValue && token.value.startsWith("-")) {
      throw new UsageError(`${token.rawName} needs a value`);
    }
    if (seen.has(name) && definition.several !== true) throw new UsageError(`--${name} may come once`);
    seen.add(name);
  }
  const places = Object.values(definitions).filter(({ type }) => type === "positional");
  const positionals = tokens.filter(({ kind }) => kind === "positional");
  const unexpected = positionals[places.length];
  if (unexpected?.kind === "positional" && !places.some(({ several }) => several)) {
    throw new UsageError(`Unexpected argument: ${unexpected.value}`);
  }
}

const isFlag = (type: Definition["type"]): boolean => type === "boolean";
