/**
 * Fuzzes the API. The requests are derived from the contract and a seed: valid ones, and faults of every kind. Each answer
 * must be one that the contract declares.
 *
 * `FUZZ_SEED` selects other requests, and `FUZZ_REQUESTS` their number. The same seed makes the same requests.
 */
import assert from "node:assert/strict";
import {
  child,
  contract,
  type ContractOperation,
  contractOperations,
  type Json,
  type JsonObject,
  object,
  withoutRefs,
} from "./document.ts";
import { AnswerChecker } from "./fuzz/checker.ts";
import { faultGroups } from "./fuzz/faults.ts";
import { again, describe, type FuzzRequest, fuzzRequests } from "./fuzz/requests.ts";
import { type Answer, send, type Target } from "./fuzz/send.ts";
import { fuzzTarget, startFuzzServer } from "./fuzz/server.ts";
import { runs } from "../support/properties.ts";

const seed = Number(Deno.env.get("FUZZ_SEED") ?? 20_260_302);
const total = Number(Deno.env.get("FUZZ_REQUESTS") ?? runs(800, 20_000));
const inFlight = 16;
/** Failures to print in full. One fault of the server usually fails many requests. */
const printed = 8;
/** A run that takes longer than this hangs. */
const limitMs = 900_000;

const checker = new AnswerChecker(contract);

interface Failure {
  request: FuzzRequest;
  answer?: Answer;
  fault: string;
}

function failureText({ request, answer, fault }: Failure): string {
  const body = answer === undefined ? "" : new TextDecoder().decode(answer.body);
  return [
    `request ${request.index} of FUZZ_SEED=${seed} FUZZ_REQUESTS=${total}, ${request.operation.operationId}: ${fault}`,
    `  ${describe(request)}`,
    ...(answer === undefined
      ? []
      : [`  answered ${answer.status} ${body.length > 1_000 ? `${body.slice(0, 1_000)}…` : body}`]),
  ].join("\n");
}

interface Findings {
  sent: number;
  failures: Failure[];
  /** Operations that succeeded at least once. */
  succeeded: Set<ContractOperation>;
}

/** Sends all of `requests`, {@link inFlight} at a time, and checks every answer. */
async function run(target: Target, requests: Iterator<FuzzRequest>): Promise<Findings> {
  const findings: Findings = { sent: 0, failures: [], succeeded: new Set() };
  const pending = new Set<FuzzRequest>();
  const { promise: hanging, reject } = Promise.withResolvers<never>();
  const limit = setTimeout(() => {
    reject(new Error([...pending].map((request) => failureText({ request, fault: "no answer" })).join("\n")));
  }, limitMs);
  const work = async () => {
    for (let next = requests.next(); next.done !== true; next = requests.next()) {
      const { value: request } = next;
      const { method, answerers, operation } = request;
      pending.add(request);
      try {
        const answer = await send(target, request);
        const fault = checker.faultOf(method, answerers, answer);
        if (fault !== undefined) findings.failures.push({ request, answer, fault });
        if (answer.status < 300 && answerers[0] === operation) findings.succeeded.add(operation);
      } catch (failure) {
        findings.failures.push({ request, fault: String(failure) });
      }
      pending.delete(request);
      findings.sent++;
    }
  };
  await Promise.race([Promise.all(Array.from({ length: inFlight }, work)), hanging]).finally(() => clearTimeout(limit));
  findings.failures.sort((a, b) => a.request.index - b.request.index);
  return findings;
}

Deno.test("fuzz: requests with and without faults -> answers that the contract declares", async () => {
  await using server = await startFuzzServer();
  const { sent, failures, succeeded } = await run(await fuzzTarget(server), fuzzRequests({ seed, total }));
  assert(sent >= total);
  const shown = failures.slice(0, printed).map(failureText).join("\n");
  assert.equal(failures.length, 0, `${failures.length} of ${sent} answers break the contract:\n${shown}`);
  // Refusals alone find little. A short run may not reach a success of each operation.
  if (total < 20_000) return;
  const refused = contractOperations.filter((operation) => !succeeded.has(operation) && canSucceed(operation));
  assert.deepEqual(refused.map(({ operationId }) => operationId), [], "operations that never succeeded");
});

