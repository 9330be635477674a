/** Bar charts of text. */
import { type Column, table } from "./tables.ts";
import { styled } from "./terminal.ts";

/** In characters, each of which can show eighths. */
const longestBar = 28;
const eighths = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];
const full = "█";

export interface Bar {
  name: string;
  length: number;
  /** What stands behind it, as the chart's `columns` say. */
  figures: string[];
}

/** A bar of its own for each, drawn to the scale of the longest. */
export function chart(title: string, { columns, bars }: { columns: Column[]; bars: Bar[] }): string {
  const longest = Math.max(...bars.map(({ length }) => length));
  const rows = bars.map((
    { name, length, figures },
  ) => [name, longest === 0 ? "" : drawn(length / longest), ...figures]);
  const text = table([{ head: title, mayShrink: true }, { head: "" }, ...columns], rows);
  return text.replace(/[█▉▊▋▌▍▎▏]+/g, (bar) => styled("cyan", bar));
}

/** A part of the longest bar. What is not nothing can be seen. */
function drawn(part: number): string {
  const steps = Math.ceil(part * longestBar * eighths.length);
  return full.repeat(Math.floor(steps / eighths.length)) + eighths[steps % eighths.length];
}
