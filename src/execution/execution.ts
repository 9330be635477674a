/**
 * Executes one operation. Usually the statements of its handler stand alone. The handler runs in one transaction in two
 * cases. Its change is written with an audit entry or the answer to an Idempotency-Key, or `If-Match` needs a fixed
 * state. See the guide on decisions.
 */
import type { Kysely } from "kysely";
import type { ProblemCode } from "../../generated/contract.ts";
import { answerSerializers } from "../../generated/serializers.ts";
import { insertAuditEntry } from "../audit/queries.ts";
import type { Caller } from "../contract/caller.ts";
import type { Audit, Handlers, Operation, Scope, Unfinished } from "../contract/handlers.ts";
import { problemText } from "../contract/problem_document.ts";
import { catalogue, Problem } from "../contract/problems.ts";
import type { Database } from "../database/connect.ts";
import { retryConflicts } from "../database/transactions.ts";
import { describeFailure, type Log } from "../log.ts";
import type { Serialize } from "../serializing.ts";
import type { Clock } from "../time/clock.ts";
import {
  claimKey,
  type KeyedRequest,
  type SerializedAnswer,
  storeAnswer,
  storeFinalAnswer,
  undoAttempt,
} from "./idempotency.ts";

export interface ExecutionRules {
  db: Kysely<Database>;
  clock: Clock;
  log: Log;
  announce: () => void;
  handlers: Handlers;
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
      return await executeInTransaction(rules, execution);
    }
    const result = await handle(handlers, execution, { db, announce, audit });
    const { status, body } = "finish" in result ? await result.finish(db) : result;
    if (operation.upgrades && body instanceof Response) return body;
    return { ...serialize(operation, { status, body }), isReplay: false };
  };
}

/** Whether an operation is a change by an admin. */
function isAudited({ access, route }: Operation): boolean {
  return access === "admin" && route.method !== "get";
}

interface Outcome {
  answer: SerializedAnswer | undefined;
  isReplay: boolean;
  finish?: Unfinished<Answer>["finish"];
  /** The key waits for the answer of `finish` until then. */
  pendingUntil?: Date | null;
  refusal?: Problem;
}

async function executeInTransaction(rules: ExecutionRules, execution: Execution): Promise<Executed> {
  const { db, clock, announce, handlers } = rules;
  const { operation, requestId, keyed } = execution;
  let isChanged = false;

  // A lock for If-Match would come before those of the change, and so contradict the order of the feed. Instead the
  // transaction runs again after a change in between.
  const isolation = execution.ifMatch !== undefined && operation.access === "user"
    ? "repeatable read"
    : "read committed";

  const attempt = (): Promise<Outcome> =>
    db.transaction().setIsolationLevel(isolation).execute(async (trx) => {
      isChanged = false;
      const stored = keyed && await claimKey(trx, keyed);
      if (stored !== undefined) return { answer: stored, isReplay: true };
      const scope = { db: trx, announce: () => isChanged = true, audit: auditIn(trx, { clock, execution }) };
      try {
        const result = await handle(handlers, execution, scope);
        const outcome = "finish" in result
          ? { answer: result.soFar && serialize(operation, result.soFar), finish: result.finish }
          : { answer: serialize(operation, result) };
        const isFinal = outcome.finish === undefined;
        const pendingUntil = keyed === undefined
          ? null
          : await storeAnswer(trx, keyed, { answer: outcome.answer, isFinal });
        return { ...outcome, pendingUntil, isReplay: false };
      } catch (failure) {
        if (keyed === undefined || !isRefusal(operation, failure)) throw failure;
        await undoAttempt(trx);
        isChanged = false;
        const answer = serializeRefusal(failure, requestId);
        await storeAnswer(trx, keyed, { answer, isFinal: true });
        return { answer, isReplay: false, refusal: failure };
      }
    });

  const outcome = await retryConflicts(db, attempt);
  if (isChanged) announce();
  if (outcome.refusal !== undefined) throw outcome.refusal;
  if (outcome.finish !== undefined) {
    const { finish, pendingUntil = null } = outcome;
    return await finishOutside(rules, execution, { finish, pendingUntil, mayRepeat: outcome.answer === undefined });
  }
  if (outcome.answer === undefined) throw new Error(`${operation.id} returned no answer`);
  return { ...outcome.answer, isReplay: outcome.isReplay };
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
