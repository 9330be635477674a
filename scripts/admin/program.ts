/** From arguments to the exit code of the process. */
import { type Command, CommanderError } from "commander";
import { version } from "../../src/version.ts";
import { bookings } from "./bookings.ts";
import { AdminCommand } from "./command.ts";
import { events } from "./events.ts";
import { UsageError } from "./failures.ts";
import { keys } from "./keys.ts";
import { refunds } from "./refunds.ts";
import { report } from "./report.ts";
import { rooms } from "./rooms.ts";
import { type Shell, styled } from "./shell.ts";
import { stats } from "./stats.ts";
import { timeslots } from "./timeslots.ts";

const environment = `
${styled("bold", "Environment:")}
  SLOTKEEPER_URL    address of Slotkeeper, such as http://127.0.0.1:8000
  SLOTKEEPER_TOKEN  token with the role admin, or an API key`;

/** Runs the command of `args`. Returns the exit code; see `exitCodes`. Failures are printed on standard error. */
export async function runProgram(args: readonly string[], shell: Shell): Promise<number> {
  const program = new AdminCommand("deno task admin", args);
  let command = program.path;
  const enter = (_: Command, next: Command) => {
    if (next instanceof AdminCommand) command = next.path;
  };
  program
    .description("Manage rooms, timeslots and bookings of a Slotkeeper")
    .version(version, "-V, --version", "Print the version")
    .exitOverride()
    .configureOutput({
      writeOut: (text) => shell.writeOut(text),
      writeErr: (text) => shell.writeError(text),
      getOutHelpWidth: () => 80,
      getErrHelpWidth: () => 80,
      getOutHasColors: () => shell.hasColors,
      getErrHasColors: () => false,
    })
    .addHelpText("afterAll", environment)
    .configureHelp({ styleTitle: (title) => styled("bold", title) })
    .hook("preSubcommand", enter)
    .hook("preAction", enter);
  for (const addCommands of [rooms, timeslots, bookings, refunds, stats, events, keys]) addCommands(program, shell);
  try {
    await program.parseAsync(args, { from: "user" });
    return 0;
  } catch (failure) {
    if (failure instanceof CommanderError && failure.exitCode === 0) return 0;
    const cause = failure instanceof CommanderError ? new UsageError("No command was given") : failure;
    return report(cause, { shell, command, json: args.includes("--json") });
  }
}
