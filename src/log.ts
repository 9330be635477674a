/** JSON lines on standard output, one event a line. Never a token, never a body. */
const levels = ["debug", "info", "warn", "error"] as const;
export type LogLevel = typeof levels[number];

export type Log = Record<LogLevel, (message: string, fields?: Record<string, unknown>) => void>;

/** A log that writes entries of `least` and above; `write` is given each line without its line end. */
export function createLog(least: LogLevel, write: (line: string) => void): Log {
  const at = (level: LogLevel) => (message: string, fields: Record<string, unknown> = {}) => {
    if (levels.indexOf(level) < levels.indexOf(least)) return;
    write(JSON.stringify({ time: new Date().toISOString(), level, message, ...fields }));
  };
  return { debug: at("debug"), info: at("info"), warn: at("warn"), error: at("error") };
}

/** What of a failure belongs in the log: name, message and stack, down its causes. */
export function describeFailure(failure: unknown): unknown {
  if (!(failure instanceof Error)) return String(failure);
  const { name, message, stack, cause } = failure;
  return { name, message, stack, ...(cause === undefined ? {} : { cause: describeFailure(cause) }) };
}
