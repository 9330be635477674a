/** The log: one JSON object per line. It never contains a token or a body. */
export const logLevels = ["debug", "info", "warn", "error"] as const;
export type LogLevel = typeof logLevels[number];

export type Log = Record<LogLevel, (message: string, fields?: Record<string, unknown>) => void>;

/** Characters of entries that wait at most. A server that writes faster than its output is read waits, as it does without a buffer. */
const bufferLimit = 65_536;

/** Milliseconds that an entry waits at most. */
const maxDelayMs = 10;

/** Collects lines, and writes them together. A write costs more than the rest of an entry. */
export class LineBuffer {
  private lines = "";
  private timer: ReturnType<typeof setTimeout> | undefined;

  /** `write` gets one or more lines, without the last line break. */
  constructor(private readonly write: (lines: string) => void) {}

  readonly add = (line: string): void => {
    this.lines += this.lines === "" ? line : `\n${line}`;
    if (this.lines.length >= bufferLimit) this.flush();
    else this.timer ??= setTimeout(this.flush, maxDelayMs);
  };

  /** Writes the lines that wait. Call it before the process ends. */
  readonly flush = (): void => {
    clearTimeout(this.timer);
    this.timer = undefined;
    if (this.lines === "") return;
    const { lines } = this;
    this.lines = "";
    this.write(lines);
  };
}

/** Returns the standard output of this process as a buffer, which is also written when the process ends. */
export function bufferedOutput(): LineBuffer {
  const output = new LineBuffer((lines) => console.log(lines));
  // `Deno.exit` sends "unload", an uncaught failure one of the others.
  for (const end of ["unload", "error", "unhandledrejection"]) addEventListener(end, output.flush);
  return output;
}

/** Returns a log of entries at level `least` and above. `write` gets each line without a line break. */
export function createLog(least: LogLevel, write: (line: string) => void): Log {
  const at = (level: LogLevel) => {
    if (logLevels.indexOf(level) < logLevels.indexOf(least)) return () => {};
    return (message: string, fields: Record<string, unknown> = {}) =>
      write(JSON.stringify({ time: new Date().toISOString(), level, message, ...fields }));
  };
  return { debug: at("debug"), info: at("info"), warn: at("warn"), error: at("error") };
}

/** Returns the name, message and stack of a failure and of its causes. */
export function describeFailure(failure: unknown): unknown {
  if (!(failure instanceof Error)) return String(failure);
  const { name, message, stack, cause } = failure;
  return { name, message, stack, ...(cause === undefined ? {} : { cause: describeFailure(cause) }) };
}
