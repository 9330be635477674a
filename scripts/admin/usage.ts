/** How a command is used, as `--help` prints it. */
import type { Command, Definition, Group } from "./command.ts";
import { styled } from "./terminal.ts";

/** Of a call. With its margins it fits in 80 columns. */
const longestLine = 76;

/** Of a command that leads to others. */
export function groupUsage(name: string, { summary, commands }: Group): string {
  return [
    `${summary}.`,
    section("Usage", [`${name} <command> [options]`]),
    section("Commands", columns(leaves(commands))),
    `${name} <command> --help tells about each one.`,
    section("Environment", [
      ...columns([
        ["SLOTKEEPER_URL", "where Slotkeeper is, such as http://127.0.0.1:8000"],
        ["SLOTKEEPER_TOKEN", "a token with the role admin, or an API key"],
      ]),
    ]),
  ].join("\n\n");
}

/** All commands below, by all words of their names. */
function leaves(commands: Group["commands"], words: string[] = []): [string, string][] {
  return Object.entries(commands).flatMap(([word, command]) =>
    "commands" in command
      ? leaves(command.commands, [...words, word])
      : [[[...words, word].join(" "), command.summary] satisfies [string, string]]
  );
}

export function usage(name: string, { summary, examples, definitions }: Command): string {
  const all = Object.entries(definitions);
  const places = all.filter(([, { type }]) => type === "positional");
  const options = all.filter(([, { type }]) => type !== "positional");
  const needed = options.filter(([, { required }]) => required);
  const call = [
    name,
    ...needed.map(option),
    ...(needed.length < options.length ? ["[options]"] : []),
    ...places.map(([name, { several }]) => `<${name}>${several ? "..." : ""}`),
  ];
  return [
    `${summary}.`,
    section("Usage", inLines(call.join(" "))),
    section("Options", columns(options.flatMap(describe))),
    section("Examples", examples.flatMap((example) => inLines(`${name} ${example}`.trimEnd()))),
  ].join("\n\n");
}

/** A call as a shell takes it, which goes on with an option in the next line where it would be too long. */
function inLines(call: string): string[] {
  const lines: string[] = [];
  for (const part of call.split(/ (?=--)/)) {
    const joined = lines.length === 0 ? part : `${lines.at(-1)} ${part}`;
    if (lines.length === 0 || joined.length <= longestLine) lines.splice(-1, 1, joined);
    else lines.push(`  ${part}`);
  }
  return lines.map((line, index) => index < lines.length - 1 ? `${line} \\` : line);
}

function option([name, { type, valueHint = "text", ...rest }]: [string, Definition]): string {
  const short = "alias" in rest ? `-${rest.alias}, ` : "";
  return `${short}--${name}${type === "boolean" ? "" : ` <${valueHint}>`}`;
}

function describe([name, definition]: [string, Definition]): [string, string][] {
  const { type, description = "" } = definition;
  const choices = type === "enum" ? `: ${definition.options?.join(", ")}` : "";
  const lines: [string, string][] = [[option([name, definition]), `${description}${choices}`]];
  if ("negativeDescription" in definition) lines.push([`--no-${name}`, definition.negativeDescription ?? ""]);
  return lines;
}

function section(title: string, lines: string[]): string {
  return [styled("bold", `${title}:`), ...lines.map((line) => `  ${line}`)].join("\n");
}

function columns(rows: [string, string][]): string[] {
  const widest = Math.max(...rows.map(([name]) => name.length));
  return rows.map(([name, text]) => `${name.padEnd(widest)}  ${text}`.trimEnd());
}
