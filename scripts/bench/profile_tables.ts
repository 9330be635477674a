/** Sums of a CPU profile, by function and by package or folder. */
import type { SourceMap } from "node:module";
import { table } from "./tables.ts";

/** The result of `Profiler.stop` in the Chrome DevTools Protocol. Lines and columns count from 0. */
export interface CpuProfile {
  nodes: { id: number; callFrame: CallFrame }[];
  samples: number[];
  /** Microseconds before each sample. */
  timeDeltas: number[];
}

interface CallFrame {
  functionName: string;
  url: string;
  lineNumber: number;
  columnNumber: number;
}

export interface ProfileSums {
  /** Microseconds, without idle time. */
  total: number;
  frames: Map<string, number>;
  folders: Map<string, number>;
}

const shownFrames = 40;
const idle = "(idle)";

/** Changes the lines of the profile to those of the source. */
export function restoreLines({ nodes }: CpuProfile, maps: Map<string, SourceMap>): void {
  for (const { callFrame } of nodes) {
    const { url, lineNumber, columnNumber } = callFrame;
    const entry = maps.get(url)?.findEntry(lineNumber, columnNumber);
    if (entry === undefined || !("originalLine" in entry)) continue;
    callFrame.lineNumber = entry.originalLine;
    callFrame.columnNumber = entry.originalColumn;
  }
}

export function sumProfile({ nodes, samples, timeDeltas }: CpuProfile): ProfileSums {
  const frames = new Map(nodes.map(({ id, callFrame }) => [id, callFrame]));
  const sums: ProfileSums = { total: 0, frames: new Map(), folders: new Map() };
  const add = (sum: Map<string, number>, key: string, time: number) => sum.set(key, (sum.get(key) ?? 0) + time);
  for (const [index, id] of samples.entries()) {
    const frame = frames.get(id);
    // The clock of the sampler may step back.
    const time = Math.max(0, timeDeltas[index] ?? 0);
    if (frame === undefined || frame.functionName === idle) continue;
    sums.total += time;
    const { file, folder } = placeOf(frame.url);
    add(sums.frames, `${frame.functionName || "(anonymous)"} ${file && `${file}:${frame.lineNumber + 1}`}`, time);
    // Names of V8 in brackets, such as the garbage collector, stay.
    add(sums.folders, folder || (frame.functionName.startsWith("(") ? frame.functionName : "native functions"), time);
  }
  return sums;
}

const root = new URL("../../", import.meta.url).href;

/** The file of a frame, and its package or folder. Both are empty without a file. */
function placeOf(url: string): { file: string; folder: string } {
  const inPackage = /\/node_modules\/\.deno\/[^/]+\/node_modules\/((?:@[^/]+\/)?[^/]+)\/(.+)$/.exec(url);
  if (inPackage !== null) return { file: `${inPackage[1]}/${inPackage[2]}`, folder: `npm ${inPackage[1]}` };
  if (url.startsWith(root)) {
    const file = url.slice(root.length);
    return { file, folder: file.split("/").slice(0, file.startsWith("src/") ? 2 : 1).join("/") };
  }
  return { file: url, folder: url.split("/")[0] ?? "" };
}

export function foldersTable(sums: ProfileSums, requests: number): string {
  return sumsTable("package or folder", sums.folders, { total: sums.total, requests });
}

export function framesTable(sums: ProfileSums, requests: number): string {
  return sumsTable("function", sums.frames, { total: sums.total, requests });
}

function sumsTable(
  head: string,
  sums: Map<string, number>,
  { total, requests }: { total: number; requests: number },
): string {
  const rows = [...sums].sort(([, a], [, b]) => b - a).slice(0, shownFrames);
  const widest = Math.max(...rows.map(([name]) => name.length), head.length);
  return table([
    ["self ms", "share", "µs a request", head.padEnd(widest)],
    ...rows.map(([name, time]) => [
      (time / 1_000).toFixed(1),
      `${(time / total * 100).toFixed(1)} %`,
      (time / requests).toFixed(1),
      name.padEnd(widest),
    ]),
  ]);
}
