/** Prints the output of `deno test`: failures, the slowest files, and Deno's own summary as the last line. */
import { createInterface } from "node:readline";
import { Readable } from "node:stream";
import type { ReadableStream as NodeReadableStream } from "node:stream/web";
import { stripVTControlCharacters } from "node:util";

/** Lines of progress in a run that prints failures only: one per this many tests. */
const progressStep = 100;
const slowestCount = 5;

export interface SummaryOptions {
  /** The file that `--junit-path` names. */
  report: string;
  /** Prints each test, not only failures. */
  isVerbose: boolean;
}

/** Seconds per test file, by the report; the slowest first. Empty without a report, as after an error of the options. */
async function readTimes(report: string): Promise<[path: string, seconds: number][]> {
  const xml = await Deno.readTextFile(report).catch(() => "");
  const times = new Map<string, number>();
  for (const [, path = "", seconds] of xml.matchAll(/<testcase [^>]*classname="\.\/(.+?)" time="([\d.]+)"/g)) {
    times.set(path, (times.get(path) ?? 0) + Number(seconds));
  }
  return [...times].toSorted(([, a], [, b]) => b - a);
}

export async function summarize(
  output: ReadableStream<Uint8Array<ArrayBuffer>>,
  { report, isVerbose }: SummaryOptions,
): Promise<void> {
  let summary: string | undefined;
  let passed = 0;
  for await (const line of createInterface({ input: Readable.fromWeb(output as NodeReadableStream) })) {
    const plain = stripVTControlCharacters(line);
    if (/^(ok|FAILED) \| /.test(plain)) {
      summary = line;
      continue;
    }
    const isPassed = /^\S+_test\.ts => .* \.\.\. ok \(/.test(plain);
    if (isPassed && !isVerbose) {
      passed++;
      if (passed % progressStep === 0) console.log(`${passed} tests and steps passed`);
      continue;
    }
    if (plain === "" && !isVerbose) continue;
    // A shard's name says nothing. A failure is listed again below with its file.
    console.log(/^\S+\/shard_\d+_test\.ts => /.test(plain) ? line.slice(line.indexOf(" =>") + " =>".length) : line);
  }
  if (!isVerbose) {
    const slowest = (await readTimes(report)).slice(0, slowestCount);
    console.log(`slowest: ${slowest.map(([path, seconds]) => `${path} ${seconds.toFixed(1)} s`).join(", ")}`);
  }
  if (summary !== undefined) console.log(summary);
}
