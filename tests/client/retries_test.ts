/** Requests of the SDK that fail: retried so that the server does them once, or not retried. */
import assert from "node:assert/strict";
import {
  type Client,
  ConnectionError,
  isProblem,
  TimeoutError,
  TokenError,
  UnexpectedAnswerError,
  unwrap,
} from "@slotkeeper/client";
import { body, newClient, ok, page, problem, startStandIn } from "./stand_in.ts";

const noContent = () => new Response(null, { status: 204 });
const book = (client: Client) => client.POST("/api/v1/bookings", { body });
const deleteRoom = (client: Client) =>
  client.DELETE("/api/v1/admin/rooms/{roomId}", { params: { path: { roomId: 1 } } });

Deno.test("retries: 502, 503 and 504 -> same key and body in each attempt, new key for each call, own key kept", async () => {
  await using server = startStandIn(page(502), page(503), ok, page(504), ok, page(502), ok, page(502), ok);
  const { client } = newClient(server);
  await unwrap(book(client));
  await unwrap(book(client));
  const header = { "Idempotency-Key": "my own" };
  await unwrap(client.POST("/api/v1/bookings", { body, params: { header } }));
  const path = { bookingId: 1 };
  await unwrap(client.PUT("/api/v1/bookings/{bookingId}/cancel", { params: { path } }));
  const keys = server.received.map(({ key }) => key);
  const [first, , , second, , , , last] = keys;
  assert.deepEqual(keys, [first, first, first, second, second, "my own", "my own", last, last]);
  assert.equal(new Set(keys).size, 4);
  for (const key of [first, second, last]) assert.match(key ?? "", /^[0-9a-f]{32}$/);
  for (const each of server.received.slice(0, 7)) assert.deepEqual(JSON.parse(each.body), body);
});

for (
  const [status, code] of [[429, "rate_limited"], [503, "shutting_down"], [409, "idempotency_in_progress"]] as const
) {
  Deno.test(`retries: ${status} with Retry-After -> pause of this time and up to 250 ms, same key`, async () => {
    await using server = startStandIn(problem(status, code, { "Retry-After": "1" }), ok);
    const { client, timing } = newClient(server);
    timing.fraction = 0.5;
    await unwrap(book(client));
    assert.deepEqual(timing.pausesMs, [1_125]);
    assert.equal(server.received[0]?.key, server.received[1]?.key);
  });
}

Deno.test("retries: Retry-After with a date -> pause until that date", async () => {
  await using server = startStandIn(
    (request) => {
      const date = new Date(timing.now() + 2_000).toUTCString();
      return problem(503, "service_unavailable", { "Retry-After": date })(request);
    },
    ok,
  );
  const { client, timing } = newClient(server);
  await unwrap(book(client));
  assert.deepEqual(timing.pausesMs, [2_000]);
});

Deno.test("subscribe: createSocketTicket 429 with Retry-After -> next ticket after this time", async () => {
  await using server = startStandIn(
    problem(429, "rate_limited", { "Retry-After": "2" }),
    problem(403, "scope_missing"),
  );
  const { client, timing } = newClient(server);
  await assert.rejects(Array.fromAsync(client.subscribe()), /scope_missing/);
  assert.deepEqual(timing.pausesMs, [2_000]);
  assert.equal(server.received.length, 2);
});

Deno.test("retries: no Retry-After -> growing pauses, until a problem that is final", async () => {
  await using server = startStandIn(page(502), page(502), page(502), problem(400, "timeslot_unavailable"));
  const { client, timing } = newClient(server);
  const { error } = await book(client);
  assert(isProblem(error, "timeslot_unavailable"));
  assert.equal(server.received.length, 4);
  assert.deepEqual(timing.pausesMs, [125, 250, 500]);
});

Deno.test("retries: problem that is final -> returned after one attempt", async () => {
  for (const status of [400, 401, 403, 404, 409, 410, 412, 413, 422, 500]) {
    await using server = startStandIn(problem(status, "anything"));
    assert.equal((await book(newClient(server).client)).response.status, status);
    assert.equal(server.received.length, 1, `${status}`);
  }
});

