/** The command line for admins, built on the SDK alone: `deno task admin --help`. */
import { denoShell } from "./admin/deno_shell.ts";
import { runProgram } from "./admin/program.ts";

// Open listeners and timers would keep the process alive.
Deno.exit(await runProgram(Deno.args, denoShell));
