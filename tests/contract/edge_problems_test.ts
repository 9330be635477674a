/** The edge answers with the codes of the contract. Its configuration repeats their statuses and titles. */
import assert from "node:assert/strict";
import { Problem } from "../../generated/contract.ts";
import { catalogue } from "../../src/contract/problems.ts";

const configuration = await Deno.readTextFile(new URL("../../scripts/deploy/haproxy.cfg", import.meta.url));
const errors = [...configuration.matchAll(/^ {2}http-error status (\d{3}) (.*) lf-string '(\{.*\})'$/gm)]
  .map(([, status = "", settings = "", body = ""]) => ({ status: Number(status), settings, body }));

Deno.test("haproxy.cfg: each answer of the edge -> a problem of the contract, with its status and title", () => {
  assert.equal(errors.length, configuration.match(/^\s*http-error /gm)?.length);
  assert(errors.length >= 8);
  for (const { status, settings, body } of errors) {
    const problem = Problem.parse(JSON.parse(body.replaceAll("%[var(txn.request_id)]", "an-id")));
    assert.deepEqual({ status, title: problem.title }, catalogue[problem.code], body);
    assert.equal(problem.status, status);
    assert.equal(problem.type, `urn:slotkeeper:problem:${problem.code}`);
    assert.equal(problem.error, problem.detail);
    assert.match(settings, /^content-type application\/problem\+json /);
    assert.match(settings, / hdr X-Request-Id %\[var\(txn\.request_id\)\]/);
    assert.match(settings, / hdr Cache-Control no-store/);
    assert.equal(/ hdr Retry-After \d+/.test(settings), status === 429 || status === 503, `${status}`);
    // Only the servers know the methods of a path (RFC 9110, 15.5.6).
    assert.notEqual(status, 405);
  }
});

Deno.test("haproxy.cfg: `deny_status` -> only statuses with a problem", () => {
  const denied = [...configuration.matchAll(/deny_status (\d{3})/g)].map(([, status]) => Number(status));
  assert(denied.length > 0);
  for (const status of denied) assert(errors.some((error) => error.status === status), `${status}`);
});
