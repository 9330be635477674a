/** Requests with an `Idempotency-Key`, and their answers as they were sent, byte for byte. */
import assert from "node:assert/strict";
import { type Kysely, sql } from "kysely";
import { operations, Problem, type ProblemCode } from "../../generated/contract.ts";
import type { Database } from "../../src/database/connect.ts";
import { allRows, exampleCall, type Ids } from "../contract/example_calls.ts";
import { type ContractOperation, exampleOperations } from "../contract/document.ts";
import { type Call, type OperationId, send, type TestServer } from "../support/server.ts";

/** Operations that take an `Idempotency-Key`. */
export const keyedOperations: ContractOperation[] = exampleOperations.filter(({ operationId }) =>
  operations[operationId].takesIdempotencyKey
);

export interface Sent {
  status: number;
  text: string;
  headers: Headers;
  isReplay: boolean;
}

let keys = 0;
/** A key that no other request of this shard has. */
export const newKey = (): string => `key-${++keys}`;

/** Sends a request with a key. */
export async function sendWithKey(
  { url }: { url: string },
  id: OperationId,
  { headers, ...call }: Call,
  key: string,
): Promise<Sent> {
  const answer = await send(url, id, { ...call, headers: { ...headers, "Idempotency-Key": key } });
  const replayed = answer.headers.get("Idempotency-Replayed");
  assert(replayed === null || replayed === "true");
  return { ...answer, isReplay: replayed === "true" };
}

/** The example call of an operation on the example rows, with the token of a permitted caller. */
export async function exampleOf(server: TestServer, operation: ContractOperation, ids: Ids): Promise<Call> {
  const isAdmins = operations[operation.operationId].access === "admin";
  const token = isAdmins ? await server.token("admin", "admin") : await server.token("alice");
  return { ...exampleCall(operation, ids), token };
}

/** Fails unless the request succeeded and is no replay. */
export function assertDone(answer: Sent): void {
  assert(answer.status < 400 && !answer.isReplay, `${answer.status} ${answer.text}, replay: ${answer.isReplay}`);
}

/** Fails unless `second` is the stored `first`. */
export function assertReplayed(first: Sent, second: Sent): void {
  assert.deepEqual([second.status, second.text], [first.status, first.text]);
  assert(second.isReplay, `no replay: ${second.text}`);
  for (const name of ["Content-Type", "ETag", "Cache-Control"]) {
    assert.equal(second.headers.get(name), first.headers.get(name), name);
  }
}

/** The problem of an answer. Fails unless it has this code. */
export function assertRefused(answer: Sent, code: ProblemCode): Problem {
  assert(answer.status >= 400, `${answer.status} ${answer.text}`);
  const problem = Problem.parse(JSON.parse(answer.text));
  assert.equal(problem.code, code, answer.text);
  return problem;
}

/** Fails unless the answer is `idempotency_in_progress` with `Retry-After`. */
export function assertInProgress(answer: Sent): void {
  assertRefused(answer, "idempotency_in_progress");
  assert.equal(answer.status, 409);
  assert(!answer.isReplay);
  assert.match(answer.headers.get("Retry-After") ?? "", /^[1-9]\d*$/);
}

/** All rows of the database, and the jobs. */
export async function everything(db: Kysely<Database>): Promise<Record<string, unknown[]>> {
  const { rows: jobs } = await sql`select to_jsonb(j) from graphile_worker._private_jobs j order by id`.execute(db);
  return { ...await allRows(db), jobs };
}

/** All rows but the keys. */
export async function everythingElse(db: Kysely<Database>): Promise<Record<string, unknown[]>> {
  const { idempotency_keys: _keys, ...others } = await everything(db);
  return others;
}

/** Makes every key older. Keys expire by the machine's time, not by the domain's clock. */
export async function age(db: Kysely<Database>, interval: string): Promise<void> {
  await sql`
    update idempotency_keys
    set created_at = created_at - ${interval}::interval, pending_until = pending_until - ${interval}::interval
  `.execute(db);
}

/** The number of stored keys of these users, given by subject. */
export async function countKeys(db: Kysely<Database>, ...subjects: string[]): Promise<number> {
  const rows = await db.selectFrom("idempotency_keys").innerJoin("users", "users.id", "idempotency_keys.user_id")
    .select("key_hash").where("subject", "in", subjects).execute();
  return rows.length;
}
