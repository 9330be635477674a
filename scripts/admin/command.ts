/** A command of commander, with examples, and stricter about options. */
import { Command, type Option } from "commander";
import { UsageError } from "./failures.ts";
import { styled } from "./shell.ts";

/** The options of every command. */
export interface JsonOption {
  json?: boolean;
}

export class AdminCommand extends Command {
  readonly #commandLine: readonly string[];

  /** `commandLine` has all arguments of the program. */
  constructor(name: string, commandLine: readonly string[]) {
    super(name);
    this.#commandLine = commandLine;
    this.helpCommand(false).helpOption("-h, --help", "Print this help");
  }

  override createCommand(name = ""): AdminCommand {
    return new AdminCommand(name, this.#commandLine);
  }

  /** The command as a shell calls it: `deno task admin rooms list`. */
  get path(): string {
    return this.parent instanceof AdminCommand ? `${this.parent.path} ${this.name()}` : this.name();
  }

  /** Adds a command with `--json`. The examples are texts that follow its name. */
  operation(nameAndArguments: string, description: string, examples: string[]): AdminCommand {
    const command = this.command(nameAndArguments).description(description)
      .option("--json", "Print JSON on standard output, for programs");
    const calls = examples.map((example) => `  ${command.path} ${example}`.trimEnd());
    return command.addHelpText("after", ["", styled("bold", "Examples:"), ...calls].join("\n"));
  }

  /**
   * Adds an option that may be given once. Commander would accept the last of two values, and `--json` as a value. A value
   * may begin with a dash, such as `-5`. One of the command's own options is a value only after `=`.
   */
  override addOption(option: Option): this {
    if (option.mandatory) option.description += " (required)";
    this.on(`option:${option.name()}`, (value?: string) => {
      const isInline = this.#commandLine.includes(`${option.long}=${value}`);
      if (value !== undefined && !isInline && this.#isOption(value)) {
        this.error(
          `option '${option.flags}' needs a value. To pass '${value}' as its value, write ${option.long}=${value}`,
        );
      }
      const isSecond = this.getOptionValueSource(option.attributeName()) === "cli";
      if (isSecond && !option.flags.endsWith(",...>")) this.error(`option '${option.flags}' may be given only once`);
    });
    return super.addOption(option);
  }

  /** `give the ids of the bookings, as in: …` */
  #missing(name: string): string {
    const { description = name, variadic = false } = this.registeredArguments.find((each) => each.name() === name) ??
      {};
    const thing = `${description.charAt(0).toLowerCase()}${description.slice(1)}`;
    return `give the ${thing}, such as: ${this.path} ${variadic ? "42 43" : "42"}`;
  }

  /** Returns whether an argument is one of the options of this command, such as `--json` or `--limit=5`. */
  #isOption(argument: string): boolean {
    const [name = ""] = argument.split("=", 1);
    return [...this.options.flatMap(({ short, long }) => [short, long]), "-h", "--help"].includes(name);
  }

  /** Throws a {@link UsageError} of one sentence, unless the command line also asks for help. */
  override error(message: string): never {
    const end = this.#commandLine.indexOf("--");
    const options = end === -1 ? this.#commandLine : this.#commandLine.slice(0, end);
    if (options.includes("--help") || options.includes("-h")) this.help();
    const sentence = message.replace(/^error: /, "").replace(/\n/g, " ")
      .replace(/(is invalid(?: for argument '\w+')?)\. (.)/, (_, start, next) => `${start}: ${next.toLowerCase()}`)
      .replace(/^command-argument value ('.*?') is invalid for argument '(\w+)'/s, "$1 is not valid as <$2>")
      .replace(/^missing required argument '(\w+)'$/, (_, name) => this.#missing(name))
      .replace(/^required option '(.+)' not specified$/, "option '$1' is required")
      .replace(/^(option '.+') argument missing$/, "$1 needs a value");
    throw new UsageError(`${sentence.charAt(0).toUpperCase()}${sentence.slice(1)}`, this.path);
  }
}
