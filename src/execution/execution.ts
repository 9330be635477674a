/**
 * Doing what a request asks for. Mostly its handler's statements stand for themselves. Where something has to be written
 * together with them, an entry of the audit log or the answer to an Idempotency-Key, or a state has to stay as it was seen,
 * the handler runs in one transaction.
 */
import type { Kysely } from "kysely";
import type { z } from "zod";
import type { ProblemCode } from "../../generated/contract.ts";
import type { Audit } from "../audit/audit.ts";
import { insertAuditEntry } from "../audit/queries.ts";
import type { Caller } from "../contract/caller.ts";
import type { Clock } from "../time/clock.ts";
import type { Database } from "../database/connect.ts";
import { retryConflicts } from "../database/failures.ts";
import { catalogue, Problem } from "../contract/problems.ts";
import type { Handlers, Operation, Unfinished } from "../contract/handlers.ts";
import { claimKey, finish, keepAnswer, type KeyedRequest, undoAttempt, type WrittenAnswer } from "./idempotency.ts";
import { problemText } from "../contract/problem_document.ts";

/** What handlers work with: the database at large, or a transaction. */
export interface Scope {
  db: Kysely<Database>;
  /** Called after a change: there may be something new in the feed of events. */
  announce: () => void;
  audit: Audit;
}

export type HandlersIn = (scope: Scope) => Handlers;

export interface ExecutionRules {
  db: Kysely<Database>;
  clock: Clock;
  announce: () => void;
  handlersIn: HandlersIn;
}

export interface Execution {
  operation: Operation;
  /** What the handler is given. */
  input: unknown;
  caller: Caller | undefined;
  requestId: string;
  keyed: KeyedRequest | undefined;
  ifMatch: string | undefined;
}

/** An answer, and whether it is the stored one of a request that was sent before. A WebSocket is its own answer. */
export type Executed = (WrittenAnswer & { isReplay: boolean }) | Response;

interface Answer {
  status: number;
  body: unknown;
}

type Given = Answer | Unfinished<Answer>;

/** @throws {Problem} what the handler throws, `idempotency_in_progress` or `idempotency_key_reused`. */
export function createExecutor(rules: ExecutionRules): (execution: Execution) => Promise<Executed> {
  const { db, announce, handlersIn } = rules;
  const audit = () => Promise.reject(new Error("what goes into the audit log is changed in a transaction"));
  const handlers = handlersIn({ db, announce, audit });

  return async (execution) => {
    const { operation, keyed, ifMatch } = execution;
    if (isAudited(operation) || keyed !== undefined || ifMatch !== undefined) {
      return await executeTogether(rules, execution);
    }
    const given = await handle(handlers, execution);
    const { status, body } = "finish" in given ? await given.finish(db) : given;
    if (operation.upgrades && body instanceof Response) return body;
    return { ...written(operation, { status, body }), isReplay: false };
  };
}

/** Whether an operation is an admin's change. */
function isAudited({ access, route }: Operation): boolean {
  return access === "admin" && route.method !== "get";
}

interface Outcome {
  answer: WrittenAnswer | undefined;
  isReplay: boolean;
  finish?: Unfinished<Answer>["finish"];
  /** Until when the key waits for what `finish` gives. */
  pendingUntil?: Date | null;
  refusal?: Problem;
}

