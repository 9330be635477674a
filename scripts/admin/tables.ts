/** Tables and lists of fields that fit in a terminal of 80 columns. */
import Table from "cli-table3";
import columnsOf from "fast-string-width";
import { styled } from "./shell.ts";
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
  /** For numbers. */
  align?: "right";
  /** Whether texts may be cut, with an ellipsis, in a table that is too wide. */
  mayShrink?: true;
}

/** A text, or a text for each line. */
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

/** The width of the widest text of each column. In a table that is too wide the widest shrinkable column shrinks first. */
function fittingWidths(columns: Column[], rows: string[][]): number[] {
  const widthOf = (text: string) => Math.max(...text.split("\n").map((line) => columnsOf(line)));
  const widths = columns.map(({ head }, index) =>
    Math.max(head.length, ...rows.map((row) => widthOf(row[index] ?? "")))
  );
  const room = widest - gap.length * (columns.length - 1);
  for (let excess = widths.reduce((a, b) => a + b, -room); excess > 0; excess--) {
    const shrinkable = widths.map((width, column) => columns[column]?.mayShrink ? width : 0);
    const index = shrinkable.indexOf(Math.max(...shrinkable));
    widths[index] = (widths[index] ?? 0) - 1;
  }
  return widths;
}

/** A line for each field, with its name and its text. */
export function fields(texts: Record<string, string>): string {
  const longest = Math.max(...Object.keys(texts).map((name) => name.length));
  return Object.entries(texts)
    .map(([name, text]) => `${styled("dim", name.padEnd(longest))}${gap}${plain(text)}`.trimEnd()).join("\n");
}
