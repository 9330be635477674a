/**
 * Tens of thousands of requests, derived from the contract and a seed: as it has them, and wrong in every way that we can
 * think of. Whatever comes, the answer is one that the contract declares.
 *
 * `FUZZ_SEED` and `FUZZ_REQUESTS` choose other requests and how many. The same seed makes the same requests.
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
const total = Number(Deno.env.get("FUZZ_REQUESTS") ?? runs(3_000, 20_000));
const inFlight = 16;
/** Failures that are told in full. What breaks once breaks often. */
const told = 8;
/** A run that takes longer hangs, however much the machine has to do beside it. */
const limitMs = 900_000;

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
  /** Which operations have succeeded. */
  succeeded: Set<ContractOperation>;
}

/** Sends all of `requests`, some at a time, and judges every answer. */
async function run(target: Target, requests: Iterator<FuzzRequest>): Promise<Findings> {
  const checker = new AnswerChecker(contract);
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

Deno.test("whatever is sent, the answer is one that the contract declares", async () => {
  await using server = await startFuzzServer();
  const { sent, failures, succeeded } = await run(await fuzzTarget(server), fuzzRequests({ seed, total }));
  assert(sent >= total);
  const shown = failures.slice(0, told).map(failureText).join("\n");
  assert.equal(failures.length, 0, `${failures.length} of ${sent} answers break the contract:\n${shown}`);
  // A fuzz of which everything is refused finds nothing. A short run may not come so far.
  if (total < 20_000) return;
  const refused = contractOperations.filter((operation) => !succeeded.has(operation) && canSucceed(operation));
  assert.deepEqual(refused.map(({ operationId }) => operationId), [], "operations that never succeeded");
});

/** A WebSocket cannot: it is asked for in a way that this fuzz does not know. */
function canSucceed(operation: ContractOperation): boolean {
  return !("x-websocket" in operation);
}

Deno.test("the same seed makes the same requests, for every operation and with every fault", () => {
  const made = (each: number) => [...fuzzRequests({ seed: each, total: 6_000 })];
  const requests = made(seed);
  assert.deepEqual(made(seed), requests);
  assert.notDeepEqual(made(seed + 1).map(describe), requests.map(describe));

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
  const promised = { "WWW-Authenticate": "Bearer", Allow: "GET", "Retry-After": "1" };
  const headers = new Headers({ "X-Request-Id": requestId, ...promised });
  if (type !== undefined) headers.set("Content-Type", type);
  const bytes = body === undefined ? new Uint8Array() : new TextEncoder().encode(JSON.stringify(body));
  return { status, headers, body: body instanceof Uint8Array ? body : bytes };
}

const resolvedPaths = withoutRefs(contract, contract.paths ?? {});

/** The answers that the contract shows for `operation`, but for those that nobody may see. */
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

Deno.test("the fuzz takes what the contract shows, and nothing that differs from it", async (t) => {
  const checker = new AnswerChecker(contract);
  for (const operation of contractOperations) {
    await t.step(operation.operationId, () => {
      const faultOf = (answer: Answer) => checker.faultOf(operation.method, [operation], answer);
      for (const { status, type, body } of exampleAnswers(operation)) {
        const what = JSON.stringify(body).slice(0, 300);
        assert.equal(faultOf(answerOf(status, type, body)), undefined, what);
        const [first = ""] = Object.keys(body);
        const { [first]: _, ...less } = body;
        assert.match(faultOf(answerOf(status, type, less)) ?? "", /must have required property/, what);
        assert.match(faultOf(answerOf(status, type, { ...body, [first]: [{}] })) ?? "", /breaks its schema/, what);
        assert.match(faultOf(answerOf(418, type, body)) ?? "", /418 is not declared/, what);
        assert.match(faultOf(answerOf(500, type, body)) ?? "", /the server failed/, what);
        assert.match(faultOf(answerOf(status, "text/html", body)) ?? "", /Content-Type is text\/html/, what);
        assert.match(faultOf(answerOf(status, undefined, body)) ?? "", /Content-Type is null/, what);
        assert.match(
          faultOf(answerOf(status, type, new Uint8Array([0x22, 0xff, 0x22]))) ?? "",
          /not JSON in UTF-8/,
          what,
        );
        const anonymous = answerOf(status, type, body);
        anonymous.headers.delete("X-Request-Id");
        assert.match(faultOf(anonymous) ?? "", /without X-Request-Id/, what);
      }
    });
  }
});

Deno.test("the fuzz takes a problem only as the contract has it", () => {
  const checker = new AnswerChecker(contract);
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
  assert.match(checker.faultOf(operation.method, [operation], withoutChallenge) ?? "", /401 without WWW-Authenticate/);
  const replayed = answerOf(401, type, { ...body, requestId: "of then" });
  replayed.headers.set("Idempotency-Replayed", "true");
  assert.equal(checker.faultOf(operation.method, [operation], replayed), undefined);
  const ofNobody = { ...body, status: 404, code: "route_not_found" };
  const refused = (answer: Answer) => checker.faultOf("GET", ["route_not_found"], answer);
  assert.equal(refused(answerOf(404, type, ofNobody)), undefined);
  assert.match(refused(answerOf(404, type, { ...ofNobody, code: "room_not_found" })) ?? "", /is not declared/);
  assert.match(refused(answerOf(200, type, ofNobody)) ?? "", /200 is not declared, route_not_found was due/);
  assert.match(checker.faultOf("GET", ["http"], answerOf(400, type, body)) ?? "", /no refusal of HTTP itself/);
});

Deno.test("the fuzz looks at the headers and at the lack of a body that a contract declares", () => {
  const [first] = contractOperations;
  assert(first);
  const operation: ContractOperation = { ...first, path: "/", method: "GET" };
  const checker = new AnswerChecker({
    openapi: "3.1.0",
    paths: { "/": { get: { responses: { 304: { headers: { ETag: { $ref: "#/components/headers/ETag" } } } } } } },
    components: { headers: { ETag: { required: true, schema: { type: "integer", minimum: 1 } } } },
  });
  const faultOf = (etag: string | undefined, body?: Json) => {
    const answer = answerOf(304, undefined, body);
    if (etag !== undefined) answer.headers.set("ETag", etag);
    return checker.faultOf("GET", [operation], answer);
  };
  assert.equal(faultOf("1"), undefined);
  assert.equal(faultOf("0"), "the header ETag is 0");
  assert.equal(faultOf(""), "the header ETag is ");
  assert.equal(faultOf(undefined), "the header ETag is missing");
  assert.equal(faultOf("1", {}), "a body where the contract has none");
});
