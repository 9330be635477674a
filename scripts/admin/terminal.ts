/** Whether people are looking, asking them, and hearing their Ctrl-C. */
import { confirm, isCancel } from "@clack/prompts";
import process from "node:process";
import { styleText } from "node:util";
import { exitCodes, Interrupted, UsageError } from "./failures.ts";

const isColourful = Deno.stdout.isTerminal() && !Deno.noColor;

/** `text` in a style of its own, if standard output can show one. */
export function styled(style: "bold" | "cyan" | "dim", text: string): string {
  return isColourful ? styleText(style, text, { validateStream: false }) : text;
}

/**
 * Asks whether to go on, unless `isSure`. False is a no, which was told.
 *
 * @throws {UsageError} when there is nobody to ask.
 */
export async function confirmed(question: string, isSure: boolean | undefined): Promise<boolean> {
  if (isSure) return true;
  if (!Deno.stdin.isTerminal() || !Deno.stderr.isTerminal()) {
    throw new UsageError("There is no terminal to ask on: give --yes");
  }
  const answer = await confirm({ message: question, initialValue: false, output: process.stderr });
  if (isCancel(answer)) throw new Interrupted();
  if (!answer) console.error("Nothing was changed.");
  return answer;
}

/**
 * How soon after another a signal is the same Ctrl-C, in milliseconds: the terminal sends it to `deno task` and to us, and
 * `deno task` sends it on.
 */
const sameInterruptionMs = 1_000;

export interface Interruption extends Disposable {
  /** Aborted with {@link Interrupted} by the first Ctrl-C. The next one ends the process at once. */
  signal: AbortSignal;
}

/** Hears Ctrl-C in the place of the system, until it is disposed of. */
export function hearInterruption(): Interruption {
  const interruption = new AbortController();
  let heardAt: number | undefined;
  const hear = () => {
    if (heardAt !== undefined && performance.now() - heardAt > sameInterruptionMs) Deno.exit(exitCodes.interrupted);
    heardAt ??= performance.now();
    interruption.abort(new Interrupted());
  };
  Deno.addSignalListener("SIGINT", hear);
  return { signal: interruption.signal, [Symbol.dispose]: () => Deno.removeSignalListener("SIGINT", hear) };
}

/** Prints a line of many, and ends the process when nobody reads them any more, as behind `| head`. */
export function printLine(text: string): void {
  let rest = new TextEncoder().encode(`${text}\n`);
  try {
    while (rest.length > 0) rest = rest.subarray(Deno.stdout.writeSync(rest));
  } catch (failure) {
    if (failure instanceof Deno.errors.BrokenPipe) Deno.exit(0);
    throw failure;
  }
}
