/** The command lines of programs that take their settings from the environment. */
import { version } from "../version.ts";

/** Prints `usage` or the version and ends the process, if the command line asks for one of them. */
export function answerHelp(usage: string): void {
  const asks = (...names: string[]) => Deno.args.some((argument) => names.includes(argument));
  if (asks("--help", "-h")) console.log(usage);
  else if (asks("--version", "-V")) console.log(version);
  else return;
  Deno.exit(0);
}

/** Prints `why` and `usage` on standard error, and ends the process with 2. */
export function refuseArguments(why: string, usage: string): never {
  console.error(`${why}\n${usage}`);
  Deno.exit(2);
}

/** Ends the process if there are arguments. Nothing is started with an option that would have no effect. */
export function assertNoArguments(usage: string): void {
  answerHelp(usage);
  const [argument] = Deno.args.filter((each) => each !== "--");
  if (argument !== undefined) refuseArguments(`Unknown argument '${argument}'. Nothing was started.`, usage);
}
