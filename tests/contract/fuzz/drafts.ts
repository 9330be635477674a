/** A draft of a request: a valid call, to which faults are then applied. */
import type { ContractOperation, Json, Parameter } from "../document.ts";
import { accessOf } from "../document.ts";
import type { Random } from "./random.ts";
import { rows, validField, validValue } from "./values.ts";

/** The caller. `none` sends no token. */
export type CallerName = "alice" | "mallory" | "admin" | "apiKey" | "expired" | "garbage" | "none";

export interface Draft {
  readonly operation: ContractOperation;
  method: string;
  /** The path parameters as in the request line. */
  readonly segments: Map<string, string>;
  /** The query as in the request line. */
  query: [name: string, value: string][];
  headers: [name: string, value: string][];
  caller: CallerName;
  /** The body before serialization. Faults change it. */
  readonly value: Json | undefined;
  body: string | Uint8Array<ArrayBuffer> | undefined;
  /** Whether the payment provider signs the body. */
  isSigned: boolean;
  isChunked: boolean;
  httpVersion: string;
  /** Whether it is sent over TCP, because `fetch` would correct it. */
  isRaw: boolean;
  /** Whether Deno may refuse it before the app sees it. */
  isUnreadable: boolean;
  /** Whether the app may read another path than this test. */
  isUnclear: boolean;
  /** The text before the path in the request line. */
  origin: string;
}

/** Returns the place of a parameter: path, query or header. */
export function placeOf({ in: place }: Parameter): Parameter["in"] {
  return place;
}

/** Encodes `text` for a URL. A lone surrogate is replaced. */
export function escaped(text: string): string {
  return encodeURIComponent(text.toWellFormed());
}

/** Sets a parameter. `inUrl` is its value as in a URL. */
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
  // Deletes any row, so that the rows of other requests stay.
  const isDeleted = method === "DELETE" && parameter.schema.type === "integer";
  return isDeleted ? random.int(1, 4 * rows) : validField(random, parameter);
}

function likelyCaller(random: Random, operation: ContractOperation): CallerName {
  const right: Record<string, CallerName> = { public: "none", admin: "admin" };
  if (random.chance(0.85)) return right[accessOf(operation)] ?? "alice";
  return random.pick(["alice", "mallory", "admin", "apiKey", "expired", "garbage", "none"]);
}

/** A call that fits the schemas, usually by an authorized caller. */
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
    const value = validParameter(random, operation, parameter);
    const text = typeof value === "object" ? JSON.stringify(value) : String(value);
    // An empty segment makes another path.
    setParameter(draft, parameter, placeOf(parameter) === "path" && text === "" ? "1" : text);
  }
  return draft;
}
