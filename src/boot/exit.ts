/** Exit codes and error messages of the programs of this repository. */
import { ConfigError } from "../config.ts";
import { isUnavailable } from "../database/failures.ts";
import { describeFailure } from "../log.ts";

/** Runs `program` and exits with 0. On a failure it prints the failure on standard error and exits with 1. */
export async function exitAfter(program: () => Promise<void>): Promise<never> {
  try {
    await program();
  } catch (failure) {
    console.error(explain(failure));
    Deno.exit(1);
  }
  Deno.exit(0);
}

/** Returns one sentence for a failure that the operator can fix, and a stack for any other. */
function explain(failure: unknown): string {
  if (failure instanceof ConfigError) return failure.message;
  // Checked by name, because the production image does not contain the class.
  if (failure instanceof Error && failure.name === "EmbeddedPostgresError") return failure.message;
  if (failure instanceof Deno.errors.NotCapable) {
    return `Deno did not allow this: ${failure.message}. Start the program with its task, such as deno task start.`;
  }
  const cause = failure instanceof Error && failure.cause instanceof Error ? failure.cause : failure;
  if (isUnavailable(cause) && cause instanceof Error) return `The database cannot be reached: ${cause.message}`;
  return JSON.stringify(describeFailure(failure));
}
