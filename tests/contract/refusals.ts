/** What every refusal has in common: it says why, and nothing has happened. */
import assert from "node:assert/strict";
import { Problem, type ProblemCode } from "../../generated/contract.ts";
import type { TestServer } from "../support/server.ts";
import { allRows } from "./example_calls.ts";

export interface Refusal {
  status: number;
  headers: Headers;
  /** As text, or as the JSON that it was. */
  body: unknown;
}

/** Fails unless this is a 401 with the code, and with the header that RFC 6750 asks for. */
export function assertUnauthorized({ status, headers, body }: Refusal, code: ProblemCode, what: string): void {
  assert.equal(status, 401, `${what} is answered ${status}: ${JSON.stringify(body)}`);
  assert.equal(Problem.parse(typeof body === "string" ? JSON.parse(body) : body).code, code, what);
  const challenge = code === "token_missing" ? "Bearer" : 'Bearer error="invalid_token"';
  assert.equal(headers.get("WWW-Authenticate"), challenge, what);
}

/** Runs `check`, after which the tables must be as they were, but for the time at which a key was used last. */
export async function assertNothingChanges(server: TestServer, check: () => Promise<void>): Promise<void> {
  const rows = async (): Promise<unknown> =>
    JSON.parse(JSON.stringify(await allRows(server.db), (name, value) => name === "last_used_at" ? null : value));
  const before = await rows();
  await check();
  assert.deepEqual(await rows(), before);
}

/** Waits for all of `checks`, so that none of them still runs, and fails with all that failed. */
export async function assertAll(checks: Promise<unknown>[]): Promise<void> {
  const outcomes = await Promise.allSettled(checks);
  const failures = outcomes.flatMap((outcome) =>
    outcome.status === "rejected" ? [String(outcome.reason).split("\n")[0]] : []
  );
  assert.deepEqual(failures, []);
}
