/**
 * Executes one operation. Usually the statements of its handler stand alone. The handler runs in one transaction in two
 * cases. Its change is written with an audit entry or the answer to an Idempotency-Key, or `If-Match` needs a fixed
 * state. A `KeyedChange` needs no transaction if its statement does the change. See the guide on decisions.
 */
import type { Kysely } from "kysely";
import type { ProblemCode } from "../../generated/contract.ts";
import { answerSerializers } from "../../generated/serializers.ts";
import { insertAuditEntry } from "../audit/queries.ts";
import type { Caller } from "../contract/caller.ts";
import type { Audit, Handlers, KeyedChanges, KeyedScope, Operation, Scope, Unfinished } from "../contract/handlers.ts";
import { problemText } from "../contract/problem_document.ts";
import { catalogue, Problem } from "../contract/problems.ts";
import type { Database } from "../database/connect.ts";
import { idempotencyKey } from "../database/constraints.ts";
import { isConflict, violates } from "../database/failures.ts";
import { inTransaction, retryConflicts, runTransaction } from "../database/transactions.ts";
import {
  claimKey,
  finishLimit,
  type KeyedRequest,
  newKey,
  type SerializedAnswer,
  storeAnswer,
  type Stored,
  storeFinalAnswer,
} from "../idempotency/answers.ts";
import { describeFailure, type Log } from "../log.ts";
import type { Serialize } from "../serializing.ts";
import type { Clock } from "../time/clock.ts";

export interface ExecutionRules {
  db: Kysely<Database>;
  clock: Clock;
  log: Log;
  announce: () => void;
  handlers: Handlers;
  keyedChanges: KeyedChanges;
}

export interface Execution {
  operation: Operation;
  /** The `Input` of the operation's handler. */
  input: unknown;
  caller: Caller | undefined;
  requestId: string;
  keyed: KeyedRequest | undefined;
  ifMatch: string | undefined;
}

/** The answer, and whether it is the stored one of an earlier request. A WebSocket is its own answer. */
export type Executed = (SerializedAnswer & { isReplay: boolean }) | Response;

interface Answer {
  status: number;
  body: unknown;
}

type HandlerResult = Answer | Unfinished<Answer>;

/** @throws {Problem} The one of the handler, `idempotency_in_progress` or `idempotency_key_reused`. */
export function createExecutor(rules: ExecutionRules): (execution: Execution) => Promise<Executed> {
  const { db, announce, handlers } = rules;
  const audit = () => Promise.reject(new Error("an audited change needs a transaction"));

  return async (execution) => {
    const { operation, keyed, ifMatch } = execution;
    if (isAudited(operation) || keyed !== undefined || ifMatch !== undefined) {
      return await executeInOneStatement(rules, execution) ?? await executeInTransaction(rules, execution);
    }
    const result = await handle(handlers, execution, { db, announce, audit });
    const { status, body } = "finish" in result ? await result.finish(db) : result;
    if (operation.upgrades && body instanceof Response) return body;
    return { status, text: serialize(operation, { status, body }).text, isReplay: false };
  };
}

/** Executes a request with a key as one statement, if it can. Otherwise it changes nothing and returns undefined. */
async function executeInOneStatement(
  { db, announce, keyedChanges }: ExecutionRules,
  { operation, keyed, ifMatch, input }: Execution,
): Promise<Executed | undefined> {
  const change = keyedChangeOf(keyedChanges, operation);
  if (change === undefined || keyed === undefined || ifMatch !== undefined) return undefined;
  const result = await change.attempt(input, { db, key: newKey(keyed) }).catch((failure: unknown) => {
    // Another request with the key has just committed.
    if (isConflict(failure) || violates(failure, idempotencyKey)) return undefined;
    throw failure;
  });
  if (result === undefined) return undefined;
  announce();
  return { ...serialize(operation, change.answer(result)), isReplay: false };
}

