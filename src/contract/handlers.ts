/** What a handler is: HTTP decoded and validated on the way in, an answer of the contract on the way out. */
import type { Kysely } from "kysely";
import type { Operations, operations } from "../../generated/contract.ts";
import type { Caller } from "./caller.ts";
import type { Database } from "../database/connect.ts";

type OperationId = keyof Operations;

/** What the contract says of an operation. */
export type Operation = typeof operations[OperationId];

type CallerOf<Access> = Access extends "public" ? { caller?: undefined } : { caller: Caller };

/** The request itself, for an operation that turns it into a WebSocket, or whose body is signed in a header. */
type RequestOf<Operation extends Operations[OperationId]> = Operation["bodyKind"] extends "raw" ? { request: Request }
  : Extract<Operation["answer"], { status: 101 }> extends never ? unknown
  : { request: Request };

/** What the handler of an operation is given. `caller` is there wherever the contract asks for a token. */
export type Input<Id extends OperationId> =
  & Pick<Operations[Id], "params" | "query" | "headers" | "body">
  & CallerOf<Operations[Id]["access"]>
  & RequestOf<Operations[Id]>;

/**
 * What is answered when there is something left to do outside of the transaction that `soFar` belongs to, such as asking a
 * payment provider. `soFar` is the answer if it never gets to `finish`; undefined when there is none then.
 */
export interface Unfinished<Answer> {
  soFar: Answer | undefined;
  finish(db: Kysely<Database>): Promise<Answer>;
}

type Handler<Id extends OperationId> = (
  input: Input<Id>,
) => Promise<Operations[Id]["answer"] | Unfinished<Operations[Id]["answer"]>>;
type SandboxOperation = { [Id in OperationId]: Operations[Id]["isSandboxOnly"] extends true ? Id : never }[OperationId];

/**
 * One handler per operationId. A missing one, a wrong body or a status that the contract does not declare fails the type
 * check. A refusal is thrown as a `Problem`. Outside of the sandbox those of the sandbox are left out.
 */
export type Handlers =
  & { [Id in Exclude<OperationId, SandboxOperation>]: Handler<Id> }
  & { [Id in SandboxOperation]?: Handler<Id> };