async function executeTogether(
  { db, clock, announce, handlersIn }: ExecutionRules,
  execution: Execution,
): Promise<Executed> {
  const { operation, caller, requestId, keyed } = execution;
  let isChanged = false;

  // What a user's change is based on is held against it without a lock, which would come before those of the change itself and
  // so contradict the order of the feed. A change in between makes it begin again.
  const isolation = execution.ifMatch !== undefined && operation.access === "user"
    ? "repeatable read"
    : "read committed";

  const attempt = (): Promise<Outcome> =>
    db.transaction().setIsolationLevel(isolation).execute(async (trx) => {
      isChanged = false;
      const stored = keyed && await claimKey(trx, keyed);
      if (stored !== undefined) return { answer: stored, isReplay: true };
      const audit: Audit = async ({ resource, resourceId, before, after }) => {
        if (caller === undefined) throw new Error("nobody is there to be written down");
        await insertAuditEntry(trx, {
          occurred_at: clock.now(),
          user_id: caller.userId,
          operation: operation.id,
          resource,
          resource_id: resourceId,
          // Any object is one of names and values.
          before: before as Record<string, unknown> | null,
          after: after as Record<string, unknown> | null,
          request_id: requestId,
        });
      };
      try {
        const given = await handle(handlersIn({ db: trx, announce: () => isChanged = true, audit }), execution);
        const outcome = "finish" in given
          ? { answer: given.soFar && written(operation, given.soFar), finish: given.finish }
          : { answer: written(operation, given) };
        const isFinal = outcome.finish === undefined;
        const kept = { answer: outcome.answer, isFinal };
        const pendingUntil = keyed === undefined ? null : await keepAnswer(trx, keyed, kept);
        return { ...outcome, pendingUntil, isReplay: false };
      } catch (failure) {
        if (keyed === undefined || !isRefusal(operation, failure)) throw failure;
        await undoAttempt(trx);
        isChanged = false;
        const answer = writtenRefusal(failure, requestId);
        await keepAnswer(trx, keyed, { answer, isFinal: true });
        return { answer, isReplay: false, refusal: failure };
      }
    });

  const outcome = await retryConflicts(attempt);
  if (isChanged) announce();
  if (outcome.refusal !== undefined) throw outcome.refusal;
  if (outcome.finish !== undefined) {
    const { finish: finishing, pendingUntil = null } = outcome;
    return await finishOutside(db, execution, { finishing, pendingUntil, mayRepeat: outcome.answer === undefined });
  }
  if (outcome.answer === undefined) throw new Error(`${operation.id} gave no answer`);
  return { ...outcome.answer, isReplay: outcome.isReplay };
}

/** What is left to do when the transaction is committed. If it fails, the answer so far stands, if there is one. */
async function finishOutside(
  db: Kysely<Database>,
  { operation, requestId, keyed }: Execution,
  { finishing, pendingUntil, mayRepeat }: {
    finishing: Unfinished<Answer>["finish"];
    pendingUntil: Date | null;
    mayRepeat: boolean;
  },
): Promise<Executed> {
  try {
    const answer = written(operation, await finishing(db));
    if (keyed !== undefined && pendingUntil !== null) await finish(db, keyed, { answer, pendingUntil });
    return { ...answer, isReplay: false };
  } catch (failure) {
    const refused = isRefusal(operation, failure) ? writtenRefusal(failure, requestId) : undefined;
    // If that fails too, the key is free again by itself when its time for finishing is over.
    if (keyed !== undefined && pendingUntil !== null && mayRepeat) {
      await finish(db, keyed, { answer: refused, pendingUntil }).catch(() => {});
    }
    throw failure;
  }
}

function handle(handlers: Handlers, { operation, input }: Execution): Promise<Given> {
  // One operation's types say nothing about the next one's, so they are all seen as the general case here. `Handlers` has
  // checked each handler against its operation, and the answer is parsed by its schema.
  return (handlers[operation.id] as (input: unknown) => Promise<Given>)(input);
}

/** An answer as it goes out, once it fits the schema that the contract declares for its status. */
function written(operation: Operation, { status, body }: Answer): WrittenAnswer {
  const answers: Record<number, z.ZodType | undefined> = operation.answers;
  const parsed = answers[status]?.safeParse(body);
  if (parsed === undefined) throw new Error(`${operation.id} answered ${status}, which the contract does not declare`);
  if (!parsed.success) {
    throw new Error(`${operation.id} gave an answer that breaks its contract`, { cause: parsed.error });
  }
  return { status, text: JSON.stringify(parsed.data) };
}

/**
 * Whether a failure is a refusal that the caller may know of, and that sending the request again should not change. What is
 * not valid is refused anew each time, whoever finds it out.
 */
function isRefusal({ problems }: Operation, failure: unknown): failure is Problem {
  const declared: readonly ProblemCode[] = problems;
  return failure instanceof Problem && failure.code !== "validation_failed" && declared.includes(failure.code) &&
    catalogue[failure.code].status < 500;
}

function writtenRefusal(refusal: Problem, requestId: string): WrittenAnswer {
  return { status: catalogue[refusal.code].status, text: problemText(refusal, requestId) };
}