/** All but the WebSocket: the fuzz does not send its handshake. */
function canSucceed(operation: ContractOperation): boolean {
  return !("x-websocket" in operation);
}

Deno.test("fuzz: same seed -> same requests, another seed -> other requests", () => {
  const requests = (each: number) => [...fuzzRequests({ seed: each, total: 500 })];
  assert.deepEqual(requests(seed), requests(seed));
  assert.notDeepEqual(requests(seed + 1).map(describe), requests(seed).map(describe));
});

Deno.test("fuzz: 6,000 requests -> as many for each operation, every fault at least once", () => {
  const requests = [...fuzzRequests({ seed, total: 6_000 })];
  const share = Math.ceil(6_000 / contractOperations.length);
  const firsts = requests.filter(({ faults }) => !faults.includes(again));
  for (const operation of contractOperations) {
    assert.equal(firsts.filter((request) => request.operation === operation).length, share, operation.operationId);
  }
  const seen = new Set(requests.flatMap(({ faults }) => faults));
  const all = [again, ...faultGroups.flatMap(({ faults }) => faults.map(({ name }) => name))];
  assert.deepEqual(all.filter((name) => !seen.has(name)), []);
  assert(requests.some(({ faults }) => faults.length === 0));
});

const requestId = "0198f0a2-6c1e-7c3a-9b51-2f6f1d9f2b11";

function answerOf(status: number, type: string | undefined, body: Json | Uint8Array<ArrayBuffer> | undefined): Answer {
  const headers = new Headers({
    "X-Request-Id": requestId,
    "Cache-Control": "no-store",
    ETag: '"PqK2hV3lMZ0w4x5uHh1uCw"',
    Location: "/api/v1/bookings/42",
    "WWW-Authenticate": "Bearer",
    Allow: "GET",
    "Retry-After": "1",
    // The `Headers` of the runtime keep `Connection`, too.
    ...{ Upgrade: "websocket", Connection: "Upgrade", "Sec-WebSocket-Version": "13" },
  });
  if (type !== undefined) headers.set("Content-Type", type);
  const bytes = body === undefined ? new Uint8Array() : new TextEncoder().encode(JSON.stringify(body));
  return { status, headers, body: body instanceof Uint8Array ? body : bytes };
}

const resolvedPaths = withoutRefs(contract, contract.paths ?? {});

/** Returns the example answers of `operation`, without those of status 500 and above: the fuzz accepts none of these. */
function exampleAnswers({ path, method }: ContractOperation): { status: number; type: string; body: JsonObject }[] {
  const operation = child(child(resolvedPaths, path), method.toLowerCase());
  return Object.entries(object(child(operation, "responses"))).filter(([status]) => Number(status) < 500)
    .flatMap(([status, response]) =>
      Object.entries(object(child(response, "content") ?? {})).flatMap(([type, media]) => {
        const problems = Object.values(object(child(media, "examples") ?? {})).map((example) =>
          child(example, "value")
        );
        return [child(media, "example"), ...problems].filter((body) => body !== undefined)
          .map((body) => ({ status: Number(status), type, body: object(body) }));
      })
    );
}

Deno.test("fuzz checker: example of an answer -> accepted, changed in one thing -> its fault", async (t) => {
  for (const operation of contractOperations) {
    await t.step(operation.operationId, () => {
      const faultOf = (answer: Answer) => checker.faultOf(operation.method, [operation], answer);
      for (const { status, type, body } of exampleAnswers(operation)) {
        const example = JSON.stringify(body).slice(0, 300);
        assert.equal(faultOf(answerOf(status, type, body)), undefined, example);
        const [first = ""] = Object.keys(body);
        const { [first]: _, ...less } = body;
        assert.match(faultOf(answerOf(status, type, less)) ?? "", /must have required property/, example);
        assert.match(faultOf(answerOf(status, type, { ...body, [first]: [{}] })) ?? "", /breaks its schema/, example);
        assert.match(faultOf(answerOf(418, type, body)) ?? "", /418 is not declared/, example);
        assert.match(faultOf(answerOf(500, type, body)) ?? "", /the server failed/, example);
        assert.match(faultOf(answerOf(status, "text/html", body)) ?? "", /Content-Type is text\/html/, example);
        assert.match(faultOf(answerOf(status, undefined, body)) ?? "", /Content-Type is null/, example);
        assert.match(
          faultOf(answerOf(status, type, new Uint8Array([0x22, 0xff, 0x22]))) ?? "",
          /not JSON in UTF-8/,
          example,
        );
        const anonymous = answerOf(status, type, body);
        anonymous.headers.delete("X-Request-Id");
        assert.match(faultOf(anonymous) ?? "", /without X-Request-Id/, example);
      }
    });
  }
});

