/** Bar charts of text. */
import { styled } from "./shell.ts";
import { type Column, table } from "./tables.ts";

/** In characters. Each can show eighths. */
const longestBar = 28;
const eighths = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];
const full = "█";

export interface Bar {
  name: string;
  length: number;
  /** The cells after the bar, one for each of the chart's `columns`. */
  figures: string[];
}

/** Draws bars relative to the longest one. */
export function chart(title: string, { columns, bars }: { columns: Column[]; bars: Bar[] }): string {
  const longest = Math.max(...bars.map(({ length }) => length));
  const rows = bars.map((
    { name, length, figures },
  ) => [name, longest === 0 ? "" : drawn(length / longest), ...figures]);
  const text = table([{ head: title, mayShrink: true }, { head: "" }, ...columns], rows);
  return text.replace(/[█▉▊▋▌▍▎▏]+/g, (bar) => styled("cyan", bar));
}

/** Draws a part of the longest bar. Every part above 0 is visible. */
function drawn(part: number): string {
  const steps = Math.ceil(part * longestBar * eighths.length);
  return full.repeat(Math.floor(steps / eighths.length)) + eighths[steps % eighths.length];
}
