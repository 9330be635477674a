/** What can go wrong, as it is told, and the code that the process ends with. */
import { isProblem, type Problem, ProblemError, SubscriptionError, UnexpectedAnswerError } from "@slotkeeper/client";
import { stripVTControlCharacters } from "node:util";
import { plain } from "./texts.ts";

export const exitCodes = { refused: 1, usage: 2, unreachable: 3, interrupted: 130 } as const;

/** The arguments are not right. */
export class UsageError extends Error {
  override readonly name = "UsageError";
}

/** The server cannot be reached, or the environment does not say where it is and who calls. */
export class ConnectionError extends Error {
  override readonly name = "ConnectionError";
}

/** Ctrl-C. What there is to say was said. */
export class Interrupted extends Error {
  override readonly name = "Interrupted";
}

/** Some of several things were refused, each of which was told. */
export class SomeRefused extends Error {
  override readonly name = "SomeRefused";
}

/** Says on standard error what went wrong, never with a stack. Comes to the code to end with. */
export function report(failure: unknown, { command, json }: { command: string; json: boolean }): number {
  if (failure instanceof Interrupted) return exitCodes.interrupted;
  if (failure instanceof SomeRefused) return exitCodes.refused;
  if (failure instanceof ProblemError) {
    reportProblem(failure, { json });
    return exitCodes.refused;
  }
  if (failure instanceof SubscriptionError) {
    const { code, message: detail } = failure;
    console.error(json ? JSON.stringify({ code, detail }) : `Refused: ${plain(detail)} (${code})`);
    return exitCodes.refused;
  }
  if (failure instanceof UnexpectedAnswerError) {
    const what = `what answers there with ${failure.status} is something else`;
    console.error(`No Slotkeeper at ${Deno.env.get("SLOTKEEPER_URL")} (SLOTKEEPER_URL): ${what}.`);
    return exitCodes.unreachable;
  }
  const message = failure instanceof Error ? failure.message : String(failure);
  if (failure instanceof ConnectionError) {
    console.error(message);
    return exitCodes.unreachable;
  }
  // citty does not export its class.
  if (failure instanceof UsageError || failure instanceof Error && failure.name === "CLIError") {
    console.error(`${stripVTControlCharacters(message).replace(/\.$/, "")}. See ${command} --help`);
    return exitCodes.usage;
  }
  console.error(`It failed: ${plain(message)}`);
  return exitCodes.refused;
}

/** Says why the server refused something. `about` names it, where there are several. */
export function reportProblem(problem: Problem, { json, about }: { json: boolean; about?: string }): void {
  if (json) return console.error(JSON.stringify(problem));
  const lines = [
    `${about === undefined ? "Refused" : `${about} was refused`}: ${problem.title} (${problem.code})`,
    plain(problem.detail),
    ...(problem.errors ?? []).map(({ in: place, path, message }) => `  ${plain(path || place)}: ${plain(message)}`),
    ...advice(problem),
    `Request ${problem.requestId}`,
  ];
  console.error(lines.join("\n"));
}

/** What to do about it where that is not for the server to know. */
function advice(problem: Problem): string[] {
  if (problem.status === 401) {
    return ["SLOTKEEPER_TOKEN was refused: set it to a valid token with the role admin, or to an API key."];
  }
  if (isProblem(problem, "admin_required")) {
    return ["Set SLOTKEEPER_TOKEN to a token with the role admin, as of: deno task token --subject olga --role admin"];
  }
  if (isProblem(problem, "scope_missing")) {
    return ["Set SLOTKEEPER_TOKEN to a key with that scope, or to a token with the role admin."];
  }
  return [];
}