/** Like `handle`, it uses the general type. */
function keyedChangeOf(changes: KeyedChanges, { id }: Operation) {
  return changes[id] as
    | { attempt(input: unknown, scope: KeyedScope): Promise<object | undefined>; answer(result: object): Answer }
    | undefined;
}

/** Returns the answer that a request has left under its key. */
function storedAnswer(changes: KeyedChanges, operation: Operation, stored: Stored): SerializedAnswer {
  if ("answer" in stored) return stored.answer;
  const change = keyedChangeOf(changes, operation);
  if (change === undefined) throw new Error(`${operation.id} cannot have stored a result`);
  return serialize(operation, change.answer(stored.result));
}

/** Whether an operation is a change by an admin. */
function isAudited({ access, route }: Operation): boolean {
  return access === "admin" && route.method !== "get";
}

/** The result of a transaction. */
interface Outcome {
  answer: SerializedAnswer | undefined;
  isReplay: boolean;
  finish?: Unfinished<Answer>["finish"];
  /** The key waits for the answer of `finish` until then. */
  pendingUntil: Date | null;
  /** The end of a statement that is sent with the commit. */
  stored?: Promise<void>;
}

async function executeInTransaction(rules: ExecutionRules, execution: Execution): Promise<Executed> {
  const { db, clock, announce, handlers, keyedChanges } = rules;
  const { operation, keyed } = execution;
  let isChanged = false;
  let refusal: Problem | undefined;

  // A lock for If-Match would come before those of the change, and so contradict the order of the feed. Instead the
  // transaction runs again after a change in between.
  const isolation = execution.ifMatch !== undefined && operation.access === "user"
    ? "repeatable read"
    : "read committed";

  const attempt = async (): Promise<Outcome> => {
    const outcome = await runTransaction(db, isolation, async (trx): Promise<Outcome> => {
      isChanged = false;
      const replayed = keyed && await claimKey(trx, keyed);
      if (replayed !== undefined) {
        return { answer: storedAnswer(keyedChanges, operation, replayed), isReplay: true, pendingUntil: null };
      }
      const scope = { db: trx, announce: () => isChanged = true, audit: auditIn(trx, { clock, execution }) };
      const result = await handle(handlers, execution, scope).catch((failure: unknown) => {
        if (keyed !== undefined && isRefusal(operation, failure)) refusal = failure;
        throw failure;
      });
      const { answer, finish } = "finish" in result
        ? { answer: result.soFar && serialize(operation, result.soFar), finish: result.finish }
        : { answer: serialize(operation, result), finish: undefined };
      const pendingUntil = keyed === undefined || finish === undefined ? null : finishLimit();
      // Not awaited here, so that the commit is sent with it. If it fails, Postgres rolls back instead.
      const stored = keyed && storeAnswer(trx, keyed, { answer, pendingUntil });
      stored?.catch(() => {});
      return {
        answer,
        isReplay: false,
        pendingUntil,
        ...(stored === undefined ? {} : { stored }),
        ...(finish === undefined ? {} : { finish }),
      };
    });
    await outcome.stored;
    return outcome;
  };

  const outcome = await retryConflicts(db, attempt).catch((failure: unknown) => {
    if (keyed === undefined || refusal === undefined || failure !== refusal) throw failure;
    isChanged = false;
    return refuse(rules, { execution, keyed, refusal });
  });
  if (isChanged) announce();
  const { answer, isReplay, finish, pendingUntil } = outcome;
  if (finish !== undefined) {
    return await finishOutside(rules, execution, { finish, pendingUntil, mayRepeat: answer === undefined });
  }
  if (answer === undefined) throw new Error(`${operation.id} returned no answer`);
  return { ...answer, isReplay };
}

/**
 * Stores a refusal after its transaction was rolled back, and throws it. If the same request was sent again and answered in
 * between, that answer counts.
 */