Deno.test("fuzz checker: problem of the contract -> accepted, changed in one thing -> its fault", () => {
  const problem = (status: number) => (operation: ContractOperation) =>
    exampleAnswers(operation).filter((each) => each.status === status).map((each) => ({ operation, ...each }));
  const [refusal] = contractOperations.flatMap(problem(401));
  assert(refusal);
  const { operation, type, body } = refusal;
  const faultOf = (changes: JsonObject) =>
    checker.faultOf(operation.method, [operation], answerOf(401, type, { ...body, ...changes })) ?? "";
  assert.equal(faultOf({}), "");
  assert.match(faultOf({ code: "room_not_found" }), /room_not_found is not declared for 401/);
  assert.match(faultOf({ code: "no_such_code" }), /must be equal to one of the allowed values/);
  assert.match(faultOf({ status: 403 }), /the problem says 403, HTTP 401/);
  assert.match(faultOf({ requestId: "another" }), /requestId and X-Request-Id differ/);
  const withoutChallenge = answerOf(401, type, body);
  withoutChallenge.headers.delete("WWW-Authenticate");
  assert.match(
    checker.faultOf(operation.method, [operation], withoutChallenge) ?? "",
    /the header WWW-Authenticate is missing/,
  );
  const replayed = answerOf(401, type, { ...body, requestId: "of the first answer" });
  replayed.headers.set("Idempotency-Replayed", "true");
  assert.equal(checker.faultOf(operation.method, [operation], replayed), undefined);
  const unrouted = { ...body, status: 404, code: "route_not_found" };
  const refused = (answer: Answer) => checker.faultOf("GET", ["route_not_found"], answer);
  assert.equal(refused(answerOf(404, type, unrouted)), undefined);
  assert.match(refused(answerOf(404, type, { ...unrouted, code: "room_not_found" })) ?? "", /is not declared/);
  assert.match(refused(answerOf(200, type, unrouted)) ?? "", /200 is not declared, route_not_found was expected/);
  assert.match(checker.faultOf("GET", ["http"], answerOf(400, type, body)) ?? "", /no refusal of the runtime/);
});

Deno.test("fuzz checker: declared header wrong or missing, or a body where none is declared -> its fault", () => {
  const [first] = contractOperations;
  assert(first);
  const operation: ContractOperation = { ...first, path: "/", method: "GET" };
  const smallChecker = new AnswerChecker({
    openapi: "3.1.0",
    paths: { "/": { get: { responses: { 304: { headers: { ETag: { $ref: "#/components/headers/ETag" } } } } } } },
    components: { headers: { ETag: { required: true, schema: { type: "integer", minimum: 1 } } } },
  });
  const faultOf = (etag: string | undefined, body?: Json) => {
    const answer = answerOf(304, undefined, body);
    answer.headers.delete("ETag");
    if (etag !== undefined) answer.headers.set("ETag", etag);
    return smallChecker.faultOf("GET", [operation], answer);
  };
  assert.equal(faultOf("1"), undefined);
  assert.equal(faultOf("0"), "the header ETag is 0");
  assert.equal(faultOf(""), "the header ETag is ");
  assert.equal(faultOf(undefined), "the header ETag is missing");
  assert.equal(faultOf("1", {}), "a body where the contract has none");
});
