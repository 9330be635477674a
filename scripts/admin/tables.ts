/** Tables and lists of fields that fit in a terminal of 80 columns. */
import Table from "cli-table3";
import columnsOf from "fast-string-width";
import { styled } from "./terminal.ts";
import { plain } from "./texts.ts";

const widest = 80;
const gap = "  ";
const noLines = {
  ...{ "top": "", "top-mid": "", "top-left": "", "top-right": "" },
  ...{ "bottom": "", "bottom-mid": "", "bottom-left": "", "bottom-right": "" },
  ...{ "left": "", "left-mid": "", "mid": "", "mid-mid": "", "right": "", "right-mid": "", "middle": gap },
};

export interface Column {
  head: string;
  /** Numbers are read from the right. */
  align?: "right";
  /** Whether it may be cut, with an ellipsis, when all together are too wide. */
  mayShrink?: true;
}

/** A text, or one for each line. */
export type Cell = string | string[];

export function table(columns: Column[], rows: Cell[][]): string {
  const texts = rows.map((row) => row.map((cell) => [cell].flat().map(plain).join("\n")));
  const widths = fittingWidths(columns, texts);
  const drawn = new Table({
    head: columns.map(({ head }) => styled("bold", head)),
    colWidths: widths,
    colAligns: columns.map(({ align }) => align ?? "left"),
    chars: noLines,
    style: { "padding-left": 0, "padding-right": 0, head: [], border: [] },
  });
  drawn.push(...texts);
  return drawn.toString().split("\n").map((line) => line.trimEnd()).join("\n");
}

/** As wide as what is in them; where that is too wide, the widest of those that may shrink give way first. */
function fittingWidths(columns: Column[], rows: string[][]): number[] {
  const widthOf = (text: string) => Math.max(...text.split("\n").map((line) => columnsOf(line)));
  const widths = columns.map(({ head }, index) =>
    Math.max(head.length, ...rows.map((row) => widthOf(row[index] ?? "")))
  );
  const room = widest - gap.length * (columns.length - 1);
  for (let excess = widths.reduce((a, b) => a + b, -room); excess > 0; excess--) {
    const shrinkable = widths.map((width, index) => columns[index]?.mayShrink ? width : 0);
    const widestOne = shrinkable.indexOf(Math.max(...shrinkable));
    widths[widestOne] = (widths[widestOne] ?? 0) - 1;
  }
  return widths;
}

/** A line for each field: its name, and what it is. */
export function fields(of: Record<string, string>): string {
  const longest = Math.max(...Object.keys(of).map((name) => name.length));
  return Object.entries(of)
    .map(([name, text]) => `${styled("dim", name.padEnd(longest))}${gap}${plain(text)}`.trimEnd()).join("\n");
}

/** For programs. */
export function printJson(value: unknown): void {
  console.log(JSON.stringify(value, null, 2));
}
