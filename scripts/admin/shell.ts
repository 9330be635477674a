/** Everything that the program uses of its process, and how it prints. */
import { stripVTControlCharacters, styleText } from "node:util";
import { UsageError } from "./failures.ts";

/** The process around the program. Tests pass their own. */
export interface Shell {
  /** A variable of the environment. */
  env(name: string): string | undefined;
  /** Writes a text with its line breaks to standard output. Returns false after the reader closed it, as `head` does. */
  writeOut(text: string): boolean;
  /** Writes a text with its line breaks to standard error. */
  writeError(text: string): void;
  /** Whether standard output shows colors. */
  hasColors: boolean;
  /** Asks for a yes or no, and throws {@link Interrupted} at Ctrl-C. Undefined without a terminal. */
  ask: ((question: string) => Promise<boolean>) | undefined;
  /** Draws progress on a terminal. Undefined if standard error is not a terminal. */
  drawProgress: ((title: string, total: number) => Progress) | undefined;
  /** Takes Ctrl-C over from the system until it is disposed. */
  listenForInterrupt(): Interruption;
}

/** Progress of a long command. */
export interface Progress {
  begin(step: string): void;
  /** Counts one more step as done. */
  end(step: string): void;
  finish(result: string): void;
  fail(reason: string): void;
}

export interface Interruption extends Disposable {
  /** Aborted with {@link Interrupted} by the first Ctrl-C. */
  signal: AbortSignal;
}

/** Prints a result on standard output, without styles if there are no colors. Returns false after it was closed. */
export function print(shell: Shell, text: string): boolean {
  return shell.writeOut(`${shell.hasColors ? text : stripVTControlCharacters(text)}\n`);
}

/** Prints a remark or a failure on standard error. */
export function printNote(shell: Shell, text: string): void {
  shell.writeError(`${text}\n`);
}

/** Prints JSON for programs, indented or in a single line. Returns false after standard output was closed. */
export function printJson(shell: Shell, value: unknown, { indent = 2 }: { indent?: number } = {}): boolean {
  return shell.writeOut(`${JSON.stringify(value, null, indent)}\n`);
}

export function styled(style: "bold" | "cyan" | "dim", text: string): string {
  return styleText(style, text, { validateStream: false });
}

/**
 * Asks for confirmation unless `isSure`. False means no, and says so.
 *
 * @throws {UsageError} without a terminal.
 */
export async function confirmed(shell: Shell, question: string, { isSure }: { isSure: boolean }): Promise<boolean> {
  if (isSure) return true;
  if (shell.ask === undefined) throw new UsageError("There is no terminal to ask on: give --yes");
  const answer = await shell.ask(question);
  if (!answer) printNote(shell, "Nothing was changed.");
  return answer;
}