Deno.test("retries: Retry-After of 60 s -> retried; of 61 s -> returned to the caller", async () => {
  await using server = startStandIn(
    problem(429, "rate_limited", { "Retry-After": "60" }),
    problem(429, "rate_limited", { "Retry-After": "61" }),
  );
  const { client, timing } = newClient(server);
  const { error, response } = await book(client);
  assert(isProblem(error, "rate_limited"));
  assert.equal(response.headers.get("Retry-After"), "61");
  assert.equal(server.received.length, 2);
  assert.deepEqual(timing.pausesMs, [60_000]);
});

Deno.test("retries: `retries` 0 -> one attempt", async () => {
  for (const answer of [page(502), problem(429, "rate_limited", { "Retry-After": "1" })]) {
    await using server = startStandIn(answer);
    await assert.rejects(unwrap(book(newClient(server, { retries: 0 }).client)));
    assert.equal(server.received.length, 1);
  }
});

Deno.test("retries: 502 with HTML in all attempts -> unwrap throws UnexpectedAnswerError, its cause is the HTML", async () => {
  await using server = startStandIn(page(502));
  const answer = unwrap(book(newClient(server, { retries: 2 }).client));
  await assert.rejects(answer, (failure) => {
    assert(failure instanceof UnexpectedAnswerError && !isProblem(failure));
    assert.equal(failure.status, 502);
    assert.match(String(failure.cause), /Sorry/);
    return true;
  });
  assert.equal(server.received.length, 3);
});

Deno.test("retries: 200 with HTML -> UnexpectedAnswerError after one attempt", async () => {
  await using server = startStandIn(page(200));
  await assert.rejects(unwrap(book(newClient(server).client)), (failure) => {
    return failure instanceof UnexpectedAnswerError && failure.status === 200 && /Sorry/.test(String(failure.cause));
  });
  assert.equal(server.received.length, 1);
});

Deno.test("retries: 200 with JSON that is cut -> UnexpectedAnswerError, its cause is the text", async () => {
  await using server = startStandIn(() => new Response('{"id":', { headers: { "Content-Type": "application/json" } }));
  await assert.rejects(unwrap(book(newClient(server).client)), (failure) => {
    return failure instanceof UnexpectedAnswerError && failure.cause === '{"id":';
  });
  assert.equal(server.received.length, 1);
});

Deno.test("retries: no server, or every connection cut -> ConnectionError with operation, URL, reason and cause", async () => {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const unused = `http://127.0.0.1:${listener.addr.port}`;
  listener.close();
  const cutter = startCutter("HTTP/1.1 200 O");
  for (const [url, reason] of [[unused, "Connection refused"], [cutter.url, undefined]] as const) {
    const { client, timing } = newClient({ url }, { retries: 2 });
    const call = client.PUT("/api/v1/bookings/{bookingId}/cancel", { params: { path: { bookingId: 42 } } });
    await assert.rejects(unwrap(call), (failure) => {
      assert(failure instanceof ConnectionError && !(failure instanceof TimeoutError) && !isProblem(failure));
      const { operation, message, cause, name } = failure;
      assert.deepEqual({ name, operation }, { name: "ConnectionError", operation: "PUT /api/v1/bookings/42/cancel" });
      assert.equal(failure.url, `${url}/api/v1/bookings/42/cancel`);
      assert.equal(message, `No answer to PUT ${failure.url}: ${failure.reason}`);
      if (reason !== undefined) assert.equal(failure.reason, reason);
      assert(cause instanceof TypeError);
      return true;
    });
    assert.equal(timing.pausesMs.length, 2);
  }
  await cutter.close();
  await assert.rejects(
    newClient({ url: unused }, { retries: 0 }).client.items("/api/v1/bookings").next(),
    ConnectionError,
  );
  // Node has the reason in the cause. A name with two addresses has two reasons.
  const refused = new AggregateError([
    new Error("connect ECONNREFUSED ::1:1"),
    new Error("connect ECONNREFUSED 127.0.0.1:1"),
  ]);
  const inNode = () => Promise.reject(new TypeError("fetch failed", { cause: refused }));
  const { client } = newClient({ url: unused }, { retries: 0, fetch: inNode });
  await assert.rejects(book(client), { reason: "connect ECONNREFUSED ::1:1" });
});

