/** The requests of a run. They depend only on the contract and the seed, not on answers or time. */
import { type ContractOperation, contractOperations } from "../document.ts";
import { type CallerName, type Draft, validDraft } from "./drafts.ts";
import { faultGroups, noHost } from "./faults.ts";
import { Random } from "./random.ts";

/** A source of answers: an operation, the app's refusal of a path or method, or HTTP below the app. */
export type Answerer = ContractOperation | "route_not_found" | "method_not_allowed" | "http";

/** A request without the parts that differ from run to run: token, signature and port. */
export interface FuzzRequest {
  index: number;
  operation: ContractOperation;
  faults: string[];
  method: string;
  target: string;
  /** Each character up to U+00FF is one byte. */
  headers: [name: string, value: string][];
  caller: CallerName;
  body: Uint8Array<ArrayBuffer> | undefined;
  isSigned: boolean;
  isChunked: boolean;
  httpVersion: string;
  /** Whether it is sent over TCP, because `fetch` would change it. */
  isRaw: boolean;
  answerers: Answerer[];
}

/** Parameters that delay an answer by so many seconds. The fuzz sends 0 for valid values, and invalid values unchanged. */
const delays = ["wait"];
const isDelay = (text: string) => /^-?\d+$/.test(text) && Number(text) > 0 && Number(text) <= 30;

/** Applies no fault to every fourth request, and one or sometimes two to the others. */
function applyFaults(random: Random, draft: Draft): string[] {
  const names: string[] = [];
  const count = random.chance(0.25) ? 0 : random.chance(0.75) ? 1 : 2;
  // Two faults of one group would cancel each other.
  for (let groups = faultGroups; names.length < count;) {
    const candidates = groups.flatMap((group) => group.faults.map((fault) => ({ group, fault })))
      .filter(({ fault }) => fault.applies(draft));
    const { group, fault } = random.pickWeighted(candidates, ({ group, fault }) => group.weight * (fault.weight ?? 1));
    fault.apply(draft, random);
    names.push(fault.name);
    groups = groups.filter((each) => each !== group);
  }
  return names;
}

