/** The log: one JSON object per line. It never contains a token or a body. */
const levels = ["debug", "info", "warn", "error"] as const;
export type LogLevel = typeof levels[number];

export type Log = Record<LogLevel, (message: string, fields?: Record<string, unknown>) => void>;

/** Returns a log of entries at level `least` and above. `write` gets each line without a line break. */
export function createLog(least: LogLevel, write: (line: string) => void): Log {
  const at = (level: LogLevel) => (message: string, fields: Record<string, unknown> = {}) => {
    if (levels.indexOf(level) < levels.indexOf(least)) return;
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
