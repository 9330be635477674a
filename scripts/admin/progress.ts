/** Progress of a long command, on standard error: a bar on a terminal, lines elsewhere. */
import { printNote, type Progress, type Shell } from "./shell.ts";

/** Starts the progress of `total` steps. */
export function showProgress(shell: Shell, title: string, total: number): Progress {
  if (shell.drawProgress !== undefined) return shell.drawProgress(title, total);
  let done = 0;
  return {
    begin: () => {},
    end: (step) => printNote(shell, `${step} (${++done} of ${total})`),
    finish: () => {},
    fail: (reason) => printNote(shell, `${reason}.`),
  };
}
