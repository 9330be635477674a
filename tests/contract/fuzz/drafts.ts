/** A request in the making: a valid call of an operation, of which faults then get something wrong. */
import type { ContractOperation, Json, Parameter } from "../document.ts";
import { accessOf } from "../document.ts";
import type { Random } from "./random.ts";
import { rows, validField, validValue } from "./values.ts";

/** Who calls. `none` sends no token. */
export type CallerName = "alice" | "mallory" | "admin" | "apiKey" | "expired" | "garbage" | "none";

export interface Draft {
  readonly operation: ContractOperation;
  method: string;
  /** The path parameters as they stand in the request line. */
  readonly segments: Map<string, string>;
  /** The query as it stands in the request line. */
  query: [name: string, value: string][];
  headers: [name: string, value: string][];
  caller: CallerName;
  /** The body before it was written down, where a fault can find its way about. */
  readonly value: Json | undefined;
  body: string | Uint8Array<ArrayBuffer> | undefined;
  /** Whether the payment provider of the server under test signs the body. */
  isSigned: boolean;
  isChunked: boolean;
  httpVersion: string;
  /** Whether it has to go over a connection of our own, since `fetch` would put it right. */
  isRaw: boolean;
  /** Whether HTTP itself may refuse it, before the app sees it. */
  isUnreadable: boolean;
  /** Whether the app may see another path in it than we do. */
  isUnclear: boolean;
  /** What comes before the path in the request line. */
  origin: string;
}

/** Where the contract puts a parameter: path, query or header. */
export function placeOf({ in: place }: Parameter): Parameter["in"] {
  return place;
}

/** `text` in a URL. A lone half of a surrogate pair has no place there. */
export function escaped(text: string): string {
  return encodeURIComponent(text.toWellFormed());
}

/** Puts a parameter's value in its place; `inUrl` is how it is written in a URL. */
export function setParameter(draft: Draft, parameter: Parameter, text: string, inUrl = escaped(text)): void {
  const { name } = parameter;
  const others = <T>(entries: [string, T][]) => entries.filter(([other]) => other !== name);
  switch (placeOf(parameter)) {
    case "path":
      draft.segments.set(name, inUrl);
      break;
    case "query":
      draft.query = [...others(draft.query), [name, inUrl]];
      break;
    default:
      draft.headers = [...others(draft.headers), [name, text]];
  }
}

function validParameter(random: Random, { method }: ContractOperation, parameter: Parameter): Json {
  // What is deleted is any row, so that those which everything else is about are left.
  const isDeleted = method === "DELETE" && parameter.schema.type === "integer";
  return isDeleted ? random.int(1, 4 * rows) : validField(random, parameter);
}

function likelyCaller(random: Random, operation: ContractOperation): CallerName {
  const right: Record<string, CallerName> = { public: "none", admin: "admin" };
  if (random.chance(0.85)) return right[accessOf(operation)] ?? "alice";
  return random.pick(["alice", "mallory", "admin", "apiKey", "expired", "garbage", "none"]);
}

/** A call that the contract's schemas take, most often of someone who may make it. */
export function validDraft(random: Random, operation: ContractOperation): Draft {
  const { "application/json": media } = operation.requestBody?.content ?? {};
  const value = media === undefined ? undefined : validValue(random, media.schema, media.example);
  const draft: Draft = {
    operation,
    method: operation.method,
    segments: new Map(),
    query: [],
    headers: media === undefined ? [] : [["Content-Type", "application/json"]],
    caller: likelyCaller(random, operation),
    value,
    body: value === undefined ? undefined : JSON.stringify(value),
    isSigned: "x-raw-body" in operation && random.chance(0.7),
    isChunked: false,
    httpVersion: "HTTP/1.1",
    isRaw: false,
    isUnreadable: false,
    isUnclear: false,
    origin: "",
  };
  for (const parameter of operation.parameters) {
    if (parameter.required !== true && !random.chance(0.35)) continue;
    const given = validParameter(random, operation, parameter);
    const text = typeof given === "object" ? JSON.stringify(given) : String(given);
    // An empty part of a path is another path.
    setParameter(draft, parameter, placeOf(parameter) === "path" && text === "" ? "1" : text);
  }
  return draft;
}