function targetOf({ operation, origin, segments, query }: Draft): string {
  const path = operation.path.replaceAll(/\{(\w+)\}/g, (_, name) => segments.get(name) ?? "");
  const search = query.map(([name, value]) =>
    `${name}=${delays.includes(name) && isDelay(decoded(value)) ? "0" : value}`
  );
  return origin + path + (search.length === 0 ? "" : `?${search.join("&")}`);
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

/** The paths of the contract in parts. A literal part matches before a parameter, as in OpenAPI. */
const templates = contractOperations.map((operation) => ({ operation, parts: operation.path.split("/") }))
  .sort((a, b) => parametersIn(a.parts) - parametersIn(b.parts));

function parametersIn(parts: string[]): number {
  return parts.filter((part) => part.startsWith("{")).length;
}

/** The operation that answers, if the path is read literally. */
function reached(method: string, path: string): Answerer {
  const segments = path.split("/");
  const here = templates.filter(({ parts }) =>
    parts.length === segments.length &&
    parts.every((part, index) => part.startsWith("{") ? segments[index] !== "" : part === segments[index])
  );
  // GET includes HEAD.
  const found = here.find(({ operation }) => operation.method === (method === "HEAD" ? "GET" : method));
  return found?.operation ?? (here.length > 0 ? "method_not_allowed" : "route_not_found");
}

/** HTTP may refuse a longer target. */
const targetLimit = 60_000;

const base = "http://127.0.0.1";
/** Control characters that HTTP refuses in headers: all but the tab, and none above 0x7f. */
const controls = /[^\P{Cc}\t\x80-\x9f]/u;

function isLeftAloneByFetch({ method, headers, body }: Draft, target: string): boolean {
  return target.startsWith("/") && URL.parse(base + target)?.href === base + target &&
    !(body !== undefined && ["GET", "HEAD"].includes(method)) &&
    headers.every(([name, value]) => name !== "Host" && /^[\t\x20-\x7e\x80-\xff]*$/.test(value));
}

/** The request at this index of a run. */
export function fuzzRequest(seed: number, index: number, operation: ContractOperation): FuzzRequest {
  const random = Random.of(seed, index);
  const draft = validDraft(random, operation);
  const faults = applyFaults(random, draft);
  const target = targetOf(draft);
  const { method, headers, caller, body, isSigned, isChunked, httpVersion } = draft;
  const [written = ""] = target.split("?");
  // The path as URL parsers read it: without origin and fragment, dots resolved.
  const path = URL.parse(target, base)?.pathname;
  const isUnreadable = draft.isUnreadable || target.length > targetLimit ||
    headers.some(([, value]) => controls.test(value));
  const isUnclear = draft.isUnclear || path !== written;
  const answerer = reached(method, written);
  return {
    index,
    operation,
    faults,
    method,
    target,
    headers,
    caller,
    body: typeof body === "string" ? new TextEncoder().encode(body) : body,
    isSigned,
    isChunked,
    httpVersion,
    isRaw: draft.isRaw || isUnreadable || isUnclear || httpVersion !== "HTTP/1.1" || !isLeftAloneByFetch(draft, target),
    answerers: [
      ...new Set<Answerer>([
        answerer,
        ...(isUnclear ? [reached(method, path ?? ""), "route_not_found" as const] : []),
        ...(isUnreadable ? ["http" as const] : []),
      ]),
    ],
  };
}

/** The fault of a request that is sent twice, usually at the same time. */
export const again = "the same request again";

/**
 * At least `total` requests, equally many for each operation, in random order. Some are sent twice. Operations of the sandbox
 * come in the last tenth: they advance the clock, and then few timeslots are bookable.
 */
export function* fuzzRequests(
  { seed, total, operations = contractOperations }: {
    seed: number;
    total: number;
    operations?: ContractOperation[];
  },
): Generator<FuzzRequest> {
  const random = new Random(seed);
  const each = Math.ceil(total / operations.length);
  const order = operations.flatMap((operation) =>
    Array.from({ length: each }, () => ({
      operation,
      at: "x-sandbox-only" in operation ? 0.9 + random.next() / 10 : random.next(),
    }))
  ).sort((a, b) => a.at - b.at);
  for (const [index, { operation }] of order.entries()) {
    const request = fuzzRequest(seed, index, operation);
    yield request;
    if (random.chance(0.03)) yield { ...request, faults: [...request.faults, again] };
  }
}

/** A command that sends the request again. Long parts are shortened. `$ALICE` stands for a token. */
export function describe(request: FuzzRequest): string {
  const { method, target, headers, caller, body, httpVersion, isRaw, isChunked, isSigned, faults } = request;
  const short = (text: string) => text.length > 600 ? `${text.slice(0, 600)}… (${text.length} characters)` : text;
  const quoted = (text: string) => {
    if (/^[\x20-\x7e\u00a1-\uffff]*$/.test(text)) return `'${short(text).replaceAll("'", `'\\''`)}'`;
    const escape = (letter: string) => `\\${letter > " " && letter < "\x7f" ? letter : `x${hex(letter)}`}`;
    return `$'${short(text).replaceAll(/[\\'\p{Cc}\xa0]/gu, escape)}'`;
  };
  const hex = (letter: string) => letter.charCodeAt(0).toString(16).padStart(2, "0");
  const sent = headers.filter(([, value]) => value !== noHost);
  const notes = [
    ...faults,
    ...(isRaw ? [`sent over TCP as ${httpVersion}`] : []),
    ...(isSigned ? ["signed by the payment provider"] : []),
  ];
  return [
    `curl -X ${method} "$URL"${quoted(target)}`,
    ...(caller === "none" ? [] : [`-H "Authorization: Bearer $${caller.toUpperCase()}"`]),
    ...sent.map(([name, value]) => `-H ${quoted(`${name}: ${value}`)}`),
    ...(isChunked ? [`-H 'Transfer-Encoding: chunked'`] : []),
    ...(body === undefined ? [] : [`--data-binary ${quoted(new TextDecoder().decode(body))}`]),
    notes.length === 0 ? "# no fault" : `# ${notes.join(", ")}`,
  ].join(" ");
}