Deno.test("retries: DELETE answered 408 or 429 -> retried without a key", async () => {
  for (const answer of [problem(429, "rate_limited", { "Retry-After": "1" }), problem(408, "request_timeout")]) {
    await using server = startStandIn(answer, noContent);
    await unwrap(deleteRoom(newClient(server).client));
    assert.deepEqual(server.received.map(({ key }) => key), [null, null]);
  }
});

Deno.test("retries: DELETE answered 502, 503, 504, 409 or cut -> one attempt", async () => {
  for (const status of [502, 503, 504, 409]) {
    await using server = startStandIn(problem(status, "anything", { "Retry-After": "1" }), noContent);
    assert.equal((await deleteRoom(newClient(server).client)).response.status, status);
    assert.equal(server.received.length, 1);
  }
  const cutter = startCutter("HTTP/1.1 204 No");
  await assert.rejects(deleteRoom(newClient(cutter).client), ConnectionError);
  assert.equal(cutter.connections(), 1);
  await cutter.close();
});

/** Cuts its first connections, up to `times`, after `text`. Later connections get a whole answer. */
function startCutter(text: string, times = Infinity) {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  let count = 0;
  const serving = (async () => {
    for await (const connection of listener) {
      const isCut = count++ < times;
      const json = JSON.stringify({ id: 1 });
      const whole = `HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: ${json.length}\r\n` +
        `Connection: close\r\n\r\n${json}`;
      await connection.read(new Uint8Array(1 << 16));
      await connection.write(new TextEncoder().encode(isCut ? text : whole));
      connection.close();
    }
  })();
  return {
    url: `http://127.0.0.1:${listener.addr.port}`,
    connections: () => count,
    close: () => (listener.close(), serving),
  };
}

for (
  const [place, text] of [
    ["before the answer", ""],
    ["in the headers", "HTTP/1.1 200 O"],
    ["in the body", 'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 8\r\n\r\n{"id"'],
    ["in a chunk", 'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n8\r\n{"id"'],
  ] as const
) {
  Deno.test(`retries: two connections cut ${place} -> third attempt succeeds`, async () => {
    const cutter = startCutter(text, 2);
    assert.deepEqual(await unwrap(book(newClient(cutter).client)), { id: 1 });
    assert.equal(cutter.connections(), 3);
    await cutter.close();
  });
}

Deno.test("token: function -> called before each attempt", async () => {
  await using server = startStandIn(page(502), page(502), ok);
  let calls = 0;
  await unwrap(book(newClient(server, { token: () => Promise.resolve(`token ${++calls}`) }).client));
  const tokens = server.received.map(({ authorization }) => authorization);
  assert.deepEqual(tokens, ["Bearer token 1", "Bearer token 2", "Bearer token 3"]);
});

Deno.test("token: function throws, or token cannot be sent in a header -> failure with the cause, no attempt", async () => {
  await using server = startStandIn(ok);
  let calls = 0;
  const failing = () => {
    calls++;
    throw new RangeError("signed out");
  };
  await assert.rejects(book(newClient(server, { token: failing }).client), (failure) => {
    return failure instanceof TokenError && /signed out/.test(failure.message) && failure.cause instanceof RangeError;
  });
  const pasted = () => {
    calls++;
    return "pasted…";
  };
  await assert.rejects(book(newClient(server, { token: pasted }).client), /No token/);
  assert.equal(calls, 2);
  assert.equal(server.received.length, 0);
});

Deno.test("token: request has its own Authorization -> kept; no token -> no Authorization", async () => {
  await using server = startStandIn(ok);
  const headers = { Authorization: "Bearer mine" };
  await unwrap(newClient(server).client.POST("/api/v1/bookings", { body, headers }));
  await unwrap(book(newClient(server, { token: undefined }).client));
  assert.deepEqual(server.received.map(({ authorization }) => authorization), ["Bearer mine", null]);
});
