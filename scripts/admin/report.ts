/** Prints failures on standard error, without stacks. */
import {
  ConnectionError,
  isProblem,
  type Problem,
  ProblemError,
  SubscriptionError,
  UnexpectedAnswerError,
} from "@slotkeeper/client";
import { EnvironmentError, exitCodes, Interrupted, SomeRefused, UsageError } from "./failures.ts";
import { printNote, type Shell } from "./shell.ts";
import { plain } from "./texts.ts";

interface Context {
  shell: Shell;
  /** The command that ran, for a hint at its help. */
  command: string;
  json: boolean;
}

/** Prints what went wrong. Returns the exit code. */
export function report(failure: unknown, { shell, command, json }: Context): number {
  if (failure instanceof Interrupted) return exitCodes.interrupted;
  if (failure instanceof SomeRefused) return exitCodes.refused;
  if (failure instanceof ProblemError) {
    reportProblem(failure, { shell, json });
    return exitCodes.refused;
  }
  if (failure instanceof SubscriptionError) {
    const { code, message: detail } = failure;
    printNote(shell, json ? JSON.stringify({ code, detail }) : `Refused: ${plain(detail)} (${code})`);
    return exitCodes.refused;
  }
  const address = `${shell.env("SLOTKEEPER_URL")?.replace(/\/+$/, "")} (SLOTKEEPER_URL)`;
  if (failure instanceof ConnectionError) {
    const advice = "Check this address, and that the server runs.";
    printNote(shell, `Cannot reach ${address}: ${plain(failure.reason)}. ${advice}`);
    return exitCodes.unreachable;
  }
  if (failure instanceof UnexpectedAnswerError) {
    printNote(shell, `No Slotkeeper at ${address}: another program answered with ${failure.status}.`);
    return exitCodes.unreachable;
  }
  const message = plain(failure instanceof Error ? failure.message : String(failure));
  if (failure instanceof EnvironmentError) {
    printNote(shell, message);
    return exitCodes.unreachable;
  }
  if (failure instanceof UsageError) {
    printNote(shell, `${message.replace(/\.$/, "")}. See ${failure.command ?? command} --help`);
    return exitCodes.usage;
  }
  printNote(shell, `Failed: ${message}`);
  return exitCodes.refused;
}

interface ProblemContext extends Pick<Context, "shell" | "json"> {
  /** The refused thing, if there are several. */
  about?: string;
}

/** Prints why the server refused a request. */
export function reportProblem(problem: Problem, { shell, json, about }: ProblemContext): void {
  if (json) return printNote(shell, JSON.stringify(problem));
  const lines = [
    `${about === undefined ? "Refused" : `${about} was refused`}: ${problem.title} (${problem.code})`,
    plain(problem.detail),
    ...(problem.errors ?? []).map(({ in: place, path, message }) => `  ${plain(path || place)}: ${plain(message)}`),
    ...advice(problem),
    `Request ${problem.requestId}`,
  ];
  printNote(shell, lines.join("\n"));
}

/** Advice about the token. The server does not know where it comes from. */
function advice(problem: Problem): string[] {
  if (problem.status === 401) {
    return ["SLOTKEEPER_TOKEN was refused: set it to a valid token with the role admin, or to an API key."];
  }
  if (isProblem(problem, "admin_required")) {
    return ["Set SLOTKEEPER_TOKEN to a token with the role admin, from: deno task token --subject olga --role admin"];
  }
  if (isProblem(problem, "scope_missing")) {
    return ["Set SLOTKEEPER_TOKEN to a key with that scope, or to a token with the role admin."];
  }
  return [];
}
