/** How the programs of this repository end. */
import { ConfigError } from "../config.ts";
import { isUnavailable } from "../database/failures.ts";
import { describeFailure } from "../log.ts";

/** Runs `program` and exits with 0, or says on standard error what went wrong and exits with 1. */
export async function exitAfter(program: () => Promise<void>): Promise<never> {
  try {
    await program();
  } catch (failure) {
    console.error(explain(failure));
    Deno.exit(1);
  }
  Deno.exit(0);
}

/** What whoever started us can mend is said in a sentence, anything else with its stack. */
function explain(failure: unknown): string {
  if (failure instanceof ConfigError) return failure.message;
  // By name: the embedded Postgres is not part of the production image.
  if (failure instanceof Error && failure.name === "EmbeddedPostgresError") return failure.message;
  if (failure instanceof Deno.errors.AddrInUse) return "The port is in use. Set another PORT.";
  const cause = failure instanceof Error && failure.cause instanceof Error ? failure.cause : failure;
  if (isUnavailable(cause) && cause instanceof Error) return `The database cannot be reached: ${cause.message}`;
  return JSON.stringify(describeFailure(failure));
}
