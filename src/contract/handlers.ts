/** Handlers: decoded and validated input of an operation in, an answer of the contract out. */
import type { Kysely } from "kysely";
import type { AuditResource, Operations, operations } from "../../generated/contract.ts";
import type { Database } from "../database/connect.ts";
import type { Caller } from "./caller.ts";

type OperationId = keyof Operations;

/** The declaration of an operation in the contract. */
export type Operation = typeof operations[OperationId];

type CallerOf<Access> = Access extends "public" ? { caller?: undefined } : { caller: Caller };

/** The raw request, for an operation that opens a WebSocket or verifies the signature of its body. */
type RequestOf<Operation extends Operations[OperationId]> = Operation["bodyKind"] extends "raw" ? { request: Request }
  : Extract<Operation["answer"], { status: 101 }> extends never ? unknown
  : { request: Request };

/** The input of an operation. `caller` is present unless the operation is public. */
export type Input<Id extends OperationId> =
  & Pick<Operations[Id], "params" | "query" | "headers" | "body">
  & CallerOf<Operations[Id]["access"]>
  & RequestOf<Operations[Id]>;

/** A change by an admin, with the resource as the API answers it before and after. */
export interface AuditChange {
  resource: AuditResource;
  /** Null for a resource that exists once. */
  resourceId: number | null;
  /** Null when it was created. */
  before: object | null;
  /** Null when it was deleted. */
  after: object | null;
}

/** Writes an entry of the audit log in the transaction of the change. */
export type Audit = (change: AuditChange) => Promise<void>;

/** The surroundings of one execution of a handler. */
export interface Scope {
  /** The pool, or the transaction that the handler is a part of. */
  db: Kysely<Database>;
  /** Call it after a change: the feed of events may have something new. */
  announce: () => void;
  /** Only in a transaction. */
  audit: Audit;
}

/**
 * An answer with work left that must run outside the transaction, such as a call to a payment provider. `soFar` is the answer
 * if `finish` never runs; undefined when there is none before it.
 */
export interface Unfinished<Answer> {
  soFar: Answer | undefined;
  finish(db: Kysely<Database>): Promise<Answer>;
}

type Handler<Id extends OperationId> = (
  input: Input<Id>,
  scope: Scope,
) => Promise<Operations[Id]["answer"] | Unfinished<Operations[Id]["answer"]>>;
type SandboxOperation = { [Id in OperationId]: Operations[Id]["isSandboxOnly"] extends true ? Id : never }[OperationId];

/**
 * One handler per operationId. A missing handler, a wrong body or an undeclared status fails the type check. A handler throws a
 * `Problem` to refuse. Handlers of the sandbox are optional.
 */
export type Handlers =
  & { [Id in Exclude<OperationId, SandboxOperation>]: Handler<Id> }
  & { [Id in SandboxOperation]?: Handler<Id> };

/** The Idempotency-Key of a request, as a statement stores it. The names do not clash with the values of the statement. */
export interface NewKey {
  keyUserId: number;
  /** A hash of the key. */
  keyHash: string;
  /** The number of the key's lock. */
  keyLock: string;
  /** Identifies the request under its key. */
  requestHash: string;
  /** By the machine's clock. */
  keyCreatedAt: Date;
}

/** The surroundings of a {@link KeyedChange}. */
export interface KeyedScope {
  db: Kysely<Database>;
  key: NewKey;
}

/**
 * A change that is one statement even with an Idempotency-Key, which the statement stores with the result. A repeated request
 * is answered from the stored result.
 */
export interface KeyedChange<Id extends OperationId> {
  /**
   * Returns the result. Undefined when nothing was changed, because of the key or for a reason of the change itself. Then the
   * handler runs in a transaction.
   */
  attempt(input: Input<Id>, scope: KeyedScope): Promise<object | undefined>;
  /** The answer, which depends on nothing but the result. */
  answer(result: object): Operations[Id]["answer"];
}

export type KeyedChanges = { [Id in OperationId]?: KeyedChange<Id> };
