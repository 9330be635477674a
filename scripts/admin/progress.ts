/** How far something is, on standard error: a bar on a terminal, lines elsewhere. */
import { progress } from "@clack/prompts";
import process from "node:process";

export interface Progress {
  /** What is being done now. */
  begin(what: string): void;
  /** One more is done. */
  end(what: string): void;
  /** All is done. */
  finish(what: string): void;
  /** It ends here. */
  fail(why: string): void;
}

/** Of `total` steps. */
export function showProgress(title: string, total: number): Progress {
  return Deno.stderr.isTerminal() ? bar(title, total) : lines(total);
}

function lines(total: number): Progress {
  let done = 0;
  return {
    begin: () => {},
    end: (what) => console.error(`${what} (${++done} of ${total})`),
    finish: () => {},
    fail: (why) => console.error(`${why}.`),
  };
}

function bar(title: string, total: number): Progress {
  let done = 0;
  let hasEnded = false;
  const drawn = progress({
    max: total,
    size: 30,
    output: process.stderr,
    // It hears a Ctrl-C as well, and ends by itself then.
    cancelMessage: "Interrupted",
    onCancel: () => hasEnded = true,
  });
  drawn.start(title);
  // It has set the terminal so that it is told of keys, of which it would take Ctrl-C to end the process with success.
  if (process.stdin.isTTY) process.stdin.setRawMode(false);
  process.stdin.pause();
  return {
    begin: (what) => drawn.message(`${what} (${done + 1} of ${total})`),
    end(what) {
      done++;
      drawn.advance(1, `${what} (${done} of ${total})`);
    },
    finish: (what) => drawn.stop(`${title}: ${what}`),
    fail(why) {
      if (!hasEnded) drawn.error(why);
    },
  };
}
