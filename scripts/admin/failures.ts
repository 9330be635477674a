/** Failures of the program, and the exit code for each. */

export const exitCodes = { refused: 1, usage: 2, unreachable: 3, interrupted: 130 } as const;

/** Wrong arguments. */
export class UsageError extends Error {
  override readonly name = "UsageError";
  /** The command with the wrong arguments. Undefined for the one that runs. */
  readonly command: string | undefined;

  constructor(message: string, command?: string) {
    super(message);
    this.command = command;
  }
}

/** The environment has no valid address or token. */
export class EnvironmentError extends Error {
  override readonly name = "EnvironmentError";
}

/** Ctrl-C. Everything is printed already. */
export class Interrupted extends Error {
  override readonly name = "Interrupted";
}

/** The server refused some of several changes. Each refusal is printed already. */
export class SomeRefused extends Error {
  override readonly name = "SomeRefused";
}
