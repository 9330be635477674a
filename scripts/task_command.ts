/** The command of a task in `deno.json`: variables, `deno` and its arguments. */
export interface TaskCommand {
  variables: Record<string, string>;
  args: string[];
}

/** Parses a command such as `NAME=value deno run main.ts`. Throws if it is not one command of Deno. */
export function parseTaskCommand(command: string): TaskCommand {
  const [, assignments = "", args] = /^((?:\w+=\S+ )*)deno ([^&|;]+)$/.exec(command) ?? [];
  if (args === undefined) throw new Error(`not one command of Deno: ${command}`);
  const variables = Object.fromEntries(
    assignments.split(" ").filter((each) => each !== "").map((each) => each.split("=")),
  );
  return { variables, args: args.split(" ") };
}
