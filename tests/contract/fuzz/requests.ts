/** The requests of a run. They depend on the contract and the seed alone: never on answers, time or other requests. */
import { type ContractOperation, contractOperations } from "../document.ts";
import { type CallerName, type Draft, validDraft } from "./drafts.ts";
import { faultGroups, noHost } from "./faults.ts";
import { Random } from "./random.ts";

/** What may answer: an operation of the contract, the app's own refusal of a path or method, or HTTP below the app. */
export type Answerer = ContractOperation | "route_not_found" | "method_not_allowed" | "http";

/** A request as it goes out, but for what differs from run to run: token, signature and port. */
export interface FuzzRequest {
  index: number;
  operation: ContractOperation;
  faults: string[];
  method: string;
  target: string;
  /** The characters up to U+00FF are bytes. */
  headers: [name: string, value: string][];
  caller: CallerName;
  body: Uint8Array<ArrayBuffer> | undefined;
  isSigned: boolean;
  isChunked: boolean;
  httpVersion: string;
  /** Whether it goes over a connection of our own, as `fetch` would not send it like this. */
  isRaw: boolean;
  answerers: Answerer[];
}

/**
 * Parameters that hold an answer back for so many seconds. The fuzz has no time to wait: what would be waited for goes as 0,
 * everything that must be refused goes as it is.
 */
const holdingBack = ["wait"];
const heldBack = (text: string) => /^-?\d+$/.test(text) && Number(text) > 0 && Number(text) <= 30;

/** One fault most often, two now and then, and none in every fourth request. */
function applyFaults(random: Random, draft: Draft): string[] {
  const names: string[] = [];
  const count = random.chance(0.25) ? 0 : random.chance(0.75) ? 1 : 2;
  // Two of one group would undo each other.
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
    `${name}=${holdingBack.includes(name) && heldBack(decoded(value)) ? "0" : value}`
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

/** The paths of the contract in parts. A literal part goes before a parameter, as OpenAPI has it. */
const templates = contractOperations.map((operation) => ({ operation, parts: operation.path.split("/") }))
  .sort((a, b) => parametersIn(a.parts) - parametersIn(b.parts));

function parametersIn(parts: string[]): number {
  return parts.filter((part) => part.startsWith("{")).length;
}

/** Who is asked, if every part of the path is taken as it is written. */
function reached(method: string, path: string): Answerer {
  const given = path.split("/");
  const here = templates.filter(({ parts }) =>
    parts.length === given.length &&
    parts.every((part, index) => part.startsWith("{") ? given[index] !== "" : part === given[index])
  );
  // HEAD comes with GET.
  const found = here.find(({ operation }) => operation.method === (method === "HEAD" ? "GET" : method));
  return found?.operation ?? (here.length > 0 ? "method_not_allowed" : "route_not_found");
}

/** A longer target HTTP may refuse itself. */
const targetLimit = 60_000;

const base = "http://127.0.0.1";
/** In headers HTTP takes the tab alone, but every byte from 0x80 on. */
const controls = /[^\P{Cc}\t\x80-\x9f]/u;

function isLeftAloneByFetch({ method, headers, body }: Draft, target: string): boolean {
  return target.startsWith("/") && URL.parse(base + target)?.href === base + target &&
    !(body !== undefined && ["GET", "HEAD"].includes(method)) &&
    headers.every(([name, value]) => name !== "Host" && /^[\t\x20-\x7e\x80-\xff]*$/.test(value));
}

/** The request of this place in a run. */
export function fuzzRequest(seed: number, index: number, operation: ContractOperation): FuzzRequest {
  const random = Random.of(seed, index);
  const draft = validDraft(random, operation);
  const faults = applyFaults(random, draft);
  const target = targetOf(draft);
  const { method, headers, caller, body, isSigned, isChunked, httpVersion } = draft;
  const [written = ""] = target.split("?");
  // As some programs read it: without its origin and fragment, and with the dots in it followed.
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

/** The fault of a request that is sent twice, mostly at the same time. */
export const again = "the same request again";

/**
 * At least `total` requests, as many for each operation, in a random order, and some of them once more. What is for the
 * sandbox only moves its clock, after which there is little left to book, so it comes in the last tenth, among others.
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

/** A command that sends the request again, with what is long cut short. `$ALICE` and the like stand for tokens. */
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
    notes.length === 0 ? "# as the contract has it" : `# ${notes.join(", ")}`,
  ].join(" ");
}