async function refuse(
  { db, keyedChanges }: ExecutionRules,
  { execution: { operation, requestId }, keyed, refusal }: {
    execution: Execution;
    keyed: KeyedRequest;
    refusal: Problem;
  },
): Promise<Outcome> {
  const answer = serializeRefusal(refusal, requestId);
  const replayed = await inTransaction(db, async (trx) => {
    const stored = await claimKey(trx, keyed);
    if (stored === undefined) await storeAnswer(trx, keyed, { answer, pendingUntil: null });
    return stored;
  }).catch((failure: unknown) => {
    // The same key is used again already. This request was refused before that.
    throw failure instanceof Problem ? refusal : failure;
  });
  if (replayed === undefined) throw refusal;
  return { answer: storedAnswer(keyedChanges, operation, replayed), isReplay: true, pendingUntil: null };
}

function auditIn(
  trx: Kysely<Database>,
  { clock, execution: { operation, caller, requestId } }: { clock: Clock; execution: Execution },
): Audit {
  return async ({ resource, resourceId, before, after }) => {
    if (caller === undefined) throw new Error("audit entry without a caller");
    await insertAuditEntry(trx, {
      occurred_at: clock.now(),
      user_id: caller.userId,
      operation: operation.id,
      resource,
      resource_id: resourceId,
      // TypeScript does not see that every object is a record.
      before: before as Record<string, unknown> | null,
      after: after as Record<string, unknown> | null,
      request_id: requestId,
    });
  };
}

/** Does the rest of the work after the commit. If it fails, the answer so far remains, if there is one. */
async function finishOutside(
  { db, log }: ExecutionRules,
  { operation, requestId, keyed }: Execution,
  { finish, pendingUntil, mayRepeat }: {
    finish: Unfinished<Answer>["finish"];
    pendingUntil: Date | null;
    mayRepeat: boolean;
  },
): Promise<Executed> {
  try {
    const answer = serialize(operation, await finish(db));
    if (keyed !== undefined && pendingUntil !== null) await storeFinalAnswer(db, keyed, { answer, pendingUntil });
    return { ...answer, isReplay: false };
  } catch (failure) {
    const refusal = isRefusal(operation, failure) ? serializeRefusal(failure, requestId) : undefined;
    // If this fails too, the key is free again after `pendingUntil`.
    if (keyed !== undefined && pendingUntil !== null && mayRepeat) {
      await storeFinalAnswer(db, keyed, { answer: refusal, pendingUntil }).catch((failure: unknown) =>
        log.warn("answer to an Idempotency-Key not stored", { requestId, failure: describeFailure(failure) })
      );
    }
    throw failure;
  }
}

function handle(handlers: Handlers, { operation, input }: Execution, scope: Scope): Promise<HandlerResult> {
  // The types of one operation do not fit the others, so this uses the general type. `Handlers` has checked each
  // handler against its operation, and `serialize` validates the answer.
  return (handlers[operation.id] as (input: unknown, scope: Scope) => Promise<HandlerResult>)(input, scope);
}

/** Validates an answer against the schema of its status, and serializes it. */
function serialize(operation: Operation, { status, body }: Answer): SerializedAnswer {
  const serializers: Record<number, Serialize | undefined> = answerSerializers[operation.id];
  const serializeBody = serializers[status];
  if (serializeBody === undefined) {
    throw new Error(`${operation.id} answered ${status}, which the contract does not declare`);
  }
  try {
    return { status, text: serializeBody(body) };
  } catch (failure) {
    throw new Error(`${operation.id} returned an answer that breaks its contract`, { cause: failure });
  }
}

/**
 * Whether a failure is a declared refusal below 500, which a repeated request gets again. `validation_failed` is not
 * stored: a repetition is validated anew.
 */
function isRefusal({ problems }: Operation, failure: unknown): failure is Problem {
  const declared: readonly ProblemCode[] = problems;
  return failure instanceof Problem && failure.code !== "validation_failed" && declared.includes(failure.code) &&
    catalogue[failure.code].status < 500;
}

function serializeRefusal(refusal: Problem, requestId: string): SerializedAnswer {
  return { status: catalogue[refusal.code].status, text: problemText(refusal, requestId) };
}
