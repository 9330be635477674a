/** The shell of the Deno process: its environment, terminal and signals. */
import { confirm, isCancel, progress } from "@clack/prompts";
import process from "node:process";
import { exitCodes, Interrupted } from "./failures.ts";
import type { Interruption, Progress, Shell } from "./shell.ts";

export const denoShell: Shell = {
  env: (name) => Deno.env.get(name),
  writeOut,
  writeError: (text) => write(Deno.stderr, text),
  hasColors: Deno.stdout.isTerminal() && !Deno.noColor,
  ask: Deno.stdin.isTerminal() && Deno.stderr.isTerminal() ? ask : undefined,
  drawProgress: Deno.stderr.isTerminal() ? drawProgress : undefined,
  listenForInterrupt,
};

function write(stream: typeof Deno.stdout | typeof Deno.stderr, text: string): void {
  let rest = new TextEncoder().encode(text);
  while (rest.length > 0) rest = rest.subarray(stream.writeSync(rest));
}

function writeOut(text: string): boolean {
  try {
    write(Deno.stdout, text);
    return true;
  } catch (failure) {
    if (failure instanceof Deno.errors.BrokenPipe) return false;
    throw failure;
  }
}

async function ask(question: string): Promise<boolean> {
  const answer = await confirm({ message: question, initialValue: false, output: process.stderr });
  if (isCancel(answer)) throw new Interrupted();
  return answer;
}

/**
 * Time in which a second signal belongs to the same Ctrl-C, in ms. The terminal sends it to us and to `deno task`, and
 * `deno task` forwards it.
 */
const sameInterruptionMs = 1_000;

/** A second Ctrl-C ends the process at once. */
function listenForInterrupt(): Interruption {
  const interruption = new AbortController();
  let firstAt: number | undefined;
  const interrupt = () => {
    if (firstAt !== undefined && performance.now() - firstAt > sameInterruptionMs) Deno.exit(exitCodes.interrupted);
    firstAt ??= performance.now();
    interruption.abort(new Interrupted());
  };
  Deno.addSignalListener("SIGINT", interrupt);
  return { signal: interruption.signal, [Symbol.dispose]: () => Deno.removeSignalListener("SIGINT", interrupt) };
}

function drawProgress(title: string, total: number): Progress {
  let done = 0;
  let hasEnded = false;
  const bar = progress({
    max: total,
    size: 30,
    output: process.stderr,
    // The bar also listens for Ctrl-C, and ends itself then.
    cancelMessage: "Interrupted",
    onCancel: () => hasEnded = true,
  });
  bar.start(title);
  // The bar reads keys in raw mode. There Ctrl-C would end the process with code 0.
  if (process.stdin.isTTY) process.stdin.setRawMode(false);
  process.stdin.pause();
  return {
    begin: (step) => bar.message(`${step} (${done + 1} of ${total})`),
    end(step) {
      done++;
      bar.advance(1, `${step} (${done} of ${total})`);
    },
    finish: (result) => bar.stop(`${title}: ${result}`),
    fail(reason) {
      if (!hasEnded) bar.error(reason);
    },
  };
}
